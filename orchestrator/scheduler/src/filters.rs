//! The table of filters: each says why a node cannot take a pod, or nothing. The first that objects decides,
//! in upstream's order; texts are upstream's. `scores` ranks what is left.

mod affinity;
mod node;
mod resources;
mod taints;

use crate::pod::Class;
use crate::snapshot::Node;

/// Reasons as they appear in FailedScheduling, without their count; empty when the node will do.
pub type Filter = fn(&Class, &Node) -> Vec<String>;

pub const FILTERS: &[Filter] = &[
    node::unschedulable,
    node::name,
    taints::tolerated,
    affinity::required,
    node::ports,
    resources::fit,
];

pub use affinity::term_matches;
pub use taints::tolerates;

/// What the first objecting filter says.
pub fn objections(class: &Class, node: &Node) -> Vec<String> {
    let all = FILTERS.iter().map(|filter| filter(class, node));
    all.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default()
}
