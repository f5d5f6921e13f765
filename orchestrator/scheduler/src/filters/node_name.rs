//! NodeName: a pod that names its node runs nowhere else.

use super::Refusal;
use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    let wanted = need.node_name.as_ref().filter(|name| **name != node.name);
    wanted.map(|_| Refusal::for_good(Plugin::NodeName, "node(s) didn't match the requested node name"))
}
