//! TaintToleration: a node's NoSchedule and NoExecute taints must be tolerated.

use amphipod_api::taints::tolerates;

use crate::need::Need;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let mut untolerated = hard.filter(|taint| !need.tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    untolerated.next().map(|_| "node(s) had untolerated taint(s)".to_owned()).into_iter().collect()
}
