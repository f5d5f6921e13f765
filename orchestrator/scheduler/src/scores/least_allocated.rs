//! LeastAllocated: the emptier the node will be, the better.

use super::{SCORE_MAX, used_share};
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    let free: Vec<i64> =
        ["cpu", "memory"].iter().filter_map(|name| Some(1_000 - used_share(need, node, name)?)).collect();
    if free.is_empty() { 0 } else { free.iter().sum::<i64>() * SCORE_MAX / 1_000 / free.len() as i64 }
}
