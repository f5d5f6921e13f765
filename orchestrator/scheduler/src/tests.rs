//! Tables of pods and nodes against the scheduler's decision, and the property that classes decide the same.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::classes::Classes;
use crate::need::Need;
use crate::schedule::schedule;
use crate::snapshot::Snapshot;

fn node(name: &str, extra: Value) -> Node {
    let mut node = json!({"metadata": {"name": name, "labels": {"zone": name}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}});
    merge(&mut node, extra);
    serde_json::from_value(node).unwrap()
}

fn pod(spec: Value) -> Pod {
    let mut whole = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
    merge(&mut whole["spec"], spec);
    serde_json::from_value(whole).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value))
        }
        (into, from) => *into = from,
    }
}

fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
}

/// Where the pod goes on these nodes, or what it is told.
fn check(nodes: &[Node], spec: Value, expected: Expect) {
    let mut snapshot = Snapshot::default();
    nodes.iter().for_each(|node| snapshot.put_node(node));
    let decision = schedule(&Need::of(&pod(spec)), &snapshot);
    expected.assert_eq(&decision.unwrap_or_else(|refused| refused.to_string()));
}

fn three() -> [Node; 3] {
    let tainted = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    [node("a", json!({})), node("b", tainted), node("c", json!({"spec": {"unschedulable": true}}))]
}

#[test]
fn the_only_node_that_fits_is_taken() {
    check(&three(), json!({}), expect!["a"]);
}

#[test]
fn every_reason_is_counted() {
    check(
        &three(),
        cpu("3"),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ],
    );
}

#[test]
fn without_nodes_it_says_so() {
    check(&[], json!({}), expect!["no nodes available to schedule pods"]);
}

#[test]
fn labels_and_affinity_choose() {
    check(
        &three(),
        json!({"nodeSelector": {"zone": "nowhere"}}),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ],
    );
    let required = |expression: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
    };
    let two = [node("a", json!({})), node("b", json!({}))];
    check(&two, required(json!({"key": "zone", "operator": "In", "values": ["b"]})), expect!["b"]);
    check(&two, required(json!({"key": "zone", "operator": "NotIn", "values": ["a"]})), expect!["b"]);
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 10, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}}]}}});
    check(&two, preferred, expect!["b"]);
}

#[test]
fn tolerations_open_taints() {
    let only_tainted = [three()[1].clone()];
    let tolerating = |toleration: Value| json!({"tolerations": [toleration]});
    check(&only_tainted, tolerating(json!({"key": "k", "value": "v", "effect": "NoSchedule"})), expect!["b"]);
    check(&only_tainted, tolerating(json!({"operator": "Exists"})), expect!["b"]);
    let refused = expect!["0/1 nodes are available: 1 node(s) had untolerated taint(s)."];
    check(&only_tainted, tolerating(json!({"key": "k", "value": "other"})), refused);
}

#[test]
fn init_containers_count_where_they_need_more() {
    let spec = json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1500m"}}}],
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    assert_eq!(Need::of(&pod(spec)).requests["cpu"], 1_500);
    let sidecar = json!({"initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}],
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    assert_eq!(Need::of(&pod(sidecar)).requests["cpu"], 2_000);
}

#[test]
fn pods_take_room_ports_and_give_them_back() {
    let mut snapshot = Snapshot::default();
    snapshot.put_node(&node("a", json!({})));
    let web = Need::of(&pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}],
        "resources": {"requests": {"cpu": "1500m"}}}]})));
    snapshot.put_pod("u1", "a", Arc::new(web.clone()));
    let refused = schedule(&web, &snapshot).unwrap_err().to_string();
    expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."]
        .assert_eq(&refused);
    assert!(snapshot.remove_pod("u1"));
    assert_eq!(schedule(&web, &snapshot).unwrap(), "a");
    assert!(!snapshot.remove_pod("u1"));
}

#[test]
fn load_spreads_over_equal_nodes() {
    let mut snapshot = Snapshot::default();
    ["a", "b", "c"].iter().for_each(|name| snapshot.put_node(&node(name, json!({}))));
    let (mut classes, need) = (Classes::default(), Arc::new(Need::of(&pod(cpu("100m")))));
    let mut counts = std::collections::BTreeMap::new();
    for uid in 0..9 {
        let name = classes.schedule(&need, &snapshot).unwrap();
        snapshot.put_pod(&uid.to_string(), &name, need.clone());
        *counts.entry(name).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [3, 3, 3]);
}

#[derive(Debug, Clone)]
enum Step {
    Node(u8, u8),
    NodeGone(u8),
    Pod(u8, u8),
    PodGone(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..4u8).prop_map(|(name, shape)| Step::Node(name, shape)),
        (0..6u8).prop_map(Step::NodeGone),
        (0..20u8, 0..3u8).prop_map(|(uid, size)| Step::Pod(uid, size)),
        (0..20u8).prop_map(Step::PodGone),
    ]
}

proptest! {
    #[test]
    fn classes_decide_as_the_full_look_does(steps in prop::collection::vec(step(), 1..120)) {
        let (mut snapshot, mut classes) = (Snapshot::default(), Classes::default());
        let needs: Vec<_> = ["0", "300m", "1"].map(|amount| Arc::new(Need::of(&pod(cpu(amount))))).into();
        for step in steps {
            match step {
                Step::Node(name, shape) => {
                    let extra = match shape {
                        0 => json!({"spec": {"unschedulable": true}}),
                        1 => json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
                        2 => json!({"status": {"allocatable": {"cpu": "8"}}}),
                        _ => json!({}),
                    };
                    snapshot.put_node(&node(&name.to_string(), extra));
                }
                Step::NodeGone(name) => snapshot.remove_node(&name.to_string()),
                Step::Pod(uid, size) => {
                    let need = &needs[size as usize];
                    if let Ok(name) = classes.schedule(need, &snapshot) {
                        snapshot.put_pod(&uid.to_string(), &name, need.clone());
                    }
                }
                Step::PodGone(uid) => _ = snapshot.remove_pod(&uid.to_string()),
            }
            for need in &needs {
                prop_assert_eq!(classes.schedule(need, &snapshot), schedule(need, &snapshot));
            }
        }
    }
}
