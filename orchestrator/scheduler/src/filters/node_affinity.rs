//! NodeAffinity: the pod's nodeSelector and its required node affinity.

use std::collections::BTreeSet;

use amphipod_api::node_selector::{Candidate, accepts};
use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorTerm};

use super::Refusal;
use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    if accepts(Some(&need.node_selector), need.node_affinity.as_ref(), candidate(node)) {
        return None;
    }
    Some(Refusal::for_good(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

pub fn candidate(node: &NodeState) -> Candidate<'_> {
    Candidate { name: &node.name, labels: &node.labels }
}

/// The nodes that the required terms name, when each of them names some: there is no need to look at others. A daemon's
/// pod is a class of its own by this.
pub fn named(affinity: Option<&NodeAffinity>) -> Option<BTreeSet<String>> {
    let required = affinity?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let terms: Option<Vec<_>> = required.node_selector_terms.iter().map(named_by).collect();
    terms.filter(|terms| !terms.is_empty()).map(|terms| terms.into_iter().flatten().collect())
}

fn named_by(term: &NodeSelectorTerm) -> Option<BTreeSet<String>> {
    let fields = term.match_fields.iter().flatten();
    let named = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    let sets = named.map(|field| field.values.iter().flatten().cloned().collect::<BTreeSet<String>>());
    sets.reduce(|all, more| all.intersection(&more).cloned().collect())
}
