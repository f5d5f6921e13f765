//! PodTopologySpread: hard constraints with all their policies, soft ones, and upstream's default.

use std::sync::Arc;

use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, labelled, merge, node, plain, pod, siblings};
use crate::need::Need;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn constraint(key: &str, skew: i32, extra: Value) -> Value {
    let mut constraint = json!({
        "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    });
    merge(&mut constraint, extra);
    constraint
}

fn spread(constraints: Value) -> Value {
    labelled(json!({"app": "web"}), json!({ "topologySpreadConstraints": constraints }))
}

fn web() -> Value {
    labelled(json!({"app": "web"}), json!({}))
}

#[test]
fn domains_fill_evenly() {
    let mut cluster = Cluster::of(["a1", "a2", "b1", "c1"].map(plain));
    assert_eq!(cluster.spread(spread(json!([constraint(ZONE, 1, json!({}))])), 6), [1, 1, 2, 2]);
    let mut cluster = Cluster::of(["a1", "a2", "b1"].map(plain));
    let both = json!([constraint(ZONE, 1, json!({})), constraint(HOST, 1, json!({}))]);
    assert_eq!(cluster.spread(spread(both), 3), [1, 1, 1]);
}

#[test]
fn the_skew_is_told() {
    let full = node("b1", json!({"status": {"allocatable": {"pods": "0"}}}));
    let unlabelled = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
    let mut cluster = Cluster::of([plain("a1"), full, unlabelled]).holds("a1", web());
    cluster.check(
        spread(json!([constraint(ZONE, 1, json!({}))])),
        expect!["0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 Too many pods."],
    );
    let unlabelled: serde_json::Value = json!({"metadata": {"name": "x"}, "status": {"allocatable": {"pods": "5"}}});
    cluster.snapshot.put_node(&serde_json::from_value(unlabelled).unwrap());
    cluster.check(
        spread(json!([constraint(ZONE, 1, json!({}))])),
        expect![
            "0/3 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label)."
        ],
    );
}

#[test]
fn terminating_pods_and_other_namespaces_do_not_count() {
    let mut ending = web();
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut foreign = web();
    foreign["metadata"]["namespace"] = "other".into();
    let mut cluster = Cluster::of(["a1", "b1"].map(plain)).holds("a1", ending).holds("a1", foreign).holds("b1", web());
    cluster.check(spread(json!([constraint(ZONE, 1, json!({}))])), expect!["a1"]);
}

#[test]
fn too_few_domains_count_as_empty_ones() {
    let three = |pods: usize| {
        let mut cluster = Cluster::of(["a1", "b1"].map(plain));
        cluster.spread(spread(json!([constraint(ZONE, 1, json!({"minDomains": 3}))])), pods)
    };
    assert_eq!(three(9), [1, 1], "the third zone would have none");
}

#[test]
fn nodes_that_the_pod_is_kept_from_count_only_when_told_so() {
    let tainted = || node("b1", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    let cluster = || Cluster::of([plain("a1"), tainted()]).holds("a1", web());
    let refused = || {
        expect![
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint(s)."
        ]
    };
    let policy = |policy: Value| spread(json!([constraint(ZONE, 1, policy)]));
    cluster().check(policy(json!({})), refused());
    cluster().check(policy(json!({"nodeTaintsPolicy": "Ignore"})), refused());
    cluster().check(policy(json!({"nodeTaintsPolicy": "Honor"})), expect!["a1"]);
    let selecting = |extra: Value| {
        let mut whole = policy(extra);
        whole["spec"]["nodeSelector"] = json!({ ZONE: "a" });
        whole
    };
    let plain_two = || Cluster::of([plain("a1"), plain("b1")]).holds("a1", web());
    plain_two().check(selecting(json!({})), expect!["a1"]);
    plain_two().check(
        selecting(json!({"nodeAffinityPolicy": "Ignore"})),
        expect![
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod topology spread constraints."
        ],
    );
}

#[test]
fn label_keys_tell_revisions_apart() {
    let revision = |hash: &str, keys: Value| {
        let mut whole = spread(json!([constraint(ZONE, 1, json!({ "matchLabelKeys": keys }))]));
        whole["metadata"]["labels"]["hash"] = hash.into();
        whole
    };
    let mut cluster = Cluster::of(["a1", "b1"].map(plain));
    for _ in 0..3 {
        cluster.place("b1", revision("old", json!([])));
    }
    cluster.place("a1", revision("new", json!([])));
    cluster.check(revision("new", json!(["hash"])), expect!["b1"]);
    cluster.check(revision("new", json!([])), expect!["a1"]);
}

#[test]
fn a_selector_that_means_nobody_limits_nobody() {
    let mut cluster = Cluster::of(["a1", "b1"].map(plain)).holds("a1", web());
    let nobody = json!([{"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]);
    cluster.check(spread(nobody), expect!["b1"]);
}

#[test]
fn soft_constraints_prefer_but_never_refuse() {
    let soft = || spread(json!([constraint(ZONE, 1, json!({"whenUnsatisfiable": "ScheduleAnyway"}))]));
    let mut cluster = Cluster::of(["a1", "a2", "b1"].map(plain));
    assert_eq!(cluster.spread(soft(), 6), [2, 1, 3]);
    let mut cluster = Cluster::of([plain("a1")]).holds("a1", web()).holds("a1", web());
    cluster.check(soft(), expect!["a1"]);
}

#[test]
fn siblings_spread_by_default_over_nodes_and_zones() {
    let need = Arc::new(Need::with_siblings(&pod(web()), siblings(json!({"app": "web"}))));
    let mut cluster = Cluster::of(["a1", "a2", "b1", "b2"].map(plain));
    let mut counts = cluster.spread_need(&need, 4);
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 1]);
    // Nodes without a zone are spread over all the same.
    let no_zone = |name: &str| {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {HOST: name}},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}}))
        .unwrap()
    };
    let mut cluster = Cluster::of([no_zone("x"), no_zone("y")]);
    assert_eq!(cluster.spread_need(&need, 4), [2, 2]);
}
