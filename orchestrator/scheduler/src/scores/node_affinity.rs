//! NodeAffinity: the weights of the preferred terms that the node matches.

use amphipod_api::node_selector::matches;

use super::SCORE_MAX;
use crate::filters::node_affinity::candidate;
use crate::need::Need;
use crate::snapshot::NodeState;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    let preferred = need
        .node_affinity
        .as_ref()
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let Some(terms) = preferred else { return 0 };
    let sum = |only_matching: &dyn Fn(&k8s_openapi::api::core::v1::NodeSelectorTerm) -> bool| {
        terms.iter().filter(|term| only_matching(&term.preference)).map(|term| i64::from(term.weight)).sum::<i64>()
    };
    let all = sum(&|_| true);
    if all == 0 { 0 } else { sum(&|term| matches(term, candidate(node))) * SCORE_MAX / all }
}
