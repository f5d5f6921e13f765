//! NodeUnschedulable: cordoned nodes take only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use crate::need::Need;
use crate::snapshot::NodeState;
use amphipod_api::taints::tolerates;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    let cordoned = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if node.unschedulable && !need.tolerations.iter().any(|toleration| tolerates(toleration, &cordoned)) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    Vec::new()
}
