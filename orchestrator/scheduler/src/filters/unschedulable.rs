//! NodeUnschedulable: cordoned nodes take only pods that tolerate it.

use amphipod_api::taints::tolerates;
use k8s_openapi::api::core::v1::Taint;

use super::Refusal;
use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    if !node.unschedulable {
        return None;
    }
    let cordoned = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let tolerated = need.tolerations.iter().any(|toleration| tolerates(toleration, &cordoned));
    (!tolerated).then(|| Refusal::for_good(Plugin::NodeUnschedulable, "node(s) were unschedulable"))
}
