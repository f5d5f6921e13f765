//! What nodes say of themselves: names, taints, labels, cordons.

use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, cpu, node, plain, spec};

fn three() -> Cluster {
    let tainted = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    Cluster::of([plain("a"), node("b", tainted), node("c", json!({"spec": {"unschedulable": true}}))])
}

#[test]
fn the_only_node_that_fits_is_taken() {
    three().check(json!({}), expect!["a"]);
}

#[test]
fn every_reason_is_counted() {
    three().check(
        spec(cpu("3")),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ],
    );
}

#[test]
fn without_nodes_it_says_so() {
    Cluster::default().check(json!({}), expect!["no nodes available to schedule pods"]);
}

#[test]
fn a_node_can_be_asked_for_by_name() {
    three().check(
        spec(json!({"nodeName": "b"})),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match the requested node name, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ],
    );
}

#[test]
fn tolerations_open_taints_and_cordons() {
    for (toleration, expected) in [
        (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), expect!["a"]),
        (json!({"key": "k", "value": "other"}), expect!["a"]),
    ] {
        three().check(spec(json!({"tolerations": [toleration]})), expected);
    }
    let only = |taint: Value| Cluster::of([node("b", json!({"spec": {"taints": [taint]}}))]);
    let taint = json!({"key": "k", "value": "v", "effect": "NoExecute"});
    let tolerating = |toleration: Value| spec(json!({"tolerations": [toleration]}));
    only(taint.clone()).check(tolerating(json!({"operator": "Exists"})), expect!["b"]);
    only(taint.clone())
        .check(tolerating(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})), expect!["b"]);
    let refused = expect!["0/1 nodes are available: 1 node(s) had untolerated taint(s)."];
    only(taint).check(tolerating(json!({"key": "k", "value": "w"})), refused);
    let cordoned = || Cluster::of([node("c", json!({"spec": {"unschedulable": true}}))]);
    let daemons = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    cordoned().check(tolerating(daemons), expect!["c"]);
    cordoned().check(json!({}), expect!["0/1 nodes are available: 1 node(s) were unschedulable."]);
}

fn required(terms: Value) -> Value {
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    spec(json!({"affinity": {"nodeAffinity": required}}))
}

#[test]
fn labels_and_affinity_choose() {
    let two = || Cluster::of([plain("a1"), plain("b1")]);
    two().check(spec(json!({"nodeSelector": {"topology.kubernetes.io/zone": "b"}})), expect!["b1"]);
    let zone = |operator: &str, values: Value| json!([{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": operator, "values": values}]}]);
    two().check(required(zone("In", json!(["b"]))), expect!["b1"]);
    two().check(required(zone("NotIn", json!(["a"]))), expect!["b1"]);
    two().check(
        required(zone("In", json!(["nowhere"]))),
        expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
    );
}

#[test]
fn a_named_node_is_the_only_one_looked_at() {
    let named = |names: Value| {
        required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]}]))
    };
    let mut two = Cluster::of([plain("a1"), node("b1", json!({"status": {"allocatable": {"cpu": "0"}}}))]);
    two.check(named(json!(["a1"])), expect!["a1"]);
    let mut big = named(json!(["b1"]));
    super::merge(&mut big["spec"], cpu("1"));
    two.check(
        big,
        expect!["0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."],
    );
    two.check(
        named(json!(["gone"])),
        expect!["0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."],
    );
    let both = json!([{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["a1"]},
        {"key": "metadata.name", "operator": "In", "values": ["b1"]},
    ]}]);
    two.check(required(both), expect!["0/2 nodes are available: pod affinity terms conflict."]);
}
