//! TaintToleration: a node's NoSchedule and NoExecute taints must be tolerated.

use amphipod_api::taints::tolerates;

use super::Refusal;
use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let mut untolerated = hard.filter(|taint| !need.tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    untolerated.next().map(|_| Refusal::for_good(Plugin::TaintToleration, "node(s) had untolerated taint(s)"))
}
