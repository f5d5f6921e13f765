//! What happens in the cluster, taken into the snapshot and the queue. Level-triggered: after a gap everything is read
//! again.

use std::sync::Arc;

use amphipod_api::informer::Object;
use amphipod_api::{Change, Changes, Informer, Informers};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use kube::ResourceExt as _;
use tokio::time::Instant;

use crate::cycle::Scheduler;
use crate::hints::Event;
use crate::need::Need;
use crate::need::amounts::requests;
use crate::queue::PodKey;
use crate::siblings::Siblings;
use crate::snapshot::{Facts, NodeState, Nominee, Placed};

/// All that is read.
pub struct Sources {
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub claims: Informer<PersistentVolumeClaim>,
    pub volumes: Informer<PersistentVolume>,
    pub classes: Informer<StorageClass>,
    pub drivers: Informer<CSIDriver>,
    pub csi_nodes: Informer<CSINode>,
    pub capacities: Informer<CSIStorageCapacity>,
    pub namespaces: Informer<Namespace>,
    pub budgets: Informer<PodDisruptionBudget>,
    pub siblings: Siblings,
}

/// A change of anything but pods.
pub enum Said {
    Node(Change<Node>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
    Driver(Change<CSIDriver>),
    CsiNode(Change<CSINode>),
    Capacity(Change<CSIStorageCapacity>),
    Namespace(Change<Namespace>),
}

pub type News = BoxStream<'static, Said>;

impl Sources {
    /// Waits until all is known.
    pub async fn start(informers: &Informers) -> Self {
        let this = Self {
            pods: informers.of(),
            nodes: informers.of(),
            claims: informers.of(),
            volumes: informers.of(),
            classes: informers.of(),
            drivers: informers.of(),
            csi_nodes: informers.of(),
            capacities: informers.of(),
            namespaces: informers.of(),
            budgets: informers.of(),
            siblings: Siblings::start(informers).await,
        };
        tokio::join!(this.claims.synced(), this.volumes.synced(), this.classes.synced(), this.drivers.synced());
        tokio::join!(this.csi_nodes.synced(), this.capacities.synced(), this.namespaces.synced());
        tokio::join!(this.budgets.synced(), this.nodes.synced(), this.pods.synced());
        this
    }

    /// From now on. Everything is said once, at first.
    pub fn changes(&self) -> (Changes<Pod>, News) {
        let news = [
            said(&self.nodes, Said::Node),
            said(&self.claims, Said::Claim),
            said(&self.volumes, Said::Volume),
            said(&self.classes, Said::Class),
            said(&self.drivers, Said::Driver),
            said(&self.csi_nodes, Said::CsiNode),
            said(&self.capacities, Said::Capacity),
            said(&self.namespaces, Said::Namespace),
        ];
        (self.pods.subscribe(), futures::stream::select_all(news).boxed())
    }
}

fn said<K: Object>(informer: &Informer<K>, say: fn(Change<K>) -> Said) -> News {
    let changes = informer.subscribe();
    let next = move |mut changes: Changes<K>| async move {
        let change = changes.next().await?;
        Some((say(change), changes))
    };
    futures::stream::unfold(changes, next).boxed()
}

/// Takes a change into a map of all objects. What it was, where there was one; `None`: everything may differ.
fn absorb<K: Object, Key: Eq + std::hash::Hash>(
    into: &mut std::collections::HashMap<Key, Arc<K>>,
    change: Change<K>,
    all: &Informer<K>,
    key: impl Fn(&K) -> Key,
) -> Option<Arc<K>> {
    match change {
        Change::Applied { now, .. } => {
            into.insert(key(&now), now.clone());
            Some(now)
        }
        Change::Deleted(gone) => {
            into.remove(&key(&gone));
            Some(gone)
        }
        Change::Resynced => {
            *into = all.list().into_iter().map(|one| (key(&one), one)).collect();
            None
        }
    }
}

fn named<K: Object>(object: &K) -> String {
    object.name_any()
}

fn keyed<K: Object>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

impl Scheduler {
    pub(crate) fn hear(&mut self, said: Said) {
        let (storage, sources) = (&mut self.snapshot.storage, &self.sources);
        match said {
            Said::Node(change) => return self.node_changed(change),
            Said::Namespace(change) => return self.namespace_changed(change),
            Said::Claim(change) => {
                let claim = absorb(&mut storage.claims, change, &sources.claims, keyed);
                return claim.iter().for_each(|claim| self.happened(&Event::Claim(&keyed(&**claim))));
            }
            Said::Volume(change) => {
                absorb(&mut storage.volumes, change, &sources.volumes, named);
                return self.happened(&Event::Volume);
            }
            Said::Class(change) => {
                absorb(&mut storage.classes, change, &sources.classes, named);
                return self.happened(&Event::StorageClass);
            }
            Said::Driver(change) => _ = absorb(&mut storage.drivers, change, &sources.drivers, named),
            Said::CsiNode(change) => _ = absorb(&mut storage.csi_nodes, change, &sources.csi_nodes, named),
            Said::Capacity(change) => _ = absorb(&mut storage.capacities, change, &sources.capacities, keyed),
        }
        self.happened(&Event::Driver);
    }

    /// Everything but pods, as it is now.
    pub(crate) fn learn(&mut self) {
        let all = [
            Said::Node(Change::Resynced),
            Said::Claim(Change::Resynced),
            Said::Volume(Change::Resynced),
            Said::Class(Change::Resynced),
            Said::Driver(Change::Resynced),
            Said::CsiNode(Change::Resynced),
            Said::Capacity(Change::Resynced),
            Said::Namespace(Change::Resynced),
        ];
        all.into_iter().for_each(|said| self.hear(said));
    }

    fn namespace_changed(&mut self, change: Change<Namespace>) {
        let counts = &mut self.snapshot.counts;
        match change {
            Change::Applied { now, before: Some(before) } if now.labels() == before.labels() => return,
            Change::Applied { now, .. } => counts.put_namespace(&now.name_any(), Some(now.labels().clone())),
            Change::Deleted(gone) => counts.put_namespace(&gone.name_any(), None),
            Change::Resynced => {
                for now in self.sources.namespaces.list() {
                    counts.put_namespace(&now.name_any(), Some(now.labels().clone()));
                }
            }
        }
        self.happened(&Event::Namespace);
    }

    fn node_changed(&mut self, change: Change<Node>) {
        match change {
            Change::Applied { now, .. } => self.put_node(&now),
            Change::Deleted(node) => self.remove_node(&node.name_any()),
            Change::Resynced => {
                let nodes = self.sources.nodes.list();
                nodes.iter().for_each(|node| self.put_node(node));
                let known: Vec<String> = self.snapshot.nodes().map(|(_, node)| node.name.clone()).collect();
                let gone = known.into_iter().filter(|name| self.sources.nodes.get("", name).is_none());
                gone.collect::<Vec<_>>().iter().for_each(|name| self.remove_node(name));
            }
        }
    }

    fn put_node(&mut self, node: &Node) {
        let name = node.name_any();
        let before = self.snapshot.slot_of(&name);
        let mut now = NodeState { name: name.clone(), ..NodeState::default() };
        now.read(node);
        let Some(slot) = before else {
            self.snapshot.put_node(node);
            return self.happened(&Event::NodeAdded(&now));
        };
        let was = self.snapshot.at(slot);
        let amounts = was.allocatable != now.allocatable;
        let labels = was.labels != now.labels;
        let taints = was.taints != now.taints || was.unschedulable != now.unschedulable;
        if amounts || labels || taints {
            self.snapshot.put_node(node);
            self.happened(&Event::NodeChanged { node: &now, amounts, labels, taints });
        } else {
            // A heartbeat helps nobody; new images may make the node better.
            self.snapshot.put_images(slot, node);
        }
    }

    fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.snapshot.slot_of(name) else { return };
        let gone = self.snapshot.at(slot).clone();
        self.snapshot.remove_node(name);
        self.happened(&Event::NodeGone(&gone));
    }

    pub(crate) fn put_pod(&mut self, pod: &Pod, before: Option<&Pod>) {
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
        let (uid, key) = (pod.uid().unwrap_or_default(), key_of(pod));
        match node {
            _ if has_ended(pod) => self.forget_pod(pod),
            Some(node) => {
                self.drop_waiting(&key);
                self.put_bound(pod, node);
            }
            // Its binding is on the way.
            None if self.snapshot.pod(&uid).is_some() => {}
            None if !self.wants_a_node(pod) => self.forget_pod(pod),
            None => self.put_waiting(pod, before, &key),
        }
    }

    fn put_waiting(&mut self, pod: &Pod, before: Option<&Pod>, key: &PodKey) {
        let (spec, now) = (pod.spec.as_ref(), Instant::now());
        let priority = spec.and_then(|spec| spec.priority).unwrap_or_default();
        if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
            return self.queue.gate(key, priority, now);
        }
        // Made anew under the same name.
        if before.is_some_and(|before| before.uid() != pod.uid()) {
            self.drop_waiting(key);
        }
        self.queue.add(key, priority, now);
        if before.is_some_and(|before| before.spec != pod.spec || before.labels() != pod.labels()) {
            self.queue.changed(key, now);
        }
        if before.is_none_or(|before| nomination(before) != nomination(pod)) {
            self.hear_nomination(pod);
        }
    }

    /// Who was nominated before this program began, or by somebody else, keeps its room.
    fn hear_nomination(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let slot = nomination(pod).and_then(|node| self.snapshot.slot_of(node));
        match slot {
            Some(slot) if self.snapshot.nomination(&uid) == Some(slot) => {}
            Some(slot) => {
                let need = self.needs.share(Need::with_siblings(pod, self.sources.siblings.of(pod)));
                self.snapshot.nominate(Nominee { uid, name: pod.name_any(), slot, need });
            }
            None => _ = self.snapshot.forget_nominee(&uid),
        }
    }

    fn put_bound(&mut self, pod: &Pod, node: &str) {
        let facts = facts(pod);
        self.snapshot.forget_nominee(&facts.uid);
        let known = self.snapshot.pod(&facts.uid).cloned();
        if let Some(known) = known.as_ref().filter(|known| self.snapshot.at(known.slot).name == node) {
            let same = known.need.kin.labels == *pod.labels() && known.need.requests == requests(pod, false);
            if same && known.facts == facts {
                return;
            }
            if same {
                return self.snapshot.update_facts(facts);
            }
        }
        let need = self.needs.share(Need::of(pod));
        self.snapshot.put_pod(node, need.clone(), facts);
        if let Some(known) = known {
            self.happened(&Event::PodGone(&known));
        }
        self.happened(&Event::PodPlaced(&need));
    }

    pub(crate) fn forget_pod(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        self.drop_waiting(&key_of(pod));
        self.snapshot.forget_nominee(&uid);
        if let Some(placed) = self.snapshot.remove_pod(&uid) {
            self.happened(&Event::PodGone(&placed));
        }
    }

    pub(crate) fn resync_pods(&mut self) {
        let pods = self.sources.pods.list();
        pods.iter().for_each(|pod| self.put_pod(pod, None));
        let exists = |placed: &Placed| {
            let found = self.sources.pods.get(&placed.need.kin.namespace, &placed.facts.name);
            found.is_some_and(|pod| pod.uid().as_deref() == Some(placed.facts.uid.as_str()))
        };
        let gone: Vec<Arc<Placed>> = self.snapshot.pods().filter(|placed| !exists(placed)).cloned().collect();
        for placed in gone {
            self.snapshot.remove_pod(&placed.facts.uid);
            self.happened(&Event::PodGone(&placed));
        }
        for key in self.queue.keys() {
            if self.sources.pods.get(&key.0, &key.1).is_none() {
                self.drop_waiting(&key);
            }
        }
    }
}

/// What preemption asks of a pod.
pub fn facts(pod: &Pod) -> Facts {
    let status = pod.status.as_ref();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let by_us = conditions.any(|condition| {
        condition.type_ == "DisruptionTarget"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("PreemptionByScheduler")
    });
    Facts {
        uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
        terminating,
        preempted: terminating && by_us,
    }
}

pub fn key_of(pod: &Pod) -> PodKey {
    Arc::new((pod.namespace().unwrap_or_default(), pod.name_any()))
}

pub fn scheduler_name(pod: &Pod) -> &str {
    let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).filter(|name| !name.is_empty());
    name.unwrap_or(crate::NAME)
}

fn nomination(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    status.nominated_node_name.as_deref().filter(|name| !name.is_empty())
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// It ends or has ended.
pub fn is_over(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || has_ended(pod)
}
