//! TaintToleration: a node's NoSchedule and NoExecute taints must be tolerated.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::need::Need;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let mut untolerated = hard.filter(|taint| !need.tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    untolerated.next().map(|_| "node(s) had untolerated taint(s)".to_owned()).into_iter().collect()
}

/// Upstream's `ToleratesTaint`: an empty key with Exists matches all, an empty effect every effect.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}
