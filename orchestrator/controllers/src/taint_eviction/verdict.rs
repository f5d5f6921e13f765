//! How long a pod may stay on a node with these taints. Pure; `taint_eviction` keeps the appointments.

use std::time::Duration;

use amphipod_api::labels::{EDGE, TAINT_UNREACHABLE};
use amphipod_api::taints::tolerates;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::ResourceExt;

use crate::node_lifecycle::taints::NO_EXECUTE;

/// The taints of a node that drive pods away; on edge nodes being unreachable does not.
pub fn evicting(node: &Node) -> Vec<&Taint> {
    let edge = node.labels().get(EDGE).is_some_and(|edge| edge == "true");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let excused = |taint: &Taint| edge && taint.key == TAINT_UNREACHABLE;
    taints.iter().filter(|taint| taint.effect == NO_EXECUTE && !excused(taint)).collect()
}

/// How long the pod may stay from when the taints came; `None` is for ever. Of the tolerations that match (the
/// first for each taint) the shortest counts; a taint without one counts as no time at all.
pub fn stay(pod: &Pod, taints: &[&Taint]) -> Option<Duration> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let limit = |taint: &&Taint| match tolerations.iter().find(|toleration| tolerates(toleration, taint)) {
        None => Some(Duration::ZERO),
        Some(toleration) => {
            let seconds = toleration.toleration_seconds?;
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        }
    };
    taints.iter().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(labels: Value, taints: Value, tolerations: Value, expect: Expect) {
        let node = json!({ "metadata": { "name": "n", "labels": labels }, "spec": { "taints": taints } });
        let node: Node = serde_json::from_value(node).expect("a Node");
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [], "tolerations": tolerations } });
        let pod: Pod = serde_json::from_value(pod).expect("a Pod");
        expect.assert_eq(&stay(&pod, &evicting(&node)).map_or("for ever".into(), |time| format!("{time:?}")));
    }

    fn exists(key: &str, seconds: Option<i64>) -> Value {
        json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds })
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_taint() {
        let user = json!([{ "key": "k", "value": "v", "effect": "NoExecute" }]);
        let plain = || json!({});
        check(plain(), json!([]), json!([]), expect!["for ever"]);
        check(plain(), json!([{ "key": "k", "effect": "NoSchedule" }]), json!([]), expect!["for ever"]);
        check(plain(), user.clone(), json!([]), expect!["0ns"]);
        check(plain(), user.clone(), json!([{ "key": "k", "value": "v" }]), expect!["for ever"]);
        check(plain(), user.clone(), json!([{ "key": "k", "value": "w" }]), expect!["0ns"]);
        check(plain(), user.clone(), json!([{ "operator": "Exists" }]), expect!["for ever"]);
        check(plain(), user.clone(), json!([exists("k", Some(30))]), expect!["30s"]);
        check(plain(), user.clone(), json!([exists("k", Some(-1))]), expect!["0ns"]);
        check(plain(), user, json!([{ "key": "k", "operator": "Exists", "effect": "NoSchedule" }]), expect!["0ns"]);
    }

    #[test]
    fn the_shortest_toleration_counts() {
        let two = json!([{ "key": "a", "effect": "NoExecute" }, { "key": "b", "effect": "NoExecute" }]);
        check(json!({}), two.clone(), json!([exists("a", Some(30)), exists("b", Some(20))]), expect!["20s"]);
        check(json!({}), two.clone(), json!([exists("a", Some(30)), exists("b", None)]), expect!["30s"]);
        check(json!({}), two, json!([exists("a", Some(30))]), expect!["0ns"]);
    }

    #[test]
    fn edge_nodes_may_be_away() {
        let away = json!([{ "key": TAINT_UNREACHABLE, "effect": "NoExecute" }]);
        let broken = json!([{ "key": "node.kubernetes.io/not-ready", "effect": "NoExecute" }]);
        check(json!({}), away.clone(), json!([]), expect!["0ns"]);
        check(json!({ EDGE: "true" }), away, json!([]), expect!["for ever"]);
        check(json!({ EDGE: "true" }), broken, json!([]), expect!["0ns"]);
    }
}
