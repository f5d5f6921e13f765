//! Room: what pods request, what nodes have left, host ports.

use std::sync::Arc;

use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, cpu, node, plain, pod, requesting, spec};
use crate::need::{Amounts, Need};

fn cpu_of(spec: Value) -> i64 {
    Need::of(&pod(json!({ "spec": spec }))).requests.cpu
}

fn init(amount: &str, always: bool) -> Value {
    let mut container = json!({"name": "i", "resources": {"requests": {"cpu": amount}}});
    if always {
        container["restartPolicy"] = "Always".into();
    }
    container
}

#[test]
fn requests_are_those_of_all_containers_over_time() {
    let own = || json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
    for (spec, expected) in [
        (json!({"containers": [own(), {"name": "d", "resources": {"requests": {"cpu": "100m"}}}]}), 1_100),
        (json!({"initContainers": [init("1500m", false)], "containers": [own()]}), 1_500),
        (json!({"initContainers": [init("500m", false)], "containers": [own()]}), 1_000),
        (json!({"initContainers": [init("1", true)], "containers": [own()]}), 2_000),
        // A sidecar runs on while later init containers do theirs.
        (json!({"initContainers": [init("1", true), init("3", false)], "containers": [own()]}), 4_000),
        (json!({"initContainers": [init("3", false), init("1", true)], "containers": [own()]}), 3_000),
        (json!({"containers": [own()], "overhead": {"cpu": "250m"}}), 1_250),
        (json!({"containers": [own()], "resources": {"requests": {"cpu": "5"}}, "overhead": {"cpu": "1"}}), 6_000),
    ] {
        assert_eq!(cpu_of(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn what_the_whole_pod_says_leaves_other_resources_to_its_containers() {
    let spec = json!({
        "resources": {"requests": {"cpu": "2", "hugepages-2Mi": "4Mi"}},
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"}}}],
    });
    let other = [("example.com/gpu".to_owned(), 1), ("hugepages-2Mi".to_owned(), 4 << 20)].into();
    let expected = Amounts { cpu: 2_000, memory: 1 << 30, storage: 0, pods: 1, other };
    assert_eq!(Need::of(&pod(json!({ "spec": spec }))).requests, expected);
}

#[test]
fn a_resize_under_way_takes_the_larger_amount() {
    let status = |reason: &str, given: &str| {
        json!({
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
            "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "allocatedResources": {"cpu": given}}],
        })
    };
    let asked = |asked: &str, status: Value| Need::of(&pod(json!({"spec": cpu(asked), "status": status}))).requests.cpu;
    assert_eq!(asked("1", status("Deferred", "2")), 2_000);
    assert_eq!(asked("3", status("Deferred", "2")), 3_000);
    assert_eq!(asked("3", status("Infeasible", "2")), 2_000, "what cannot be is not counted");
}

#[test]
fn each_scarce_resource_is_told() {
    let small = node(
        "a",
        json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "1", "example.com/gpu": "1"}}}),
    );
    let mut cluster = Cluster::of([small]).holds("a", json!({}));
    let much = json!({"cpu": "2", "memory": "2Gi", "ephemeral-storage": "1Gi", "example.com/gpu": "2"});
    cluster.check(
        spec(requesting(much)),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 Insufficient example.com/gpu, 1 Insufficient memory, 1 Too many pods."
        ],
    );
}

#[test]
fn only_what_could_be_freed_might_help() {
    let mut cluster = Cluster::of([plain("a"), node("b", json!({"status": {"allocatable": {"cpu": "1"}}}))])
        .holds("a", spec(cpu("1")));
    let why = cluster.classes.schedule("u", &Need::of(&pod(spec(cpu("1500m")))), &mut cluster.snapshot).unwrap_err();
    assert_eq!(why.resolvable, [0], "b is too small for it whoever leaves");
}

#[test]
fn pods_take_room_ports_and_give_them_back() {
    let mut cluster = Cluster::of([plain("a")]);
    let port = |ip: &str, protocol: &str| {
        let port = json!({"containerPort": 80, "hostPort": 80, "hostIP": ip, "protocol": protocol});
        spec(json!({"containers": [{"name": "c", "ports": [port]}]}))
    };
    let refused = || expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."];
    let uid = cluster.place("a", port("127.0.0.1", "TCP"));
    cluster.check(port("127.0.0.1", "TCP"), refused());
    cluster.check(port("0.0.0.0", "TCP"), refused());
    cluster.check(port("127.0.0.2", "TCP"), expect!["a"]);
    cluster.check(port("127.0.0.1", "UDP"), expect!["a"]);
    assert!(cluster.snapshot.remove_pod(&uid).is_some());
    cluster.check(port("127.0.0.1", "TCP"), expect!["a"]);
    assert!(cluster.snapshot.remove_pod(&uid).is_none());
}

#[test]
fn a_pod_that_moves_or_says_more_is_counted_once() {
    let mut cluster = Cluster::of([plain("a"), plain("b")]);
    let placed = |amount: &str| json!({"metadata": {"uid": "u"}, "spec": cpu(amount)});
    for (node, amount, on_a, on_b) in [("a", "1", 1_000, 0), ("a", "2", 2_000, 0), ("b", "2", 0, 2_000)] {
        cluster.place(node, placed(amount));
        cluster.place(node, placed(amount));
        assert_eq!([0, 1].map(|slot| cluster.snapshot.at(slot).requested.cpu), [on_a, on_b]);
        assert_eq!(cluster.snapshot.pods().count(), 1);
    }
}

#[test]
fn room_is_kept_for_who_waits_for_it_except_from_the_more_important() {
    let mut cluster = Cluster::of([plain("a")]);
    let need = |priority: i32, amount: &str| {
        let mut whole = json!({"spec": {"priority": priority}});
        super::merge(&mut whole["spec"], cpu(amount));
        Need::of(&pod(whole))
    };
    let nominee = crate::snapshot::Nominee {
        uid: "waiting".into(),
        name: "waiting".into(),
        slot: 0,
        need: Arc::new(need(10, "1500m")),
    };
    cluster.snapshot.nominate(nominee);
    expect!["0/1 nodes are available: 1 Insufficient cpu."].assert_eq(&cluster.decide(&need(10, "1")));
    expect!["a"].assert_eq(&cluster.decide(&need(10, "500m")));
    expect!["a"].assert_eq(&cluster.decide(&need(11, "1")));
    let own = cluster.classes.schedule("waiting", &need(10, "1500m"), &mut cluster.snapshot);
    assert_eq!(own, Ok(0));
    cluster.snapshot.forget_nominee("waiting");
    expect!["a"].assert_eq(&cluster.decide(&need(10, "1")));
}
