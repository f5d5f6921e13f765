//! NodeAffinity: `nodeSelector` and the required terms, of which one must match.

use amphipod_api::selector;
use k8s_openapi::api::core::v1::NodeSelectorTerm;

use crate::pod::Class;
use crate::snapshot::Node;

pub fn required(class: &Class, node: &Node) -> Vec<String> {
    let plain = selector::matches_pairs(&class.node_selector, Some(&node.labels));
    let terms = class.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)));
    let refused = !(plain && terms);
    refused.then(|| "node(s) didn't match Pod's node affinity/selector".into()).into_iter().collect()
}

/// A term without any requirement matches no node.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let values = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|r| selector::requirement(&r.operator, &values(&r.values), node.labels.get(&r.key)))
        && fields.iter().all(|r| {
            let found = Some(&node.name).filter(|_| r.key == "metadata.name");
            selector::requirement(&r.operator, &values(&r.values), found)
        })
}
