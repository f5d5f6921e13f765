//! Whether a pod may run on a node. One file each, one table; the reasons are upstream's texts.

pub mod fit;
pub mod node_affinity;
pub mod ports;
pub mod taints;
pub mod unschedulable;

use crate::need::Need;
use crate::snapshot::NodeState;

/// Why not, empty when the pod fits: usually one reason, for resources one for each.
pub type Filter = fn(&Need, &NodeState) -> Vec<String>;

/// In upstream's order; the first that refuses speaks for the node.
pub const FILTERS: &[(&str, Filter)] = &[
    ("NodeUnschedulable", unschedulable::filter),
    ("TaintToleration", taints::filter),
    ("NodeAffinity", node_affinity::filter),
    ("NodePorts", ports::filter),
    ("NodeResourcesFit", fit::filter),
];

/// The reasons of the first filter that refuses.
pub fn refusal(need: &Need, node: &NodeState) -> Vec<String> {
    let refusals = FILTERS.iter().map(|(_, filter)| filter(need, node));
    refusals.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default()
}
