//! Scores one by one, and together where they compete.

use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, cpu, merge, node, plain, pod, requesting, spec};
use crate::need::Need;
use crate::scores::{balanced, images, least_allocated};

/// The score of a pod on a node that holds others.
fn score(of: crate::scores::Score, taken: &[Value], wanted: Value) -> i64 {
    let mut cluster = Cluster::of([node("a", json!({"status": {"allocatable": {"cpu": "4", "memory": "10000"}}}))]);
    for requests in taken {
        cluster.place("a", spec(requesting(requests.clone())));
    }
    of(&Need::of(&pod(spec(requesting(wanted)))), cluster.snapshot.at(0))
}

#[test]
fn the_emptier_the_better() {
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let score = |taken: &[Value], wanted: Value| score(least_allocated::score, taken, wanted);
    assert_eq!(score(&[], amounts("0", "0")), 100);
    assert_eq!(score(&[], amounts("3", "5000")), 37, "(25 + 50) / 2");
    assert_eq!(score(&[amounts("3", "5000")], amounts("3", "5000")), 0, "what is overcommitted scores nothing");
    assert_eq!(score(&[amounts("1", "2500")], amounts("1", "2500")), 50);
    // A container that asks for nothing counts as 100m and 200Mi.
    assert_eq!(score(&[], json!({})), 48, "(97 + 0) / 2");
}

#[test]
fn resources_should_fill_alike() {
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let score = |taken: &[Value], wanted: Value| score(balanced::score, taken, wanted);
    assert_eq!(score(&[], json!({})), 0, "what asks for nothing unbalances nothing");
    assert_eq!(score(&[], amounts("2", "5000")), 75, "as even with it as without");
    assert_eq!(score(&[], amounts("4", "0")), 50, "from even to half apart");
    assert_eq!(score(&[amounts("4", "0")], amounts("0", "10000")), 100, "from half apart to even");
}

#[test]
fn images_that_are_there_count_by_size_and_spread() {
    let mib = 1_i64 << 20;
    let with =
        |name: &str, size: i64| node(name, json!({"status": {"images": [{"names": ["app:v1"], "sizeBytes": size}]}}));
    let cluster = Cluster::of([with("a", 500 * mib), plain("b")]);
    let wanting = |image: &str| Need::of(&pod(spec(json!({"containers": [{"name": "c", "image": image}]}))));
    let score = |need: &Need, slot: u32| {
        let mask = images::mask(need, cluster.snapshot.at(slot));
        images::score(need, mask, &cluster.snapshot.images, cluster.snapshot.len())
    };
    let need = wanting("app:v1");
    assert_eq!(score(&need, 0), 100 * (250 - 23) / (1000 - 23), "half of the nodes have it");
    assert_eq!(score(&need, 1), 0);
    assert_eq!(score(&wanting("app"), 0), 0, "another tag");
    assert_eq!(wanting("host:5000/app").images, ["host:5000/app:latest"]);
}

#[test]
fn soft_taints_and_preferred_labels_decide_among_nodes_that_fit() {
    let soft = node("a", json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}));
    let mut cluster = Cluster::of([soft, plain("b")]);
    cluster.check(json!({}), expect!["b"]);
    cluster.check(spec(json!({"tolerations": [{"operator": "Exists"}]})), expect!["a"]);
    let preferring = |zone: &str, weight: i32| {
        let expression = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]});
        let term = json!({"weight": weight, "preference": {"matchExpressions": [expression]}});
        spec(json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}}))
    };
    cluster.check(preferring("b", 1), expect!["b"]);
    let mut drawn = preferring("a", 1);
    merge(&mut drawn["spec"], json!({"tolerations": [{"operator": "Exists"}]}));
    cluster.check(drawn, expect!["a"]);
    // 3 × 100 for no soft taint is more than 2 × 100 for the label.
    cluster.check(preferring("a", 100), expect!["b"]);
}

#[test]
fn load_spreads_over_equal_nodes() {
    let mut cluster = Cluster::of(["a", "b", "c"].map(plain));
    assert_eq!(cluster.spread(spec(cpu("100m")), 9), [3, 3, 3]);
}

#[test]
fn bins_are_packed_by_what_is_left() {
    let large = node("a", json!({"status": {"allocatable": {"cpu": "8", "memory": "16Gi"}}}));
    let mut cluster = Cluster::of([large, plain("b")]);
    let counts = cluster.spread(spec(requesting(json!({"cpu": "1", "memory": "2Gi"}))), 10);
    let expected = BTreeMap::from([("a", 8), ("b", 2)]);
    assert_eq!(counts, [expected["a"], expected["b"]], "all that fits is placed");
}
