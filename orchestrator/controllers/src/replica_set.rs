//! Keeps the right number of pods for each ReplicaSet and each ReplicationController (`replicated` says how they
//! differ). `plan` decides; `reconcile` reads, plans and applies; `status` counts. `deployment` is who usually makes
//! ReplicaSets.

mod plan;
mod replicated;
mod status;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::claim::Claimer;
use crate::context::{Context, delete, follow, found, write_status};
use crate::pending::{Pending, UNSEEN_MAX};
use crate::pods::{controller_of, from_template};
use crate::queue::{Queue, Reconcile};
use plan::Step;
use replicated::Replicated;

/// Sets worked on at once.
const WORKERS: usize = 16;
/// Creates and deletes under way at once for one set.
const WRITES_MAX: usize = 64;
/// Pods created or deleted in one pass; upstream's burst.
const BURST_MAX: usize = 500;

pub(crate) const ORPHANS: &str = "orphans";

struct Replicator<K> {
    context: Context,
    sets: Informer<K>,
    pods: Informer<Pod>,
    pending: Pending,
}

pub async fn run(context: Context) {
    tokio::join!(replicate::<ReplicaSet>(context.clone()), replicate::<ReplicationController>(context));
}

async fn replicate<K: Replicated>(context: Context) {
    let context = context.signed_by(K::CONTROLLER);
    let (sets, pods) = (context.informers.of::<K>(), context.informers.of::<Pod>());
    pods.index(ORPHANS, |pod| match controller_of(&pod.metadata) {
        None => vec![pod.metadata.namespace.clone().unwrap_or_default()],
        Some(_) => Vec::new(),
    });
    sets.synced().await;
    pods.synced().await;
    let queue = Queue::new(K::QUEUE);
    let this = Arc::new(Replicator { context, sets: sets.clone(), pods: pods.clone(), pending: Pending::default() });
    let of_set = |set: &K| queue.add(key_of(set.meta()));
    let of_pod = |pod: &Pod| this.wake_owner(pod, &queue);
    tokio::join!(follow(sets, of_set), follow(pods, of_pod), queue.clone().work(WORKERS, this.clone()));
}

impl<K: Replicated> Replicator<K> {
    fn wake_owner(&self, pod: &Pod, queue: &Queue<ObjectKey>) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        match controller_of(&pod.metadata) {
            Some(owner) if owner.kind == K::KIND => {
                self.pending.seen(&owner.uid, pod);
                queue.add((namespace, owner.name.clone()));
            }
            Some(_) => {}
            None => {
                for set in self.sets.in_namespace(&namespace) {
                    let labels = pod.metadata.labels.as_ref();
                    if amphipod_api::selector::matches(&set.selector(), labels) {
                        queue.add(key_of(set.meta()));
                    }
                }
            }
        }
    }

    /// The set's pods as they are once everything written so far is visible.
    async fn claimed(&self, set: &K) -> kube::Result<Vec<Arc<Pod>>> {
        let uid = set.meta().uid.as_deref().unwrap_or_default();
        let mut candidates = self.pods.owned_by(uid);
        candidates.extend(self.pods.indexed(ORPHANS, &set.namespace().unwrap_or_default()));
        let claimer = Claimer { owner: set, selector: &set.selector() };
        let mut pods = claimer.claim(&self.context, candidates).await?;
        let known: HashSet<_> = pods.iter().filter_map(|pod| pod.uid()).collect();
        for (pod, unseen_for) in self.pending.unseen(uid) {
            if known.contains(pod.metadata.uid.as_deref().unwrap_or_default()) {
                continue;
            }
            if unseen_for > UNSEEN_MAX && !self.still_exists(&pod).await? {
                self.pending.seen(uid, &pod);
                continue;
            }
            pods.push(Arc::new(pod));
        }
        Ok(pods)
    }

    async fn still_exists(&self, pod: &Pod) -> kube::Result<bool> {
        let api: Api<Pod> = self.context.namespaced(&pod.namespace().unwrap_or_default());
        Ok(found(api.get(&pod.name_any()).await)?.is_some_and(|live| live.uid() == pod.uid()))
    }

    async fn apply(&self, set: &K, step: Step) -> kube::Result<()> {
        match step {
            Step::Rest => Ok(()),
            Step::Create { missing } => self.create(set, missing.min(BURST_MAX)).await,
            Step::Delete { surplus } => self.delete(set, surplus).await,
        }
    }

    /// Doubles from one, so that a template which the API refuses costs one refusal, then keeps `WRITES_MAX` under way.
    async fn create(&self, set: &K, missing: usize) -> kube::Result<()> {
        let (mut left, mut batch) = (missing, 1);
        while left > 0 {
            let size = if batch < WRITES_MAX { batch.min(left) } else { left };
            let mut creating =
                futures::stream::iter(0..size).map(|_| self.create_one(set)).buffer_unordered(WRITES_MAX);
            let mut refused = Ok(());
            while let Some(result) = creating.next().await {
                refused = refused.and(result);
            }
            refused?;
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, set: &K) -> kube::Result<()> {
        let template = set.template().cloned().unwrap_or_default();
        let api: Api<Pod> = self.context.namespaced(&set.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), &from_template(&template, set)).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                self.context.recorder.normal(set, "SuccessfulCreate", message);
                self.pending.created(set.meta().uid.as_deref().unwrap_or_default(), pod, &self.pods);
                Ok(())
            }
            // The namespace ends: nothing can be created in it and nothing needs to be.
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", reason(&error));
                self.context.recorder.warning(set, "FailedCreate", message);
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &K, surplus: Vec<Arc<Pod>>) -> kube::Result<()> {
        let api: Api<Pod> = self.context.namespaced(&set.namespace().unwrap_or_default());
        let owner = set.meta().uid.as_deref().unwrap_or_default();
        let mut deleting = futures::stream::iter(surplus.into_iter().take(BURST_MAX))
            .map(|pod| {
                let api = &api;
                async move { (delete(api, &pod.name_any(), pod.uid()).await, pod) }
            })
            .buffer_unordered(WRITES_MAX);
        let mut refused = Ok(());
        while let Some((result, pod)) = deleting.next().await {
            match result {
                Ok(_) => {
                    self.pending.deleted(owner, pod.uid().unwrap_or_default());
                    let message = format!("Deleted pod: {}", pod.name_any());
                    self.context.recorder.normal(set, "SuccessfulDelete", message);
                }
                Err(error) => {
                    self.context.recorder.warning(set, "FailedDelete", format!("Error deleting: {}", reason(&error)));
                    refused = Err(error);
                }
            }
        }
        refused
    }
}

pub(crate) fn is_namespace_terminating(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// What the API said, without our client's words around it.
pub(crate) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl<K: Replicated> Reconcile<ObjectKey> for Replicator<K> {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(set) = self.sets.get(namespace, name) else { return Ok(None) };
        let uid = set.meta().uid.clone().unwrap_or_default();
        let pods = self.claimed(&set).await?;
        let listed = pods.iter().filter_map(|pod| pod.uid()).collect();
        let ending = self.pending.ending(&uid, &listed);
        let (gone, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| {
            pod.uid().is_some_and(|uid| ending.contains(&uid)) || crate::pods::is_terminating(&pod.metadata)
        });
        let applied = match set.meta().deletion_timestamp {
            Some(_) => {
                self.pending.forget(&uid);
                Ok(())
            }
            None => {
                let siblings = |pod: &Pod| self.siblings_on_node(&set, pod);
                let step = plan::plan(wanted(&*set), &pods, siblings, self.context.now());
                self.apply(&set, step).await
            }
        };
        let counted = status::Counted { pods: &pods, terminating: gone.len(), error: applied.as_ref().err() };
        let (status, again) = status::status(&*set, &counted, self.context.now());
        let api: Api<K> = self.context.namespaced(namespace);
        write_status(&api, name, &set.status(), &status).await?;
        applied.map(|()| again)
    }
}

fn wanted(set: &impl Replicated) -> usize {
    usize::try_from(set.replicas().unwrap_or(1)).unwrap_or(0)
}

impl<K: Replicated> Replicator<K> {
    /// How many active pods of the same Deployment share a pod's node: crowded nodes give up theirs first.
    fn siblings_on_node(&self, set: &K, pod: &Pod) -> usize {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else { return 0 };
        let related = match controller_of(set.meta()) {
            Some(owner) => self.sets.owned_by(&owner.uid),
            None => vec![Arc::new(set.clone())],
        };
        let pods = related.iter().flat_map(|set| self.pods.owned_by(set.meta().uid.as_deref().unwrap_or_default()));
        let on_node = |other: &Arc<Pod>| other.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
        pods.filter(|other| crate::pods::is_active(other) && on_node(other)).count()
    }
}
