//! LeastAllocated: the emptier the node will be, the better.

use super::SCORE_MAX;
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    let cpu = free(node.allocatable.cpu, node.scored.0.saturating_add(need.scored.0));
    let memory = free(node.allocatable.memory, node.scored.1.saturating_add(need.scored.1));
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => (cpu + memory) / 2,
        (one, other) => one.or(other).unwrap_or(0),
    }
}

/// The share left, in hundredths; `None` when the node has none of it.
fn free(capacity: i64, used: i64) -> Option<i64> {
    if capacity <= 0 {
        return None;
    }
    let left = i128::from((capacity - used).max(0));
    Some((left * i128::from(SCORE_MAX) / i128::from(capacity)) as i64)
}
