//! TaintToleration: fewer PreferNoSchedule taints that the pod does not tolerate are better.

use amphipod_api::taints::tolerates;

use crate::need::Need;
use crate::snapshot::NodeState;

/// How many it does not tolerate.
pub fn count(need: &Need, node: &NodeState) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !need.tolerations.iter().any(|toleration| tolerates(toleration, taint))).count() as i64
}
