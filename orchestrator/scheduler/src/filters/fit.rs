//! NodeResourcesFit: what is requested must be left of what the node may give.

use crate::need::Need;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    let of = |amounts: &crate::need::Amounts, name: &str| amounts.get(name).copied().unwrap_or_default();
    let short = need.requests.iter().filter(|(name, wanted)| {
        let left = of(&node.allocatable, name).saturating_sub(of(&node.requested, name));
        **wanted > 0 && **wanted > left
    });
    let reason = |(name, _): (&String, &i64)| {
        if name == "pods" { "Too many pods".to_owned() } else { format!("Insufficient {name}") }
    };
    short.map(reason).collect()
}
