//! Does what `plan` decided for one set, and tells of it in events.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::plan::Step;
use super::{StatefulSets, claims, identity};
use crate::context::{difference, found};
use crate::history::template_of;
use crate::replica_set::{is_namespace_terminating, reason};

/// Writes under way at once for a set whose pods need no order.
const WRITES_MAX: usize = 64;

pub struct Writer<'a> {
    pub sets: &'a StatefulSets,
    pub set: &'a StatefulSet,
    pub pods: &'a BTreeMap<i32, Arc<Pod>>,
    /// What pods below the partition are made of, and all others.
    pub current: &'a ControllerRevision,
    pub update: &'a ControllerRevision,
}

impl Writer<'_> {
    /// In order, stopping at the first that fails; at once where the set needs no order.
    pub async fn apply(&self, steps: Vec<Step>) -> kube::Result<()> {
        let is_parallel = self.set.spec.pod_management_policy.as_deref() == Some("Parallel");
        if !is_parallel {
            for step in steps {
                self.step(step).await?;
            }
            return Ok(());
        }
        let steps = steps.into_iter().map(|step| self.step(step));
        let mut doing = futures::stream::iter(steps).buffer_unordered(WRITES_MAX);
        let mut done = Ok(());
        while let Some(result) = doing.next().await {
            done = done.and(result);
        }
        done
    }

    async fn step(&self, step: Step) -> kube::Result<()> {
        match step {
            Step::Create(ordinal) => self.create(ordinal).await,
            Step::Delete(ordinal) => match self.pods.get(&ordinal) {
                Some(pod) => {
                    let deleted = self.sets.crew.delete_one(self.set, pod).await;
                    self.tell("delete", &pod.name_any(), deleted.map(drop))
                }
                None => Ok(()),
            },
            Step::Claim(ordinal) => {
                self.claim(ordinal).await?;
                match self.pods.get(&ordinal) {
                    Some(pod) => self.own_claims(pod, ordinal).await,
                    None => Ok(()),
                }
            }
            Step::Mend(ordinal) => match self.pods.get(&ordinal) {
                Some(pod) => self.mend(pod, ordinal).await,
                None => Ok(()),
            },
        }
    }

    async fn create(&self, ordinal: i32) -> kube::Result<()> {
        let name = identity::pod_name(&self.set.name_any(), ordinal);
        if self.awaits_clean_up(&name, ordinal) {
            return Ok(());
        }
        let claimed = self.claim(ordinal).await;
        if claimed.is_err() {
            return self.tell("create", &name, claimed);
        }
        let revision = if self.is_held(ordinal) { self.current } else { self.update };
        let template = template_of(revision).unwrap_or_else(|| self.set.spec.template.clone());
        let pod = identity::pod(self.set, &template, &revision.name_any(), ordinal);
        match self.sets.crew.create_one(self.set, &pod).await {
            Ok(created) => {
                self.own_claims(&created, ordinal).await?;
                self.tell("create", &name, Ok(()))
            }
            // The pod that has the name is not ours, or ours and not shown yet.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Err(kube::Error::Api(status)),
            // Nothing can be created in a namespace that ends and nothing needs to be.
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => self.tell("create", &name, Err(error)),
        }
    }

    /// Below the partition a pod keeps the revision that the set had; where none is given, until its turn comes.
    fn is_held(&self, ordinal: i32) -> bool {
        let Some(strategy) = &self.set.spec.update_strategy else { return false };
        let had = || self.set.status.as_ref().and_then(|status| status.current_replicas);
        let held = match &strategy.rolling_update {
            Some(rolling) => rolling.partition,
            None if strategy.type_.as_deref() == Some("RollingUpdate") => had(),
            None => None,
        };
        ordinal < identity::ordinals(self.set).start.saturating_add(held.unwrap_or(0))
    }

    /// A claim of an earlier pod of this name will be deleted; its going wakes us.
    fn awaits_clean_up(&self, pod: &str, ordinal: i32) -> bool {
        let namespace = self.set.namespace().unwrap_or_default();
        claims::deletes_when_scaled(self.set)
            && identity::claims(self.set, ordinal).into_values().any(|claim| {
                let live = self.sets.claims.get(&namespace, &claim.name_any());
                live.is_some_and(|live| claims::is_stale(live.owner_references(), pod))
            })
    }

    /// Makes the claims of an ordinal that are missing.
    async fn claim(&self, ordinal: i32) -> kube::Result<()> {
        let namespace = self.set.namespace().unwrap_or_default();
        let api: Api<PersistentVolumeClaim> = self.sets.context.namespaced(&namespace);
        for claim in identity::claims(self.set, ordinal).into_values() {
            let name = claim.name_any();
            if self.sets.claims.get(&namespace, &name).is_some() {
                continue;
            }
            match api.create(&PostParams::default(), &claim).await {
                Ok(_) => self.tell_of_claim(&name, ordinal, None),
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                Err(error) => {
                    self.tell_of_claim(&name, ordinal, Some(&error));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives the claims to whom the policy says.
    async fn own_claims(&self, pod: &Pod, ordinal: i32) -> kube::Result<()> {
        let namespace = self.set.namespace().unwrap_or_default();
        let api: Api<PersistentVolumeClaim> = self.sets.context.namespaced(&namespace);
        let policy = claims::Owners::of(self.set, pod, ordinal);
        for (claim, owners) in self.sets.misowned(self.set, pod, ordinal) {
            let name = claim.name_any();
            if policy.conflicts(claim.owner_references()) {
                let message = format!(
                    "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, \
                     the retention policy is ignored for this claim"
                );
                self.sets.context.recorder.warning(self.set, "ConflictingController", message);
            }
            let metadata = json!({ "resourceVersion": claim.resource_version(), "ownerReferences": owners });
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            found(api.patch(&name, &PatchParams::default(), &patch).await)?;
        }
        Ok(())
    }

    /// Gives a pod back what makes it the one of its ordinal.
    async fn mend(&self, pod: &Pod, ordinal: i32) -> kube::Result<()> {
        let mut whole = pod.clone();
        if identity::ordinals(self.set).contains(&ordinal) {
            if !identity::is_identified(pod) {
                identity::identify(&mut whole, ordinal);
            }
            if !identity::is_furnished(self.set, pod, ordinal) {
                identity::furnish(self.set, &mut whole, ordinal);
                self.claim(ordinal).await?;
            }
        }
        self.own_claims(pod, ordinal).await?;
        let Some(mut patch) = difference(pod, &whole) else { return Ok(()) };
        patch["metadata"]["uid"] = json!(pod.uid());
        let api: Api<Pod> = self.sets.context.namespaced(&self.set.namespace().unwrap_or_default());
        let mended = found(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
        self.tell("update", &pod.name_any(), mended.map(drop))
    }

    /// Upstream's events of a pod: `SuccessfulCreate`, `FailedDelete`, …
    fn tell(&self, verb: &str, pod: &str, done: kube::Result<()>) -> kube::Result<()> {
        let (set, recorder) = (self.set.name_any(), &self.sets.context.recorder);
        let title = title(verb);
        match &done {
            Ok(()) => {
                let message = format!("{verb} Pod {pod} in StatefulSet {set} successful");
                recorder.normal(self.set, &format!("Successful{title}"), message);
            }
            Err(error) => {
                let why = reason(error);
                let message = format!("{verb} Pod {pod} in StatefulSet {set} failed error: {why}");
                recorder.warning(self.set, &format!("Failed{title}"), message);
            }
        }
        done
    }

    fn tell_of_claim(&self, claim: &str, ordinal: i32, error: Option<&kube::Error>) {
        let (set, recorder) = (self.set.name_any(), &self.sets.context.recorder);
        let pod = identity::pod_name(&set, ordinal);
        match error {
            None => {
                let message = format!("create Claim {claim} Pod {pod} in StatefulSet {set} success");
                recorder.normal(self.set, "SuccessfulCreate", message);
            }
            Some(error) => {
                let why = reason(error);
                let message = format!("create Claim {claim} for Pod {pod} in StatefulSet {set} failed error: {why}");
                recorder.warning(self.set, "FailedCreate", message);
            }
        }
    }
}

fn title(verb: &str) -> &'static str {
    match verb {
        "create" => "Create",
        "delete" => "Delete",
        _ => "Update",
    }
}
