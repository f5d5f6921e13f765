//! How well a pod would sit on a node that it may run on. One file each, one table; each gives 0 to 100, weighted.

pub mod balanced;
pub mod least_allocated;
pub mod node_affinity;
pub mod taints;

use crate::need::{Amounts, Need, SCORED_CPU, SCORED_MEMORY};
use crate::snapshot::NodeState;

pub const SCORE_MAX: i64 = 100;

pub type Score = fn(&Need, &NodeState) -> i64;

/// Name, weight (upstream's defaults), function.
pub const SCORES: &[(&str, i64, Score)] = &[
    ("TaintToleration", 3, taints::score),
    ("NodeAffinity", 2, node_affinity::score),
    ("NodeResourcesFit", 1, least_allocated::score),
    ("NodeResourcesBalancedAllocation", 1, balanced::score),
];

/// The weighted sum of all scores.
pub fn total(need: &Need, node: &NodeState) -> i64 {
    SCORES.iter().map(|(_, weight, score)| weight * score(need, node)).sum()
}

/// Requests as scores see them: a pod that asks for nothing still weighs something.
pub fn scored(requests: &Amounts) -> Amounts {
    let or = |name: &str, default: i64| requests.get(name).copied().filter(|amount| *amount > 0).unwrap_or(default);
    Amounts::from([("cpu".to_owned(), or("cpu", SCORED_CPU)), ("memory".to_owned(), or("memory", SCORED_MEMORY))])
}

/// The share of a resource in use once the pod is there, in thousandths; `None` when the node has none of it.
fn used_share(need: &Need, node: &NodeState, name: &str) -> Option<i64> {
    let capacity = node.allocatable.get(name).copied().filter(|amount| *amount > 0)?;
    let own = scored(&need.requests).get(name).copied().unwrap_or_default();
    let used = node.scored.get(name).copied().unwrap_or_default().saturating_add(own);
    Some((i128::from(used) * 1_000 / i128::from(capacity)).clamp(0, 1_000) as i64)
}
