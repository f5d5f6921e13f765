//! BalancedAllocation: cpu and memory should fill alike.

use super::{SCORE_MAX, used_share};
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    match (used_share(need, node, "cpu"), used_share(need, node, "memory")) {
        // The standard deviation of two shares is half their difference.
        (Some(cpu), Some(memory)) => SCORE_MAX - (cpu - memory).abs() * SCORE_MAX / 2_000,
        _ => SCORE_MAX,
    }
}
