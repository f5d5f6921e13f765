//! BalancedAllocation: cpu and memory should fill alike; half of the score is for how much better the pod makes it.

use super::SCORE_MAX;
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    if need.requests.cpu == 0 && need.requests.memory == 0 {
        return 0;
    }
    let (has, taken, wanted) = (&node.allocatable, &node.requested, &need.requests);
    let with = evenness(share(taken.cpu + wanted.cpu, has.cpu), share(taken.memory + wanted.memory, has.memory));
    let without = evenness(share(taken.cpu, has.cpu), share(taken.memory, has.memory));
    SCORE_MAX / 2 + (SCORE_MAX / 2 + with - without) / 2
}

/// The standard deviation of two shares is half their difference.
fn evenness(cpu: Option<f64>, memory: Option<f64>) -> i64 {
    let deviation = match (cpu, memory) {
        (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * SCORE_MAX as f64) as i64
}

fn share(used: i64, capacity: i64) -> Option<f64> {
    (capacity != 0).then(|| (used as f64 / capacity as f64).min(1.0))
}
