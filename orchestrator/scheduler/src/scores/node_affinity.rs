//! NodeAffinity: the weights of the preferred terms that the node matches.

use amphipod_api::node_selector::matches;

use crate::filters::node_affinity::candidate;
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn sum(need: &Need, node: &NodeState) -> i64 {
    let affinity = need.node_affinity.as_ref();
    let preferred = affinity.and_then(|all| all.preferred_during_scheduling_ignored_during_execution.as_ref());
    let matching = preferred.into_iter().flatten().filter(|term| matches(&term.preference, candidate(node)));
    matching.map(|term| i64::from(term.weight)).sum()
}
