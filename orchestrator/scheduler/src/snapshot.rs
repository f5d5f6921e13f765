//! The nodes as the scheduler knows them: what each has, what pods (bound, or assumed to be soon) take of it.
//! Every change of a node is noted, so that what was computed for a class of pods is mended, not computed again.

mod images;
mod node;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;

use crate::counts::Counts;
use crate::need::Need;
use crate::volumes::Storage;
pub use images::Images;
pub use node::{Facts, NodeState, Placed};

/// Changes that a slow class may lag behind before it is computed anew.
const CHANGES_KEPT: usize = 65_536;

/// A pod that waits for victims to leave a node.
#[derive(Debug, Clone)]
pub struct Nominee {
    pub uid: String,
    pub name: String,
    pub slot: u32,
    pub need: Arc<Need>,
}

#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<NodeState>,
    by_name: HashMap<String, u32>,
    known: usize,
    /// By uid.
    pods: HashMap<String, Arc<Placed>>,
    /// Priority → placed pods that have it.
    priorities: BTreeMap<i32, usize>,
    /// Namespace and name of a claim → placed pods that use it.
    claim_users: HashMap<(String, String), usize>,
    /// Few, in the order of their uids.
    nominees: BTreeMap<String, Nominee>,
    pub counts: Counts,
    pub images: Images,
    pub storage: Storage,
    changes: Vec<u32>,
    /// How many changes were dropped from the front of `changes`.
    forgotten: usize,
}

impl Snapshot {
    /// Nodes that exist, in the order they were first seen.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &NodeState)> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.known)
    }

    /// How many nodes exist.
    pub fn len(&self) -> usize {
        self.known
    }

    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    pub fn at(&self, slot: u32) -> &NodeState {
        &self.nodes[slot as usize]
    }

    pub fn slot_of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied().filter(|slot| self.at(*slot).known)
    }

    /// How many slots there are, known nodes or not.
    pub fn slots(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// The position of the newest change.
    pub fn position(&self) -> usize {
        self.forgotten + self.changes.len()
    }

    /// Slots changed since this position; `None` when it is too long ago.
    pub fn changed_since(&self, position: usize) -> Option<&[u32]> {
        self.changes.get(position.checked_sub(self.forgotten)?..)
    }

    /// After changes that were taken back: nobody needs to know.
    fn rewind(&mut self, position: usize) {
        if let Some(kept) = position.checked_sub(self.forgotten) {
            self.changes.truncate(kept);
        }
    }

    /// Takes over what the API says of a node.
    pub fn put_node(&mut self, node: &Node) {
        let slot = self.slot(&node.name_any());
        let state = &mut self.nodes[slot as usize];
        self.known += usize::from(!state.known);
        state.read(node);
        state.images = self.images.put(&state.images, Some(node));
        self.counts.put_node(slot, &self.nodes[slot as usize]);
        self.note(slot);
    }

    /// Takes over which images lie on a node; of the rest nothing has changed.
    pub fn put_images(&mut self, slot: u32, node: &Node) {
        let had = std::mem::take(&mut self.nodes[slot as usize].images);
        let has = self.images.put(&had, Some(node));
        if had != has {
            self.note(slot);
        }
        self.nodes[slot as usize].images = has;
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.slot_of(name) else { return };
        let state = &mut self.nodes[slot as usize];
        state.known = false;
        self.known -= 1;
        state.images = self.images.put(&state.images, None);
        self.counts.put_node(slot, &self.nodes[slot as usize]);
        self.note(slot);
    }

    /// Counts a pod on a node: bound, or assumed to be. A pod that is counted elsewhere moves.
    pub fn put_pod(&mut self, node: &str, need: Arc<Need>, facts: Facts) {
        let slot = self.slot(node);
        let known = self.pods.get(&facts.uid).cloned();
        let uid = facts.uid.clone();
        let placed = Arc::new(Placed { slot, need, facts });
        match known {
            Some(known) if counts_alike(&known, &placed) => self.nodes[slot as usize].swap(&known, &placed),
            known => {
                known.iter().for_each(|known| self.displace(known));
                self.place(&placed);
            }
        }
        self.pods.insert(uid, placed);
    }

    /// Takes over what else is known of a pod that is counted already.
    pub fn update_facts(&mut self, facts: Facts) {
        let Some(known) = self.pods.get(&facts.uid) else { return };
        let (node, need) = (self.at(known.slot).name.clone(), known.need.clone());
        self.put_pod(&node, need, facts);
    }

    /// The pod has ended, is gone, or could not be bound. What was counted.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<Placed>> {
        let placed = self.pods.remove(uid)?;
        self.displace(&placed);
        Some(placed)
    }

    pub fn pod(&self, uid: &str) -> Option<&Arc<Placed>> {
        self.pods.get(uid)
    }

    pub fn pods(&self) -> impl Iterator<Item = &Arc<Placed>> {
        self.pods.values()
    }

    /// Only within `suppose`, and to be undone there.
    pub fn place(&mut self, pod: &Arc<Placed>) {
        self.nodes[pod.slot as usize].add(pod);
        *self.priorities.entry(pod.need.priority).or_default() += 1;
        self.use_claims(pod, 1);
        self.counts.place(&self.nodes, (pod.slot, &pod.need), !pod.facts.terminating, 1);
        self.note(pod.slot);
    }

    /// Only within `suppose`, and to be undone there.
    pub fn displace(&mut self, pod: &Arc<Placed>) {
        self.nodes[pod.slot as usize].remove(pod);
        let same = self.priorities.entry(pod.need.priority).or_default();
        *same = same.saturating_sub(1);
        if *same == 0 {
            self.priorities.remove(&pod.need.priority);
        }
        self.use_claims(pod, -1);
        self.counts.place(&self.nodes, (pod.slot, &pod.need), !pod.facts.terminating, -1);
        self.note(pod.slot);
    }

    fn use_claims(&mut self, pod: &Placed, sign: isize) {
        for claim in &pod.need.mounts.claims {
            let key = (pod.need.kin.namespace.clone(), claim.name.clone());
            let users = self.claim_users.entry(key.clone()).or_default();
            *users = users.saturating_add_signed(sign);
            if *users == 0 {
                self.claim_users.remove(&key);
            }
        }
    }

    /// Placed pods that use the claim.
    pub fn users_of(&self, claim: &(String, String)) -> usize {
        self.claim_users.get(claim).copied().unwrap_or_default()
    }

    /// Whether any placed pod is less important.
    pub fn has_below(&self, priority: i32) -> bool {
        self.priorities.keys().next().is_some_and(|lowest| *lowest < priority)
    }

    /// What holds while these pods come to their nodes (`true`) or leave them; then all is as before.
    pub fn suppose<T>(&mut self, pods: &[(Arc<Placed>, bool)], look: impl FnOnce(&mut Self) -> T) -> T {
        let position = self.position();
        for (pod, comes) in pods {
            if *comes { self.place(pod) } else { self.displace(pod) }
        }
        let seen = look(self);
        for (pod, comes) in pods.iter().rev() {
            if *comes { self.displace(pod) } else { self.place(pod) }
        }
        self.rewind(position);
        seen
    }

    /// The pod waits for room on its node.
    pub fn nominate(&mut self, nominee: Nominee) {
        self.forget_nominee(&nominee.uid);
        self.note(nominee.slot);
        self.nominees.insert(nominee.uid.clone(), nominee);
    }

    /// It waits no more. Whether it did.
    pub fn forget_nominee(&mut self, uid: &str) -> bool {
        let known = self.nominees.remove(uid);
        known.iter().for_each(|nominee| self.note(nominee.slot));
        known.is_some()
    }

    pub fn nominees(&self) -> impl Iterator<Item = &Nominee> {
        self.nominees.values()
    }

    pub fn nomination(&self, uid: &str) -> Option<u32> {
        self.nominees.get(uid).map(|nominee| nominee.slot)
    }

    /// Pods that wait for room on the node, as if they had come; those for which `counts` (uid, priority) holds.
    pub fn expected(&self, slot: u32, counts: impl Fn(&str, i32) -> bool) -> Vec<(Arc<Placed>, bool)> {
        let here = self.nominees.values().filter(|nominee| nominee.slot == slot);
        let expected = here.filter(|nominee| counts(&nominee.uid, nominee.need.priority));
        let placed = expected.map(|nominee| {
            let facts = Facts { uid: nominee.uid.clone(), ..Facts::default() };
            (Arc::new(Placed { slot: nominee.slot, need: nominee.need.clone(), facts }), true)
        });
        placed.collect()
    }

    /// Whether somebody waits for room on the node.
    pub fn is_awaited(&self, slot: u32) -> bool {
        !self.nominees.is_empty() && self.nominees.values().any(|nominee| nominee.slot == slot)
    }

    /// The counter of a query, made when it is new.
    pub fn counter(&mut self, query: crate::counts::Query, division: crate::counts::Division) -> u32 {
        self.counts.register(&self.nodes, query, division)
    }

    /// Drops counts that nobody asks for, when there are too many.
    pub fn tidy(&mut self) {
        if self.counts.is_full() {
            self.counts.forget(&self.nodes);
        }
    }

    fn slot(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = u32::try_from(self.nodes.len()).expect("there are fewer nodes than 2^32");
        self.nodes.push(NodeState { name: name.to_owned(), ..NodeState::default() });
        self.by_name.insert(name.to_owned(), slot);
        slot
    }

    fn note(&mut self, slot: u32) {
        self.changes.push(slot);
        if self.changes.len() > CHANGES_KEPT {
            let half = CHANGES_KEPT / 2;
            self.changes.drain(..half);
            self.forgotten += half;
        }
    }
}

/// Whether nothing that is counted differs.
fn counts_alike(one: &Placed, other: &Placed) -> bool {
    let same_need =
        Arc::ptr_eq(&one.need, &other.need) || (one.need.class == other.need.class && one.need.kin == other.need.kin);
    one.slot == other.slot
        && same_need
        && one.need.priority == other.need.priority
        && one.facts.terminating == other.facts.terminating
}
