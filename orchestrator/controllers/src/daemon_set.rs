//! Keeps one pod on each node that a DaemonSet is for. `daemon` says which nodes those are and what the pods look like,
//! `plan` what a pass does, `status` counts; this file reads and writes. The scheduler binds the pods.

mod backoff;
mod daemon;
mod plan;
mod status;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::{Change, Informer, selector};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::amount::{Round, scaled};
use crate::context::{Context, follow, found, write_status};
use crate::crew::{BURST_MAX, Crew};
use crate::hash::template_hash;
use crate::history::{Draft, History, duplicates, owner_key, snapshot, surplus};
use crate::on_node::node_of;
use crate::pods::{available_in, is_available, is_ready, is_terminal, is_terminating, phase};
use crate::queue::{Queue, Reconcile};
use backoff::Backoff;
use daemon::REVISION;
use plan::{Daemon, End, Limits, Place, Places, Steps};

const WORKERS: usize = 8;
const KIND: &str = "DaemonSet";

struct DaemonSets {
    context: Context,
    sets: Informer<DaemonSet>,
    nodes: Informer<Node>,
    crew: Crew,
    history: History,
    backoff: Backoff,
}

pub async fn run(context: Context) {
    let context = context.signed_by("daemonset-controller");
    let (sets, nodes) = (context.informers.of::<DaemonSet>(), context.informers.of::<Node>());
    let pods = context.informers.of::<Pod>();
    let (crew, history) = (Crew::new(context.clone(), pods.clone()), History::new(context.clone()));
    tokio::join!(sets.synced(), nodes.synced(), pods.synced(), history.synced());
    let queue = Queue::new("daemonset");
    let backoff = Backoff::default();
    let this = DaemonSets { context, sets: sets.clone(), nodes, crew, history, backoff };
    let this = Arc::new(this);
    let of_revision = |revision: &ControllerRevision| {
        owner_key(revision, KIND).into_iter().for_each(|key| queue.add(key));
    };
    tokio::join!(
        follow(sets, |set| queue.add(key_of(&set.metadata))),
        follow(pods, |pod| this.wake_owner(pod, &queue)),
        follow(this.history.informer(), of_revision),
        this.follow_nodes(&queue),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl DaemonSets {
    fn wake_owner(&self, pod: &Pod, queue: &Queue<ObjectKey>) {
        let takes = |set: &DaemonSet| selector::matches(&set.spec.selector, pod.metadata.labels.as_ref());
        self.crew.concerned(pod, (KIND, &self.sets), takes).into_iter().for_each(|key| queue.add(key));
    }

    /// A node that only reports its health concerns nobody here.
    async fn follow_nodes(&self, queue: &Queue<ObjectKey>) {
        let offer = |node: &Node| (node.labels().clone(), node.spec.as_ref().and_then(|spec| spec.taints.clone()));
        let mut changes = self.nodes.subscribe();
        while let Some(change) = changes.next().await {
            match change {
                Change::Applied { now, before: Some(before) } if offer(&now) == offer(&before) => {}
                _ => self.sets.list().iter().for_each(|set| queue.add(key_of(&set.metadata))),
            }
        }
    }

    /// Every node, with the set's pods on it and on their way to it.
    fn places(&self, set: &DaemonSet, pods: &[Arc<Pod>], hash: &str) -> Places {
        let nodes = self.nodes.list();
        let place = |node: &Arc<Node>| Place { fit: daemon::fit(set, node), exists: true, daemons: Vec::new() };
        let mut places: Places = nodes.iter().map(|node| (node.name_any(), place(node))).collect();
        let (now, min_ready) = (self.context.now(), set.spec.min_ready_seconds.unwrap_or(0));
        for pod in pods.iter().filter(|pod| !(is_terminal(pod) && is_terminating(&pod.metadata))) {
            let Some(node) = daemon::node_for(pod) else { continue };
            let end = match phase(pod) {
                "Failed" => Some(End::Failed),
                "Succeeded" => Some(End::Succeeded),
                _ => None,
            };
            places.entry(node.to_owned()).or_default().daemons.push(Daemon {
                name: pod.name_any(),
                end,
                terminating: is_terminating(&pod.metadata),
                ready: is_ready(pod),
                available: is_available(pod, min_ready, now),
                updated: pod.labels().get(REVISION).is_some_and(|own| own == hash),
                scheduled: node_of(pod).is_some(),
                created: pod.creation_timestamp().map_or(0, |time| time.0.as_second()),
            });
        }
        places
    }

    /// The hash of the newest template; `None` when its name was taken and the next pass tries another.
    async fn newest(
        &self,
        set: &DaemonSet,
        revisions: &mut Vec<Arc<ControllerRevision>>,
    ) -> kube::Result<Option<Arc<ControllerRevision>>> {
        let template = &set.spec.template;
        let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let hash = template_hash(template, collisions);
        let draft = Draft { template, data: snapshot(template), hash, label: REVISION };
        match self.history.newest(set, revisions, draft).await? {
            Ok(newest) => Ok(Some(newest)),
            Err(_) => {
                let api: Api<DaemonSet> = self.context.namespaced(&set.namespace().unwrap_or_default());
                let patch = Patch::Merge(json!({ "status": { "collisionCount": collisions + 1 } }));
                found(api.patch_status(&set.name_any(), &PatchParams::default(), &patch).await)?;
                Ok(None)
            }
        }
    }

    /// Revisions that hold the same template are one: their pods join the newest.
    async fn join_duplicates(
        &self,
        revisions: &mut Vec<Arc<ControllerRevision>>,
        (newest, hash): (&ControllerRevision, &str),
        pods: &[Arc<Pod>],
    ) -> kube::Result<()> {
        let same = duplicates(revisions, newest);
        let of_same = |pod: &&Arc<Pod>| same.iter().any(|one| one.labels().get(REVISION) == pod.labels().get(REVISION));
        for pod in pods.iter().filter(of_same) {
            let api: Api<Pod> = self.context.namespaced(&pod.namespace().unwrap_or_default());
            let patch = json!({ "metadata": { "uid": pod.uid(), "labels": { REVISION: hash } } });
            found(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        revisions.retain(|one| same.iter().all(|other| other.uid() != one.uid()));
        self.history.delete(same).await
    }

    /// Does what was decided. How long pods that ended must still wait.
    async fn apply(
        &self,
        set: &DaemonSet,
        mut steps: Steps,
        pods: &HashMap<String, Arc<Pod>>,
        hash: &str,
    ) -> kube::Result<Option<Duration>> {
        let wait = self.end(set, &mut steps);
        let delete = steps.delete.iter().filter_map(|name| pods.get(name).cloned()).collect();
        let create = steps.create.iter().take(BURST_MAX).map(|node| daemon::pod(set, hash, node));
        let (_, created) = self.crew.create(set, create).await;
        let (_, deleted) = self.crew.delete(set, delete).await;
        deleted.and(created).map(|()| wait)
    }

    /// Pods that ended go when their time has come.
    fn end(&self, set: &DaemonSet, steps: &mut Steps) -> Option<Duration> {
        let uid = set.uid().unwrap_or_default();
        let generation = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        let namespace = set.namespace().unwrap_or_default();
        let mut wait: Option<Duration> = None;
        for (end, node, pod) in std::mem::take(&mut steps.ended) {
            if steps.delete.contains(&pod) {
                continue;
            }
            if end == End::Succeeded {
                let message =
                    format!("Found succeeded daemon pod {namespace}/{pod} on node {node}, will try to delete it");
                self.context.recorder.normal(set, "SucceededDaemonPod", message);
                steps.delete.push(pod);
                continue;
            }
            match self.backoff.take((uid.clone(), generation, node.clone()), Instant::now()) {
                Ok(()) => {
                    let message =
                        format!("Found failed daemon pod {namespace}/{pod} on node {node}, will try to kill it");
                    self.context.recorder.warning(set, "FailedDaemonPod", message);
                    steps.delete.push(pod);
                }
                Err(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
            }
        }
        wait
    }

    async fn clean_up(
        &self,
        set: &DaemonSet,
        revisions: &[Arc<ControllerRevision>],
        newest: &ControllerRevision,
        pods: &[Arc<Pod>],
    ) -> kube::Result<()> {
        let hashes: HashSet<_> = pods.iter().filter_map(|pod| pod.labels().get(REVISION)).collect();
        let in_use =
            |one: &&Arc<ControllerRevision>| one.labels().get(REVISION).is_some_and(|own| hashes.contains(own));
        let mut live: HashSet<_> = revisions.iter().filter(in_use).map(|one| one.name_any()).collect();
        live.insert(newest.name_any());
        let limit = set.spec.revision_history_limit.unwrap_or(10);
        self.history.delete(surplus(revisions, &live, limit)).await
    }
}

impl Reconcile<ObjectKey> for DaemonSets {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(set) = self.sets.get(namespace, name) else { return Ok(None) };
        if set.spec.selector == LabelSelector::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.context.recorder.warning(&*set, "SelectingAll", message);
            return Ok(None);
        }
        if is_terminating(&set.metadata) {
            // Its revisions may be gone already and must not come back.
            self.crew.forget(set.metadata.uid.as_deref().unwrap_or_default());
            return Ok(None);
        }
        let mut revisions = self.history.claimed(&*set, &set.spec.selector).await?;
        let Some(newest) = self.newest(&set, &mut revisions).await? else {
            return Ok(Some(Duration::from_millis(5)));
        };
        let hash = newest.labels().get(REVISION).cloned().unwrap_or_else(|| newest.name_any());
        let pods = self.crew.claimed(&*set, &set.spec.selector, |_| true).await?;
        self.join_duplicates(&mut revisions, (&newest, &hash), &pods).await?;
        let places = self.places(&set, &pods, &hash);
        let applied = self.apply(&set, decide(&set, &places), &by_name(&pods), &hash).await;
        let api: Api<DaemonSet> = self.context.namespaced(namespace);
        let (before, after) = (set.status.clone().unwrap_or_default(), status::status(&set, &places));
        write_status(&api, name, &before, &after).await?;
        self.clean_up(&set, &revisions, &newest, &pods).await?;
        let (now, min_ready) = (self.context.now(), set.spec.min_ready_seconds.unwrap_or(0));
        let waits = pods.iter().filter(|pod| is_ready(pod)).map(|pod| available_in(pod, min_ready, now));
        let again = waits.filter(|wait| !wait.is_zero()).chain(applied?).min();
        Ok(again)
    }
}

/// A template is rolled out only where every node has what it should.
fn decide(set: &DaemonSet, places: &Places) -> Steps {
    let limits = limits(set, places);
    let surges = limits.is_some_and(|limits| limits.surge > 0);
    let steps = plan::manage(places, surges);
    match limits {
        Some(limits) if steps.create.is_empty() && steps.delete.is_empty() => {
            Steps { ended: steps.ended, ..plan::roll(places, limits) }
        }
        _ => steps,
    }
}

/// `None`: pods are replaced only when somebody deletes them.
fn limits(set: &DaemonSet, places: &Places) -> Option<Limits> {
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let desired = places.values().filter(|place| place.fit.should_run).count();
    let desired = i32::try_from(desired).unwrap_or(i32::MAX);
    let amount = |given: Option<&IntOrString>, or: i32| {
        let scaled = scaled(given.unwrap_or(&IntOrString::Int(or)), desired, Round::Up);
        usize::try_from(scaled).unwrap_or(0)
    };
    let surge = amount(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
    let unavailable = amount(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1);
    // Otherwise nothing could ever move.
    Some(Limits { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } })
}

fn by_name(pods: &[Arc<Pod>]) -> HashMap<String, Arc<Pod>> {
    pods.iter().map(|pod| (pod.name_any(), pod.clone())).collect()
}
