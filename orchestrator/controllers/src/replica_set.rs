//! Keeps the right number of pods for each ReplicaSet and each ReplicationController (`replicated` says how they
//! differ). `plan` decides; `reconcile` reads, plans and applies; `status` counts. `deployment` is who usually makes
//! ReplicaSets.

mod plan;
mod replicated;
mod status;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::Api;

use crate::context::{Context, follow, write_status};
use crate::crew::{BURST_MAX, Crew};
use crate::pods::{controller_of, from_template, is_terminating};
use crate::queue::{Queue, Reconcile};
use plan::Step;
use replicated::Replicated;

/// Sets worked on at once.
const WORKERS: usize = 16;

struct Replicator<K> {
    context: Context,
    sets: Informer<K>,
    pods: Informer<Pod>,
    crew: Crew,
}

pub async fn run(context: Context) {
    tokio::join!(replicate::<ReplicaSet>(context.clone()), replicate::<ReplicationController>(context));
}

async fn replicate<K: Replicated>(context: Context) {
    let context = context.signed_by(K::CONTROLLER);
    let (sets, pods) = (context.informers.of::<K>(), context.informers.of::<Pod>());
    let crew = Crew::new(context.clone(), pods.clone());
    sets.synced().await;
    pods.synced().await;
    let queue = Queue::new(K::QUEUE);
    let this = Arc::new(Replicator { context, sets: sets.clone(), pods: pods.clone(), crew });
    let of_set = |set: &K| queue.add(key_of(set.meta()));
    let of_pod = |pod: &Pod| this.wake_owner(pod, &queue);
    tokio::join!(follow(sets, of_set), follow(pods, of_pod), queue.clone().work(WORKERS, this.clone()));
}

impl<K: Replicated> Replicator<K> {
    fn wake_owner(&self, pod: &Pod, queue: &Queue<ObjectKey>) {
        let labels = pod.metadata.labels.as_ref();
        let takes = |set: &K| amphipod_api::selector::matches(&set.selector(), labels);
        self.crew.concerned(pod, (K::KIND, &self.sets), takes).into_iter().for_each(|key| queue.add(key));
    }

    async fn apply(&self, set: &K, step: Step) -> kube::Result<()> {
        match step {
            Step::Rest => Ok(()),
            Step::Create { missing } => {
                let template = set.template().cloned().unwrap_or_default();
                let pods = (0..missing.min(BURST_MAX)).map(|_| from_template(&template, set));
                self.crew.create(set, pods).await.1
            }
            Step::Delete { surplus } => self.crew.delete(set, surplus).await.1,
        }
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
        let pods = self.crew.claimed(&*set, &set.selector(), |_| true).await?;
        let (gone, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_terminating(&pod.metadata));
        let applied = match set.meta().deletion_timestamp {
            Some(_) => {
                self.crew.forget(&uid);
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
