//! The pod of one node: what it tolerates, to which node it is bound, and whether it belongs there at all.

use amphipod_api::node_selector::{Candidate, accepts, named};
use amphipod_api::taints::tolerates;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Affinity, Node, Pod, PodSpec, Taint, Toleration};
use kube::ResourceExt;
use serde_json::json;

use crate::on_node::node_of;
use crate::pods::from_template;

/// Bears the hash of the revision that a pod was made of.
pub const REVISION: &str = "controller-revision-hash";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const POD_GENERATION: &str = "pod-template-generation";

/// What daemons put up with on any node, by key and effect.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const WITHOUT_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Whether a node should have a daemon, and whether one that is there may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fit {
    pub should_run: bool,
    pub may_stay: bool,
}

pub fn fit(set: &DaemonSet, node: &Node) -> Fit {
    let spec = set.spec.template.spec.clone().unwrap_or_default();
    let name = node.name_any();
    let elsewhere = spec.node_name.as_ref().is_some_and(|wanted| !wanted.is_empty() && *wanted != name);
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let candidate = Candidate { name: &name, labels: node.labels() };
    if elsewhere || !accepts(spec.node_selector.as_ref(), affinity, candidate) {
        return Fit::default();
    }
    let tolerations = tolerations(&spec);
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let untolerated = |taint: &&Taint| !tolerations.iter().any(|one| tolerates(one, taint));
    let untolerated: Vec<_> = taints.filter(untolerated).map(|taint| taint.effect.as_str()).collect();
    let is_evicted = untolerated.contains(&"NoExecute");
    Fit { should_run: !is_evicted && !untolerated.contains(&"NoSchedule"), may_stay: !is_evicted }
}

/// The template's own, and those of every daemon.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let without_network = spec.host_network.filter(|host| *host).map(|_| WITHOUT_NETWORK);
    for (key, effect) in TOLERATED.iter().copied().chain(without_network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        let kind = |one: &Toleration| (one.key.clone(), one.operator.clone(), one.effect.clone(), one.value.clone());
        match all.iter_mut().find(|one| kind(one) == kind(&toleration)) {
            Some(given) => *given = toleration,
            None => all.push(toleration),
        }
    }
    all
}

/// A pod that the scheduler can bind to this node only.
pub fn pod(set: &DaemonSet, hash: &str, node: &str) -> Pod {
    let mut pod = from_template(&set.spec.template, set);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.into(), hash.into());
    if let Some(generation) = set.annotations().get(TEMPLATE_GENERATION) {
        labels.insert(POD_GENERATION.into(), generation.clone());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let only = json!({ "nodeSelectorTerms": [
        { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] },
    ]});
    let required = serde_json::from_value(only).expect("it is a node selector");
    affinity.node_affinity.get_or_insert_default().required_during_scheduling_ignored_during_execution = Some(required);
    pod
}

/// The node that a daemon is bound to, or will be.
pub fn node_for(pod: &Pod) -> Option<&str> {
    let affinity = || pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref();
    node_of(pod).or_else(|| named(affinity()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "agent", "uid": "u", "annotations": {TEMPLATE_GENERATION: "2"}},
            "spec": {"selector": {}, "template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}},
        }))
        .expect("a set")
    }

    fn check(spec: Value, taints: &str, expected: &str) {
        let taint = |word: &str| {
            let (key, effect) = word.split_once(':').unwrap();
            json!({"key": key, "effect": effect})
        };
        let taints: Vec<_> = taints.split_whitespace().map(taint).collect();
        let node = json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}}, "spec": {"taints": taints}});
        let fit = fit(&set(spec), &serde_json::from_value(node).unwrap());
        let shown = match (fit.should_run, fit.may_stay) {
            (true, true) => "run",
            (false, true) => "stay",
            _ => "leave",
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn labels_and_taints_say_where_daemons_run() {
        let plain = || json!({"containers": []});
        check(plain(), "", "run");
        check(plain(), "node.kubernetes.io/unschedulable:NoSchedule node.kubernetes.io/not-ready:NoExecute", "run");
        check(plain(), "k:NoSchedule", "stay");
        check(plain(), "k:NoExecute", "leave");
        check(plain(), "k:PreferNoSchedule", "run");
        check(json!({"containers": [], "tolerations": [{"operator": "Exists"}]}), "k:NoExecute", "run");
        check(json!({"containers": [], "nodeSelector": {"disk": "ssd"}}), "", "run");
        check(json!({"containers": [], "nodeSelector": {"disk": "hdd"}}), "", "leave");
        check(json!({"containers": [], "nodeName": "other"}), "", "leave");
        check(plain(), "node.kubernetes.io/network-unavailable:NoSchedule", "stay");
        check(
            json!({"containers": [], "hostNetwork": true}),
            "node.kubernetes.io/network-unavailable:NoSchedule",
            "run",
        );
    }

    #[test]
    fn a_daemon_is_for_one_node() {
        let preferred = json!([{"weight": 1, "preference": {}}]);
        let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred,
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}});
        let pod = pod(&set(json!({"containers": [], "affinity": affinity})), "abc", "n");
        assert_eq!(node_for(&pod), Some("n"));
        let spec = pod.spec.unwrap();
        expect![[r#"{"app":"agent","controller-revision-hash":"abc","pod-template-generation":"2"}"#]]
            .assert_eq(&serde_json::to_string(&pod.metadata.labels).unwrap());
        expect![[r#"{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"preference":{},"weight":1}],"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}]}}}"#]]
        .assert_eq(&serde_json::to_value(&spec.affinity).unwrap().to_string());
        assert_eq!(spec.tolerations.map(|all| all.len()), Some(TOLERATED.len()));
    }
}
