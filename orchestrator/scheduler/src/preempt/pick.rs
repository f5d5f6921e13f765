//! Where it hurts least: upstream's order of comparing nodes.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use super::Victims;
use crate::snapshot::Placed;

/// More important pods come first: by priority, then by how long they run.
pub fn importance(pod: &Arc<Placed>) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.need.priority), started(pod))
}

/// A pod that has not started is younger than all.
fn started(pod: &Placed) -> Timestamp {
    pod.facts.started.unwrap_or(Timestamp::MAX)
}

/// The first of those that are best by: broken budgets, the most important victim, the sum of priorities, the number of
/// victims, and how late the longest running of the most important victims began.
pub fn pick(found: Vec<Victims>) -> Option<Victims> {
    found.into_iter().min_by_key(|victims| {
        let highest = victims.pods.first().map_or(i32::MIN, |pod| pod.need.priority);
        // Shifted so that many pods of negative priority are not preferred to few.
        let shifted = |pod: &Arc<Placed>| i64::from(pod.need.priority) + i64::from(i32::MAX) + 1;
        let sum: i64 = victims.pods.iter().map(shifted).sum();
        let earliest = victims.pods.iter().filter(|pod| pod.need.priority == highest).map(|pod| started(pod)).min();
        (victims.violations, highest, sum, victims.pods.len(), Reverse(earliest))
    })
}
