//! TaintToleration: fewer PreferNoSchedule taints that the pod does not tolerate are better.

use super::SCORE_MAX;
use crate::need::Need;
use crate::snapshot::NodeState;
use amphipod_api::taints::tolerates;

/// Each untolerated taint costs this much.
const COST: i64 = 25;

pub fn score(need: &Need, node: &NodeState) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    let untolerated =
        soft.filter(|taint| !need.tolerations.iter().any(|toleration| tolerates(toleration, taint))).count();
    (SCORE_MAX - COST * untolerated as i64).max(0)
}
