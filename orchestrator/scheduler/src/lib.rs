//! Gives every pod a node. `schedule.rs` decides, `snapshot.rs` is what it decides on, `queue.rs` whose turn it is;
//! this loop reads changes, decides, and binds.
//!
//! ```text
//!  Pod, Node informers ─► snapshot ─┐
//!                  └─► queue ─► schedule ─► assume ─► POST …/binding (several at once)
//!                        ▲          └─► FailedScheduling event, PodScheduled=False
//!                        └── a binding that failed: forget the assumption
//! ```

pub mod classes;
pub mod filters;
pub mod need;
pub mod queue;
pub mod schedule;
pub mod scores;
pub mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_api::{Change, Changes, Informer, Informers, Recorder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use classes::Classes;
use need::Need;
use queue::{PodKey, Queue};
use schedule::Unschedulable;
use snapshot::Snapshot;

/// The name that pods ask for with `spec.schedulerName`, and that events are signed with.
pub const NAME: &str = "default-scheduler";
/// Bindings on their way at once.
const BINDINGS_MAX: usize = 64;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Schedules for as long as the future is polled.
pub async fn run(client: kube::Client, informers: Informers, recorder: Recorder, clock: Clock) {
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    nodes.synced().await;
    pods.synced().await;
    let changes = (pods.subscribe(), nodes.subscribe());
    let scheduler = Scheduler {
        client,
        recorder: recorder.signed_by(NAME),
        clock,
        pods,
        nodes,
        snapshot: Snapshot::default(),
        classes: Classes::default(),
        queue: Queue::default(),
        told: HashMap::new(),
        writes: JoinSet::new(),
        bindings: 0,
    };
    scheduler.run(changes).await;
}

struct Scheduler {
    client: kube::Client,
    recorder: Recorder,
    clock: Clock,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    snapshot: Snapshot,
    classes: Classes,
    queue: Queue,
    /// What each waiting pod was last told, so that it is told once.
    told: HashMap<PodKey, String>,
    writes: JoinSet<Written>,
    bindings: usize,
}

/// How a write of ours ended.
enum Written {
    Bound,
    NotBound { key: PodKey, uid: String, error: String },
    Told,
}

impl Scheduler {
    async fn run(mut self, (mut pods, mut nodes): (Changes<Pod>, Changes<Node>)) {
        loop {
            let wake = self.queue.wake_at().filter(|_| self.bindings < BINDINGS_MAX);
            tokio::select! {
                change = pods.next() => match change {
                    Some(change) => self.pod_changed(change),
                    None => return,
                },
                change = nodes.next() => match change {
                    Some(change) => self.node_changed(change),
                    None => return,
                },
                Some(written) = self.writes.join_next() => self.written(written),
                () = sleep_until(wake) => self.schedule_next(),
            }
        }
    }

    fn pod_changed(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied { now, .. } => self.put_pod(&now),
            Change::Deleted(pod) => self.forget_pod(&pod),
            Change::Resynced => {
                let pods = self.pods.list();
                pods.iter().for_each(|pod| self.put_pod(pod));
            }
        }
    }

    fn put_pod(&mut self, pod: &Pod) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
        let uid = pod.uid().unwrap_or_default();
        match node {
            _ if has_ended(pod) => self.forget_pod(pod),
            Some(node) => {
                self.drop_waiting(&key(pod));
                self.snapshot.put_pod(&uid, node, Arc::new(Need::of(pod)));
            }
            // Its binding is on the way.
            None if self.snapshot.counts(&uid) => {}
            None if wants_a_node(pod) => {
                let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
                self.queue.add(key(pod), priority);
            }
            None => self.drop_waiting(&key(pod)),
        }
        metrics::gauge!("scheduler_pending_pods").set(self.queue.len() as f64);
    }

    fn forget_pod(&mut self, pod: &Pod) {
        self.drop_waiting(&key(pod));
        if self.snapshot.remove_pod(&pod.uid().unwrap_or_default()) {
            self.queue.cluster_changed();
        }
    }

    fn drop_waiting(&mut self, key: &PodKey) {
        self.queue.remove(key);
        self.told.remove(key);
    }

    fn node_changed(&mut self, change: Change<Node>) {
        match change {
            // A heartbeat alone helps nobody.
            Change::Applied { now, before: Some(before) } if offers_the_same(&before, &now) => return,
            Change::Applied { now, .. } => self.snapshot.put_node(&now),
            Change::Deleted(node) => self.snapshot.remove_node(&node.name_any()),
            Change::Resynced => {
                let nodes = self.nodes.list();
                nodes.iter().for_each(|node| self.snapshot.put_node(node));
            }
        }
        self.queue.cluster_changed();
    }

    fn schedule_next(&mut self) {
        let Some(key) = self.queue.next(Instant::now()) else { return };
        let Some(pod) = self.pods.get(&key.0, &key.1).filter(|pod| wants_a_node(pod)) else {
            return self.drop_waiting(&key);
        };
        let need = Arc::new(Need::of(&pod));
        match self.classes.schedule(&need, &self.snapshot) {
            Ok(node) => self.bind(&pod, node, need),
            Err(reason) => self.refuse(&pod, &reason),
        }
    }

    fn bind(&mut self, pod: &Pod, node: String, need: Arc<Need>) {
        let (uid, key) = (pod.uid().unwrap_or_default(), key(pod));
        self.snapshot.put_pod(&uid, &node, need);
        self.bindings += 1;
        let (client, recorder, pod) = (self.client.clone(), self.recorder.clone(), pod.clone());
        self.writes.spawn(async move {
            match bind(client, &pod, &node).await {
                Ok(()) => {
                    recorder.normal(&pod, "Scheduled", format!("Successfully assigned {}/{} to {node}", key.0, key.1));
                    Written::Bound
                }
                Err(error) => Written::NotBound { key, uid, error: error.to_string() },
            }
        });
    }

    fn refuse(&mut self, pod: &Pod, reason: &Unschedulable) {
        let (key, message) = (key(pod), reason.to_string());
        self.queue.unschedulable(&key, Instant::now());
        self.recorder.warning(pod, "FailedScheduling", message.clone());
        if self.told.get(&key) == Some(&message) {
            return;
        }
        self.told.insert(key, message.clone());
        let (client, pod, now) = (self.client.clone(), pod.clone(), (self.clock)());
        self.writes.spawn(async move {
            if let Err(error) = tell(client, &pod, message, now).await {
                tracing::debug!(%error, "a pod could not be told why it waits");
            }
            Written::Told
        });
    }

    fn written(&mut self, written: Result<Written, tokio::task::JoinError>) {
        match written {
            Ok(Written::Bound) => self.bindings -= 1,
            Ok(Written::NotBound { key, uid, error }) => {
                self.bindings -= 1;
                tracing::warn!(pod = %format!("{}/{}", key.0, key.1), error, "cannot bind");
                self.snapshot.remove_pod(&uid);
                self.queue.failed(&key, Instant::now());
            }
            Ok(Written::Told) => {}
            Err(error) => tracing::error!(%error, "a write of the scheduler failed"),
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn bind(client: kube::Client, pod: &Pod, node: &str) -> kube::Result<()> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name_any()),
            namespace: pod.namespace(),
            uid: pod.uid(),
            ..Default::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.to_owned()), ..Default::default() },
    };
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    api.create_subresource::<_, Value>("binding", &pod.name_any(), &PostParams::default(), &binding).await.map(drop)
}

async fn tell(client: kube::Client, pod: &Pod, message: String, now: Timestamp) -> kube::Result<()> {
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
        ..Default::default()
    };
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

fn key(pod: &Pod) -> PodKey {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn wants_a_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let unbound = spec.node_name.as_deref().unwrap_or_default().is_empty();
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    unbound && ours && !gated && pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

fn offers_the_same(before: &Node, now: &Node) -> bool {
    let offer = |node: &Node| {
        let spec = node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
        let status = node.status.as_ref().map(|status| (status.allocatable.clone(), status.capacity.clone()));
        (node.labels().clone(), spec, status)
    };
    offer(before) == offer(now)
}

#[cfg(test)]
mod tests;
