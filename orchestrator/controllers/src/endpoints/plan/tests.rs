//! Tables of Endpoints made of pods.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Words are `name[+][~][=port]`: ready, terminating, number of its port named `web`.
fn pod(index: usize, word: &str) -> Arc<Pod> {
    let name = word.split(['+', '~', '=']).next().expect("a first part");
    let port = word.split_once('=').map(|(_, port)| port.parse::<i32>().expect("a number"));
    let value = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "deletionTimestamp": word.contains('~').then_some("2026-01-01T00:00:00Z")},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": port.map(|port| json!([{"name": "web", "containerPort": port}]))}]},
        "status": {
            "phase": "Running",
            "podIP": format!("10.0.{}.{}", index / 250, index % 250 + 1),
            "conditions": [{"type": "Ready", "status": if word.contains('+') { "True" } else { "False" }}]},
    });
    Arc::new(serde_json::from_value(value).expect("a pod"))
}

fn pods(words: &str) -> Vec<Arc<Pod>> {
    words.split_whitespace().enumerate().map(|(index, word)| pod(index, word)).collect()
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec})).expect("a service")
}

fn web() -> Service {
    service(json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}))
}

fn show(endpoints: &Endpoints) -> String {
    let names = |list: &Option<Vec<EndpointAddress>>| match count(list) {
        many @ 6.. => format!("{many} addresses"),
        _ => list
            .iter()
            .flatten()
            .map(|address| address.target_ref.as_ref().and_then(|to| to.name.clone()).unwrap_or_default())
            .collect::<Vec<_>>()
            .join(" "),
    };
    let line = |subset: &EndpointSubset| {
        let ports: Vec<_> = subset.ports.iter().flatten().map(|port| port.port.to_string()).collect();
        format!(
            "[{}] ready: {}; not ready: {}\n",
            ports.join(","),
            names(&subset.addresses),
            names(&subset.not_ready_addresses)
        )
    };
    let mut text: String = endpoints.subsets.iter().flatten().map(line).collect();
    for (key, value) in endpoints.annotations().iter().chain(endpoints.labels()) {
        text += &format!("{key}={value}\n");
    }
    text
}

fn check(service: &Service, words: &str, expected: Expect) {
    let made = plan(service, &pods(words), None).expect("there are none yet");
    expected.assert_eq(&show(&made));
    assert_eq!(plan(service, &pods(words), Some(&made)), None, "a second pass writes nothing");
}

#[test]
fn pods_are_listed_by_ports_and_readiness() {
    check(
        &web(),
        "a+=80 b=80 c+=81 d+~=80 e+",
        expect![[r#"
        [80] ready: a; not ready: b
        [81] ready: c; not ready: 
        endpoints.kubernetes.io/managed-by=endpoint-controller
    "#]],
    );
    check(
        &web(),
        "",
        expect![[r#"
        endpoints.kubernetes.io/managed-by=endpoint-controller
    "#]],
    );
}

#[test]
fn a_headless_service_needs_no_ports_and_may_publish_all() {
    check(
        &service(json!({"clusterIP": "None", "publishNotReadyAddresses": true})),
        "a+ b c~",
        expect![[r#"
        [] ready: a b c; not ready: 
        endpoints.kubernetes.io/managed-by=endpoint-controller
        service.kubernetes.io/headless=
    "#]],
    );
}

#[test]
fn a_thousand_addresses_are_enough() {
    let words = |range: std::ops::Range<usize>, mark: &str| {
        range.map(|index| format!("p{index}{mark}=80 ")).collect::<String>()
    };
    check(
        &web(),
        &(words(0..900, "+") + &words(900..1100, "")),
        expect![[r#"
        [80] ready: 900 addresses; not ready: 100 addresses
        endpoints.kubernetes.io/over-capacity=truncated
        endpoints.kubernetes.io/managed-by=endpoint-controller
    "#]],
    );
    check(
        &web(),
        &(words(0..1100, "+") + "x=80 y+=81"),
        expect![[r#"
        [80] ready: 1000 addresses; not ready: 
        endpoints.kubernetes.io/over-capacity=truncated
        endpoints.kubernetes.io/managed-by=endpoint-controller
    "#]],
    );
}

#[test]
fn an_update_keeps_what_others_wrote() {
    let mut current = plan(&web(), &pods("a+=80"), None).expect("there are none yet");
    current.annotations_mut().insert("mine".into(), "stays".into());
    current.metadata.resource_version = Some("7".into());
    let after = plan(&web(), &pods("a=80"), Some(&current)).expect("a pod became unready");
    assert_eq!(after.metadata, current.metadata);
    assert_eq!(show(&after).lines().next(), Some("[80] ready: ; not ready: a"));
}
