//! Rolls a Deployment's template out over ReplicaSets. `rollout` decides the sizes, `status` tells how far it
//! is; this file reads and writes. `replica_set` then makes the pods.

mod annotations;
mod rollout;
mod status;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::labels::{DEPLOYMENT_REVISION, POD_TEMPLATE_HASH};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::claim::Claimer;
use crate::context::{Context, delete, follow, found, write_status};
use crate::hash::template_hash;
use crate::pods::{controlled_by, controller_of, is_active, is_terminating};
use crate::queue::{Queue, Reconcile};
use annotations::Annotations;
use rollout::{Rollout, Set};

const WORKERS: usize = 16;
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

struct Deployments {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("deployment-controller");
    let deployments = context.informers.of::<Deployment>();
    let (sets, pods) = (context.informers.of::<ReplicaSet>(), context.informers.of::<Pod>());
    tokio::join!(deployments.synced(), sets.synced(), pods.synced());
    let queue = Queue::new("deployment");
    let this =
        Arc::new(Deployments { context, deployments: deployments.clone(), sets: sets.clone(), pods: pods.clone() });
    let of_set = |set: &ReplicaSet| {
        let namespace = set.namespace().unwrap_or_default();
        match controller_of(&set.metadata) {
            Some(owner) => queue.add((namespace, owner.name.clone())),
            None => deployments.in_namespace(&namespace).iter().for_each(|d| queue.add(key_of(&d.metadata))),
        }
    };
    // Recreate waits for the last old pod to end.
    let of_pod = |pod: &Pod| {
        let namespace = pod.namespace().unwrap_or_default();
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet" && !is_active(pod));
        let set = owner.and_then(|owner| sets.get(&namespace, &owner.name));
        if let Some(owner) = set.as_ref().and_then(|set| controller_of(&set.metadata)) {
            queue.add((namespace, owner.name.clone()));
        }
    };
    tokio::join!(
        follow(deployments.clone(), |deployment| queue.add(key_of(&deployment.metadata))),
        follow(sets.clone(), of_set),
        follow(pods, of_pod),
        queue.clone().work(WORKERS, this),
    );
}

impl Reconcile<ObjectKey> for Deployments {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(deployment) = self.deployments.get(namespace, name) else { return Ok(None) };
        let mut candidates = self.sets.owned_by(deployment.metadata.uid.as_deref().unwrap_or_default());
        candidates
            .extend(self.sets.in_namespace(namespace).into_iter().filter(|set| controller_of(&set.metadata).is_none()));
        let claimer = Claimer { owner: &*deployment, selector: &deployment.spec.selector };
        let mut sets = claimer.claim(&self.context, candidates).await?;
        sets.sort_by_key(|set| (set.creation_timestamp(), set.name_any()));
        let mut new = sets.iter().find(|set| same_template(set, &deployment.spec.template)).cloned();
        if !is_terminating(&deployment.metadata) {
            if new.is_none() && deployment.spec.paused != Some(true) && self.may_start(&deployment, &sets) {
                let Some(created) = self.create_new(&deployment, &sets).await? else {
                    return Ok(Some(Duration::from_millis(5)));
                };
                sets.push(created.clone());
                new = Some(created);
            }
            if let Some(new) = &new {
                self.number(&deployment, new, &sets).await?;
            }
            self.scale(&deployment, &sets, new.as_deref()).await?;
        }
        let (after, again) = status::status(&deployment, &sets, new.as_deref(), self.context.now());
        let api: Api<Deployment> = self.context.namespaced(namespace);
        write_status(&api, name, &deployment.status.clone().unwrap_or_default(), &after).await?;
        if !is_terminating(&deployment.metadata) && status::is_complete(&deployment, &after) {
            self.clean_up(&deployment, &sets, new.as_deref()).await?;
        }
        Ok(again)
    }
}

impl Deployments {
    /// Recreate makes the new set only when no pod of an old one is left.
    fn may_start(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
        let pods = || sets.iter().flat_map(|set| self.pods.owned_by(set.metadata.uid.as_deref().unwrap_or_default()));
        !is_recreate(deployment)
            || (sets.iter().all(|set| replicas(set) == 0) && pods().all(|pod| crate::pods::is_terminal(&pod)))
    }

    /// `None` when its name is taken by another template: the collision count is raised and the pass begins again.
    async fn create_new(
        &self,
        deployment: &Deployment,
        sets: &[Arc<ReplicaSet>],
    ) -> kube::Result<Option<Arc<ReplicaSet>>> {
        let namespace = deployment.namespace().unwrap_or_default();
        let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let mut set = new_set(deployment, collisions);
        let others: Vec<Set> = sets.iter().map(|set| view(set)).collect();
        let size = rollout::first_size(&rollout_of(deployment), &others);
        set.spec.replicas = Some(size);
        set.annotations_mut().insert(DEPLOYMENT_REVISION.into(), (last_revision(sets) + 1).to_string());
        let (name, api): (_, Api<ReplicaSet>) = (set.name_any(), self.context.namespaced(&namespace));
        match api.create(&PostParams::default(), &set).await {
            Ok(created) => {
                let message = format!("Scaled up replica set {name} from 0 to {size}");
                if size > 0 {
                    self.context.recorder.normal(deployment, "ScalingReplicaSet", message);
                }
                Ok(Some(Arc::new(created)))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let Some(live) = found(api.get(&name).await)? else { return Ok(None) };
                let ours = controller_of(&live.metadata).map(|owner| &owner.uid) == deployment.metadata.uid.as_ref();
                if ours && same_template(&live, &deployment.spec.template) {
                    return Ok(Some(Arc::new(live)));
                }
                let patch = Patch::Merge(json!({"status": {"collisionCount": collisions + 1}}));
                let api: Api<Deployment> = self.context.namespaced(&namespace);
                api.patch_status(&deployment.name_any(), &PatchParams::default(), &patch).await?;
                Ok(None)
            }
            Err(kube::Error::Api(status)) if crate::replica_set::is_namespace_terminating(&status) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest template bears the highest revision, on the set and on the deployment.
    async fn number(&self, deployment: &Deployment, new: &ReplicaSet, sets: &[Arc<ReplicaSet>]) -> kube::Result<()> {
        let others: Vec<_> = sets.iter().filter(|set| set.uid() != new.uid()).cloned().collect();
        let wanted = (last_revision(&others) + 1).max(revision(new));
        let annotate = |annotations: Annotations| Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let numbered = Annotations::from([(DEPLOYMENT_REVISION.to_owned(), wanted.to_string())]);
        let namespace = deployment.namespace().unwrap_or_default();
        let history = annotations::history(new, wanted).map(|history| (annotations::HISTORY.to_owned(), history));
        let of_set = numbered.clone().into_iter().chain(history).collect();
        let missing = annotations::missing(deployment, &of_set, new);
        if !missing.is_empty() {
            let api: Api<ReplicaSet> = self.context.namespaced(&namespace);
            found(api.patch(&new.name_any(), &PatchParams::default(), &annotate(missing)).await)?;
        }
        if deployment.annotations().get(DEPLOYMENT_REVISION) != Some(&wanted.to_string()) {
            let api: Api<Deployment> = self.context.namespaced(&namespace);
            found(api.patch(&deployment.name_any(), &PatchParams::default(), &annotate(numbered)).await)?;
        }
        Ok(())
    }

    async fn scale(
        &self,
        deployment: &Deployment,
        sets: &[Arc<ReplicaSet>],
        new: Option<&ReplicaSet>,
    ) -> kube::Result<()> {
        let views: Vec<Set> = sets.iter().map(|set| view(set)).collect();
        let newest = new.and_then(|new| sets.iter().position(|set| set.uid() == new.uid()));
        let rollout = rollout_of(deployment);
        let sizes = rollout::sizes(&rollout, &views, newest);
        let api: Api<ReplicaSet> = self.context.namespaced(&deployment.namespace().unwrap_or_default());
        for (set, size) in sets.iter().zip(sizes) {
            let (desired, max) = (rollout.wanted.to_string(), (rollout.wanted + rollout.surge).to_string());
            let noted = set.annotations().get(DESIRED) == Some(&desired) && set.annotations().get(MAX) == Some(&max);
            let before = replicas(set);
            if size == before && (noted || before == 0) {
                continue;
            }
            // The version makes sure that the size decided upon is still the size.
            let patch = json!({
                "metadata": {"resourceVersion": set.resource_version(), "annotations": {DESIRED: desired, MAX: max}},
                "spec": {"replicas": size},
            });
            api.patch(&set.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
            if size != before {
                let way = if size > before { "up" } else { "down" };
                let message = format!("Scaled {way} replica set {} from {before} to {size}", set.name_any());
                self.context.recorder.normal(deployment, "ScalingReplicaSet", message);
            }
        }
        Ok(())
    }

    async fn clean_up(
        &self,
        deployment: &Deployment,
        sets: &[Arc<ReplicaSet>],
        new: Option<&ReplicaSet>,
    ) -> kube::Result<()> {
        let keep = usize::try_from(deployment.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let is_old =
            |set: &&Arc<ReplicaSet>| new.is_none_or(|new| new.uid() != set.uid()) && !is_terminating(&set.metadata);
        let mut old: Vec<_> = sets.iter().filter(is_old).collect();
        old.sort_by_key(|set| revision(set));
        let surplus = old.len().saturating_sub(keep);
        let api: Api<ReplicaSet> = self.context.namespaced(&deployment.namespace().unwrap_or_default());
        for set in old.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            if replicas(set) == 0 && status.replicas == 0 && status.observed_generation >= set.metadata.generation {
                delete(&api, &set.name_any(), set.uid()).await?;
            }
        }
        Ok(())
    }
}

fn is_recreate(deployment: &Deployment) -> bool {
    deployment.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(DEPLOYMENT_REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn last_revision(sets: &[Arc<ReplicaSet>]) -> i64 {
    sets.iter().map(|set| revision(set)).max().unwrap_or(0)
}

fn rollout_of(deployment: &Deployment) -> Rollout {
    Rollout::of(deployment, is_recreate(deployment))
}

fn view(set: &ReplicaSet) -> Set {
    let status = set.status.clone().unwrap_or_default();
    let annotation = |key: &str| set.annotations().get(key).and_then(|text| text.parse().ok());
    Set {
        size: replicas(set),
        available: status.available_replicas.unwrap_or(0),
        desired_before: annotation(DESIRED),
        max_before: annotation(MAX),
    }
}

fn same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut bare = template.clone();
        let labels = bare.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.remove(POD_TEMPLATE_HASH);
        bare
    };
    set.spec.template.as_ref().is_some_and(|own| bare(own) == bare(template))
}

fn new_set(deployment: &Deployment, collisions: i32) -> ReplicaSet {
    let spec = &deployment.spec;
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.into(), hash.clone());
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.into(), hash.clone());
    let mut annotations = annotations::copied(deployment);
    let rollout = rollout_of(deployment);
    annotations.insert(DESIRED.into(), rollout.wanted.to_string());
    annotations.insert(MAX.into(), (rollout.wanted + rollout.surge).to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![controlled_by(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: None,
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}
