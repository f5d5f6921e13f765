//! NodeResourcesFit: what a node can give minus what its pods have asked for.

use crate::pod::Class;
use crate::snapshot::Node;

pub fn fit(class: &Class, node: &Node) -> Vec<String> {
    let mut reasons = Vec::new();
    if i64::try_from(node.pods).unwrap_or(i64::MAX) + 1 > node.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for (name, wanted) in class.requests.0.iter().filter(|(_, wanted)| **wanted > 0) {
        if *wanted > node.allocatable.get(name) - node.requested.get(name) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
