//! Pods of one class ask the same of every node, so the nodes that fit are kept in buckets and only those that changed
//! since are judged again: placing a pod costs one node, not all of them. Pods with volumes are each on their own: for
//! them enough nodes are looked at, as upstream does for every pod.

use std::collections::HashMap;
use std::sync::Arc;

use crate::buckets::Buckets;
use crate::choose::choose;
use crate::counts::CounterId;
use crate::filters::Refusal;
use crate::filters::node_affinity::named;
use crate::need::Need;
use crate::outlook::{Outlook, marks, meaning};
use crate::plugins::Plugin;
use crate::schedule::{Asked, Unschedulable, explain, refusal_awaited, sample};
use crate::snapshot::Snapshot;
use crate::volumes::Wanted;

/// Nodes times classes remembered: the class not asked for longest goes first.
const REMEMBERED_MAX: usize = 1_000_000;
const CLASSES_MIN: usize = 32;
const CLASSES_MAX: usize = 1_024;
/// With fewer nodes upstream looks at all, and never at fewer that fit.
const SAMPLE_MIN: usize = 100;

/// What must be equal for pods to share what was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Class {
    need: Arc<str>,
    marks: Vec<bool>,
    meaning: Arc<[CounterId]>,
}

#[derive(Default)]
pub struct Classes {
    known: HashMap<Class, Candidates>,
    turn: u64,
    /// Where the next sample begins.
    next: u32,
}

#[derive(Default)]
struct Candidates {
    outlook: Outlook,
    buckets: Buckets,
    /// How far changes were followed; `None` at first.
    position: Option<usize>,
    shape: u64,
    /// What a pod of this class was refused with, while nothing has changed since.
    refused: Option<(usize, Unschedulable)>,
    asked: u64,
}

impl Classes {
    /// The slot of the pod's node. `nominated`: where it waits for room.
    pub fn schedule(&mut self, uid: &str, need: &Need, snapshot: &mut Snapshot) -> Result<u32, Unschedulable> {
        snapshot.tidy();
        if !need.mounts.is_empty() {
            return self.with_volumes(uid, need, snapshot);
        }
        if let Some(named) = named(need.node_affinity.as_ref()) {
            let outlook = Outlook::of(need, snapshot);
            let asked = Asked { uid, need, outlook: &outlook, wanted: None };
            return among(&asked, snapshot, named.iter().filter_map(|name| snapshot.slot_of(name)).collect());
        }
        self.by_class(uid, need, snapshot)
    }

    fn by_class(&mut self, uid: &str, need: &Need, snapshot: &mut Snapshot) -> Result<u32, Unschedulable> {
        let class = Class {
            need: need.class.clone(),
            meaning: meaning(need, &mut snapshot.counts),
            marks: marks(need, &snapshot.counts),
        };
        self.turn += 1;
        if !self.known.contains_key(&class) {
            self.make_room(snapshot.slots() as usize);
        }
        let candidates = self.known.entry(class).or_default();
        candidates.asked = self.turn;
        candidates.catch_up(need, snapshot);
        let Candidates { outlook, buckets, .. } = &*candidates;
        let asked = Asked { uid, need, outlook, wanted: None };
        if let Some(slot) = at_nomination(&asked, snapshot) {
            return Ok(slot);
        }
        // Where others wait for room, it depends on who asks.
        let mut awaited: Vec<u32> = snapshot.nominees().map(|nominee| nominee.slot).collect();
        awaited.sort_unstable();
        awaited.dedup();
        awaited.retain(|slot| refusal_awaited(&asked, snapshot, *slot).is_none());
        let mut besides = Buckets::default();
        awaited.iter().for_each(|slot| besides.put(*slot, need, outlook, snapshot));
        if let Some(slot) = choose(need, outlook, snapshot, buckets.offers().chain(besides.offers())) {
            return Ok(slot);
        }
        let position = snapshot.position();
        if let Some((at, why)) = &candidates.refused
            && *at == position
            && snapshot.nominees().next().is_none()
        {
            return Err(why.clone());
        }
        let why = explain(&asked, snapshot, None);
        candidates.refused = Some((position, why.clone()));
        Err(why)
    }

    fn make_room(&mut self, nodes: usize) {
        let most = (REMEMBERED_MAX / nodes.max(1)).clamp(CLASSES_MIN, CLASSES_MAX);
        if self.known.len() < most {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, candidates)| candidates.asked);
        if let Some(class) = oldest.map(|(class, _)| class.clone()) {
            self.known.remove(&class);
        }
    }

    fn with_volumes(&mut self, uid: &str, need: &Need, snapshot: &mut Snapshot) -> Result<u32, Unschedulable> {
        let wanted =
            Wanted::of(need, &snapshot.storage).map_err(|refusal| Unschedulable::hopeless(&refusal, snapshot))?;
        let outlook = Outlook::of(need, snapshot);
        let asked = Asked { uid, need, outlook: &outlook, wanted: Some(&wanted) };
        if let Some(named) = named(need.node_affinity.as_ref()) {
            return among(&asked, snapshot, named.iter().filter_map(|name| snapshot.slot_of(name)).collect());
        }
        if let Some(slot) = at_nomination(&asked, snapshot) {
            return Ok(slot);
        }
        let slots = snapshot.slots();
        let from = if slots == 0 { 0 } else { self.next % slots };
        let turned: Vec<u32> = (from..slots).chain(0..from).filter(|slot| snapshot.at(*slot).known).collect();
        let enough = enough(turned.len());
        self.next = from.wrapping_add(enough as u32);
        sample(&asked, snapshot, turned, enough).ok_or_else(|| explain(&asked, snapshot, None))
    }
}

/// How many nodes that fit are enough: upstream's `numFeasibleNodesToFind`.
fn enough(nodes: usize) -> usize {
    if nodes < SAMPLE_MIN {
        return nodes.max(1);
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(SAMPLE_MIN)
}

/// Only these nodes come into question.
fn among(asked: &Asked, snapshot: &mut Snapshot, slots: Vec<u32>) -> Result<u32, Unschedulable> {
    let affinity = asked.need.node_affinity.as_ref();
    if named(affinity).is_some_and(|named| named.is_empty()) {
        let refusal = Refusal::for_good(Plugin::NodeAffinity, "pod affinity terms conflict");
        return Err(Unschedulable::hopeless(&refusal, snapshot));
    }
    let found = sample(asked, snapshot, slots.iter().copied(), usize::MAX);
    found.ok_or_else(|| explain(asked, snapshot, Some(&slots)))
}

/// The node whose victims have left for it.
fn at_nomination(asked: &Asked, snapshot: &mut Snapshot) -> Option<u32> {
    let slot = snapshot.nomination(asked.uid).filter(|slot| snapshot.at(*slot).known)?;
    refusal_awaited(asked, snapshot, slot).is_none().then_some(slot)
}

impl Candidates {
    fn catch_up(&mut self, need: &Need, snapshot: &mut Snapshot) {
        let fresh = self.shape != snapshot.counts.shape;
        if fresh || self.position.is_none() {
            self.position = None;
            self.outlook = Outlook::of(need, snapshot);
            self.refused = None;
            self.shape = snapshot.counts.shape;
        }
        match self.position.and_then(|position| snapshot.changed_since(position)) {
            Some(slots) => slots.iter().for_each(|slot| self.buckets.judge(*slot, need, &self.outlook, snapshot)),
            None => {
                self.buckets = Buckets::default();
                (0..snapshot.slots()).for_each(|slot| self.buckets.judge(slot, need, &self.outlook, snapshot));
            }
        }
        self.position = Some(snapshot.position());
    }
}

#[cfg(test)]
mod tests {
    use super::enough;

    #[test]
    fn large_clusters_are_sampled_as_upstream_samples_them() {
        let cases = [(0, 1), (10, 10), (99, 99), (100, 100), (250, 120), (1_000, 420), (5_000, 500), (20_000, 1_000)];
        for (nodes, expected) in cases {
            assert_eq!(enough(nodes), expected, "{nodes}");
        }
    }
}
