//! How well a pod would sit on a node that it may run on: 0 to 100 each, weighted. What depends on the node alone is
//! scored here for each node; what is measured against the other nodes that fit is read here and weighed in `choose.rs`.

pub mod balanced;
pub mod images;
pub mod least_allocated;
pub mod node_affinity;
pub mod taints;

use crate::need::Need;
use crate::snapshot::NodeState;

pub const SCORE_MAX: i64 = 100;

/// Upstream's weights.
pub const TAINTS: i64 = 3;
pub const NODE_AFFINITY: i64 = 2;
pub const SPREAD: i64 = 2;
pub const POD_AFFINITY: i64 = 2;

pub type Score = fn(&Need, &NodeState) -> i64;

/// Name, weight (upstream's defaults), function: those that look at one node.
pub const SCORES: &[(&str, i64, Score)] =
    &[("NodeResourcesFit", 1, least_allocated::score), ("NodeResourcesBalancedAllocation", 1, balanced::score)];

/// The weighted sum of these.
pub fn by_itself(need: &Need, node: &NodeState) -> i64 {
    SCORES.iter().map(|(_, weight, score)| weight * score(need, node)).sum()
}
