//! NodeAffinity: the pod's nodeSelector and its required node affinity.

use amphipod_api::node_selector::{Candidate, accepts};

use crate::need::Need;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    if accepts(Some(&need.node_selector), need.node_affinity.as_ref(), candidate(node)) {
        return Vec::new();
    }
    vec!["node(s) didn't match Pod's node affinity/selector".to_owned()]
}

pub fn candidate(node: &NodeState) -> Candidate<'_> {
    Candidate { name: &node.name, labels: &node.labels }
}
