//! Gives every pod a node. `schedule` chooses, purely; this file is the loop around it: it follows pods and
//! nodes, keeps the snapshot and the queue, and posts bindings without waiting for them.
//!
//! ```text
//!  Change<Node>, Change<Pod> ─► Snapshot, Queue ─► schedule ─► assume ─► bind (many at once) ─► confirmed by the informer
//!                                                     └─ refused: event, condition, wait for a change that helps
//! ```

mod bind;
mod filters;
pub mod pod;
mod queue;
pub mod schedule;
mod scores;
pub mod snapshot;

use std::collections::HashSet;
use std::sync::Arc;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::{Change, Informer, Informers, Recorder, Reporter};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use pod::Class;
use queue::{Queue, Wake};
use snapshot::Snapshot;

/// Bindings (and explanations) under way at once.
pub const WRITES_MAX: usize = 128;
/// Pods scheduled before changes are looked at again.
const RUN_MAX: usize = 64;
/// Only pods that ask for this scheduler are ours.
pub const NAME: &str = "default-scheduler";

/// Schedules until dropped.
pub async fn run(client: kube::Client, informers: Informers) {
    let reporter = Reporter { component: NAME.into(), instance: String::new() };
    let recorder = Recorder::start(client.clone(), reporter);
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    nodes.synced().await;
    pods.synced().await;
    let scheduler = Scheduler {
        client,
        recorder,
        pods,
        nodes,
        snapshot: Snapshot::default(),
        queue: Queue::default(),
        writing: JoinSet::new(),
    };
    scheduler.run().await;
}

struct Scheduler {
    client: kube::Client,
    recorder: Recorder,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    snapshot: Snapshot,
    queue: Queue,
    writing: JoinSet<Written>,
}

enum Written {
    Bound { key: ObjectKey, pod: Arc<Pod>, node: String, result: kube::Result<()> },
    Explained,
}

impl Scheduler {
    async fn run(mut self) {
        let (mut pods, mut nodes) = (self.pods.subscribe(), self.nodes.subscribe());
        loop {
            let due = self.queue.due();
            let more = self.schedule_some();
            metrics::gauge!("scheduler_pending_pods").set(self.queue.len() as f64);
            tokio::select! {
                biased;
                Some(written) = self.writing.join_next() => self.written(written),
                change = nodes.next() => match change {
                    Some(change) => self.node_changed(change),
                    None => return,
                },
                change = pods.next() => match change {
                    Some(change) => self.pod_changed(change),
                    None => return,
                },
                () = std::future::ready(()), if more => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Whether pods are left that could be scheduled at once.
    fn schedule_some(&mut self) -> bool {
        for _ in 0..RUN_MAX {
            if self.writing.len() >= WRITES_MAX {
                return false;
            }
            let Some((key, waiting)) = self.queue.pop() else { return false };
            let pod = waiting.pod.clone();
            match schedule::schedule(&waiting.class, &waiting.class_key, &mut self.snapshot) {
                Ok(node) => {
                    let class = waiting.class.clone();
                    self.snapshot.place(pod.metadata.uid.as_deref().unwrap_or_default(), &node, class);
                    let client = self.client.clone();
                    self.writing.spawn(async move {
                        let result = bind::bind(client, &pod, &node).await;
                        Written::Bound { key, pod, node, result }
                    });
                }
                Err(unschedulable) => {
                    self.queue.refused(&key, unschedulable.wants_room);
                    self.recorder.warning(&*pod, "FailedScheduling", unschedulable.message.clone());
                    let client = self.client.clone();
                    self.writing.spawn(async move {
                        if let Err(error) = bind::explain(client, &pod, &unschedulable.message).await {
                            tracing::debug!(pod = pod.name_any(), %error, "its condition could not be written");
                        }
                        Written::Explained
                    });
                }
            }
        }
        true
    }

    fn written(&mut self, written: Result<Written, tokio::task::JoinError>) {
        match written {
            Ok(Written::Bound { key, pod, node, result: Ok(()) }) => {
                let message = format!("Successfully assigned {}/{} to {node}", key.0, key.1);
                self.recorder.normal(&*pod, "Scheduled", message);
                metrics::counter!("scheduler_schedule_attempts_total", "result" => "scheduled").increment(1);
                // A namesake that came meanwhile stays in the queue.
                if let Some(waiting) = self.queue.remove(&key)
                    && waiting.pod.metadata.uid != pod.metadata.uid
                {
                    self.queue.add(key, waiting.pod);
                }
            }
            Ok(Written::Bound { key, pod, result: Err(error), .. }) => {
                let live = self.pods.get(&key.0, &key.1);
                let bound = live.as_ref().is_some_and(|live| node_of(live).is_some() && live.uid() == pod.uid());
                if !bound {
                    self.snapshot.remove_pod(pod.metadata.uid.as_deref().unwrap_or_default());
                }
                if live.is_some_and(|live| is_ours(&live)) {
                    self.recorder.warning(&*pod, "FailedScheduling", format!("binding rejected: {error}"));
                    self.queue.back_off(&key);
                } else {
                    self.queue.remove(&key);
                }
            }
            Ok(Written::Explained) => {}
            Err(error) => {
                if error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }

    fn node_changed(&mut self, change: Change<Node>) {
        let changed = match change {
            Change::Applied { now, .. } => self.snapshot.set_node(&now),
            Change::Deleted(node) => {
                self.snapshot.remove_node(&node.name_any());
                false
            }
            Change::Resynced => {
                let nodes = self.nodes.list();
                let names: HashSet<_> = nodes.iter().map(|node| node.name_any()).collect();
                for gone in self.snapshot.node_names().iter().filter(|name| !names.contains(*name)) {
                    self.snapshot.remove_node(gone);
                }
                nodes.iter().fold(false, |changed, node| self.snapshot.set_node(node) || changed)
            }
        };
        if changed {
            self.queue.wake(Wake::NodeChanged);
        }
    }

    fn pod_changed(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied { now, .. } => self.pod_applied(now),
            Change::Deleted(pod) => self.pod_gone(&pod),
            Change::Resynced => {
                let pods = self.pods.list();
                let keys: HashSet<_> = pods.iter().map(|pod| key_of(&pod.metadata)).collect();
                let uids: HashSet<_> = pods.iter().filter_map(|pod| pod.uid()).collect();
                for key in self.queue.keys().iter().filter(|key| !keys.contains(*key)) {
                    self.queue.remove(key);
                }
                for uid in self.snapshot.placed_uids().iter().filter(|uid| !uids.contains(*uid)) {
                    self.snapshot.remove_pod(uid);
                }
                pods.into_iter().for_each(|pod| self.pod_applied(pod));
                self.queue.wake(Wake::RoomMade);
            }
        }
    }

    fn pod_applied(&mut self, pod: Arc<Pod>) {
        let key = key_of(&pod.metadata);
        if has_ended(&pod) {
            return self.pod_gone(&pod);
        }
        if let Some(node) = node_of(&pod) {
            self.queue.remove(&key);
            self.snapshot.place(pod.metadata.uid.as_deref().unwrap_or_default(), node, Class::of(&pod));
        } else if is_ours(&pod) {
            self.queue.add(key, pod);
        } else {
            self.queue.remove(&key);
        }
    }

    fn pod_gone(&mut self, pod: &Pod) {
        self.queue.remove(&key_of(&pod.metadata));
        if self.snapshot.remove_pod(pod.metadata.uid.as_deref().unwrap_or_default()) {
            self.queue.wake(Wake::RoomMade);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Waits for a node, from us, and nothing holds it back.
fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    node_of(pod).is_none()
        && pod.metadata.deletion_timestamp.is_none()
        && spec.scheduler_name.as_deref().is_none_or(|name| name == NAME)
        && spec.scheduling_gates.as_ref().is_none_or(|gates| gates.is_empty())
}
