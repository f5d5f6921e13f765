//! Whether a pod may run on a node by what the node is and has. One file each, one table; the reasons are upstream's
//! texts. What volumes forbid is in `volumes.rs`, what the pods around forbid in `outlook.rs`.

pub mod fit;
pub mod node_affinity;
pub mod node_name;
pub mod ports;
pub mod taints;
pub mod unschedulable;

use std::borrow::Cow;

use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub plugin: Plugin,
    /// Usually one; for resources one for each.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether it might fit if pods left the node.
    pub resolvable: bool,
}

impl Refusal {
    pub fn for_good(plugin: Plugin, reason: &'static str) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }

    pub fn for_now(plugin: Plugin, reason: &'static str) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }
}

/// `None` when the pod fits.
pub type Filter = fn(&Need, &NodeState) -> Option<Refusal>;

/// In upstream's order; the first that refuses speaks for the node.
pub const FILTERS: &[(Plugin, Filter)] = &[
    (Plugin::NodeUnschedulable, unschedulable::filter),
    (Plugin::NodeName, node_name::filter),
    (Plugin::TaintToleration, taints::filter),
    (Plugin::NodeAffinity, node_affinity::filter),
    (Plugin::NodePorts, ports::filter),
    (Plugin::NodeResourcesFit, fit::filter),
];

/// What the first filter that refuses says.
pub fn refusal(need: &Need, node: &NodeState) -> Option<Refusal> {
    FILTERS.iter().find_map(|(_, filter)| filter(need, node))
}

/// What this one filter says.
pub fn passes(plugin: Plugin, need: &Need, node: &NodeState) -> bool {
    let filter = FILTERS.iter().find(|(name, _)| *name == plugin);
    filter.is_none_or(|(_, filter)| filter(need, node).is_none())
}
