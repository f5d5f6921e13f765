//! Which node a pod gets: pure, over a snapshot. `classes.rs` gives the same answers without looking at every node.

use std::collections::BTreeMap;

use crate::filters::refusal;
use crate::need::Need;
use crate::scores::total;
use crate::snapshot::Snapshot;

/// No node can run the pod. Displayed, it is the message of the event and of the condition, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unschedulable {
    pub nodes: usize,
    /// Reason → number of nodes that gave it.
    pub reasons: BTreeMap<String, usize>,
}

impl std::fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut counted: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        counted.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, counted.join(", "))
    }
}

/// The best node that every filter accepts; the first seen among equals.
pub fn schedule(need: &Need, snapshot: &Snapshot) -> Result<String, Unschedulable> {
    let fits = snapshot.nodes().filter(|node| refusal(need, node).is_empty());
    // max_by_key takes the last of equals, so the order is turned around.
    let best = fits.enumerate().max_by_key(|(order, node)| (total(need, node), std::cmp::Reverse(*order)));
    best.map(|(_, node)| node.name.clone()).ok_or_else(|| explain(need, snapshot))
}

/// Why no node accepts the pod.
pub fn explain(need: &Need, snapshot: &Snapshot) -> Unschedulable {
    let mut reasons = BTreeMap::new();
    for node in snapshot.nodes() {
        for reason in refusal(need, node) {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    Unschedulable { nodes: snapshot.len(), reasons }
}
