//! Pods of one class ask the same of every node, so their candidates are kept in order of score and only the nodes that
//! changed since are judged again: placing a pod costs one node, not all of them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use amphipod_api::node_selector::named;

use crate::filters::refusal;
use crate::need::Need;
use crate::schedule::{Unschedulable, explain};
use crate::scores::total;
use crate::snapshot::Snapshot;

/// Classes remembered; the one not asked for longest goes first.
const CLASSES_MAX: usize = 128;

#[derive(Default)]
pub struct Classes {
    known: HashMap<Arc<str>, Candidates>,
    turn: u64,
}

/// The nodes that accept a class, best first; the first seen among equals.
#[derive(Default)]
struct Candidates {
    ordered: BTreeSet<(Reverse<i64>, u32)>,
    /// Score of each slot; `None`: refused or unknown.
    scores: Vec<Option<i64>>,
    position: usize,
    asked: u64,
}

impl Classes {
    /// The same answer as [`crate::schedule::schedule`].
    pub fn schedule(&mut self, need: &Need, snapshot: &Snapshot) -> Result<String, Unschedulable> {
        // A daemon's pod is a class of its own: the one node it names is all there is to look at.
        if let Some(node) = named(need.node_affinity.as_ref()) {
            let fits = snapshot.named(node).is_some_and(|node| refusal(need, node).is_empty());
            return if fits { Ok(node.to_owned()) } else { Err(explain(need, snapshot)) };
        }
        self.turn += 1;
        if self.known.len() >= CLASSES_MAX && !self.known.contains_key(&need.class) {
            let oldest =
                self.known.iter().min_by_key(|(_, candidates)| candidates.asked).map(|(class, _)| class.clone());
            oldest.map(|class| self.known.remove(&class));
        }
        let fresh = !self.known.contains_key(&need.class);
        let candidates = self.known.entry(need.class.clone()).or_default();
        candidates.asked = self.turn;
        candidates.catch_up(need, snapshot, fresh);
        match candidates.ordered.first() {
            Some((_, slot)) => Ok(snapshot.at(*slot as usize).name.clone()),
            None => Err(explain(need, snapshot)),
        }
    }
}

impl Candidates {
    fn catch_up(&mut self, need: &Need, snapshot: &Snapshot, fresh: bool) {
        let changed = if fresh { None } else { snapshot.changed_since(self.position) };
        match changed {
            Some(slots) => slots.iter().for_each(|slot| self.judge(*slot, need, snapshot)),
            None => (0..snapshot.slots()).for_each(|slot| self.judge(slot as u32, need, snapshot)),
        }
        self.position = snapshot.position();
    }

    fn judge(&mut self, slot: u32, need: &Need, snapshot: &Snapshot) {
        let index = slot as usize;
        if self.scores.len() <= index {
            self.scores.resize(snapshot.slots(), None);
        }
        if let Some(before) = self.scores[index].take() {
            self.ordered.remove(&(Reverse(before), slot));
        }
        let node = snapshot.at(index);
        if node.known && refusal(need, node).is_empty() {
            let score = total(need, node);
            self.scores[index] = Some(score);
            self.ordered.insert((Reverse(score), slot));
        }
    }
}
