//! Tables of what is written for which pods and slices.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Words are `name[+][~][!][=port]`: ready, terminating, ended, number of its port named `web`. Pods have
/// the address `10.0.0.1` and so on in order.
fn pod(index: usize, word: &str) -> Arc<Pod> {
    let name = word.split(['+', '~', '!', '=']).next().expect("a first part");
    let port = word.split_once('=').map(|(_, port)| port.parse::<i32>().expect("a number"));
    let value = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "deletionTimestamp": word.contains('~').then_some("2026-01-01T00:00:00Z")},
        "spec": {"nodeName": "node", "hostname": name, "subdomain": "s", "containers": [
            {"name": "c", "ports": port.map(|port| json!([{"name": "web", "containerPort": port}]))}]},
        "status": {
            "phase": if word.contains('!') { "Succeeded" } else { "Running" },
            "podIP": format!("10.0.{}.{}", index / 250, index % 250 + 1),
            "conditions": [{"type": "Ready", "status": if word.contains('+') { "True" } else { "False" }}]},
    });
    Arc::new(serde_json::from_value(value).expect("a pod"))
}

fn service(spec: Value) -> Service {
    let value = json!({"metadata": {"name": "s", "namespace": "n", "uid": "u", "labels": {"app": "a"}}, "spec": spec});
    serde_json::from_value(value).expect("a service")
}

fn web() -> Service {
    service(
        json!({"selector": {"app": "a"}, "clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}),
    )
}

fn writes(service: &Service, pods: &str, existing: Vec<EndpointSlice>) -> Vec<Write> {
    let pods: Vec<_> = pods.split_whitespace().enumerate().map(|(index, word)| pod(index, word)).collect();
    let families = match backends::selector(service) {
        Some(_) => {
            backends::families(service).iter().map(|kind| family(service, kind, &pods, |_| Some("z".into()))).collect()
        }
        None => Vec::new(),
    };
    let mut template = template(service, "endpointslice-controller.k8s.io");
    if backends::is_headless(service) {
        template.labels_mut().insert(backends::HEADLESS.into(), String::new());
    }
    plan(&template, families, existing)
}

/// What the API holds after these writes; new slices are named in order.
fn applied(mut slices: Vec<EndpointSlice>, writes: Vec<Write>) -> Vec<EndpointSlice> {
    for write in writes {
        let index = |slice: &EndpointSlice| slices.iter().position(|other| other.metadata.name == slice.metadata.name);
        match write {
            Write::Create(mut slice) => {
                slice.metadata.name = Some(format!("s-{}", slices.len()));
                slices.push(slice);
            }
            Write::Update(slice) => {
                let index = index(&slice).expect("an update of what is there");
                slices[index] = slice;
            }
            Write::Delete(slice) => drop(slices.remove(index(&slice).expect("a delete of what is there"))),
        }
    }
    slices
}

fn show(slice: &EndpointSlice) -> String {
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or("-"), port.port.unwrap_or(0)))
        .collect();
    let endpoint = |endpoint: &Endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let mark = |condition: Option<bool>, mark: &'static str| if condition == Some(true) { mark } else { "" };
        let name = endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
        format!(
            "{name}{}{}{}",
            mark(conditions.ready, "+ready"),
            mark(conditions.serving, "+serving"),
            mark(conditions.terminating, "+terminating")
        )
    };
    let endpoints = slice.endpoints.iter().flatten();
    let shown = match count(slice) {
        0..=5 => endpoints.map(endpoint).collect::<Vec<_>>().join(" "),
        many => format!("{many} endpoints"),
    };
    format!("{} [{}] {shown}", slice.metadata.name.as_deref().unwrap_or("new"), ports.join(","))
}

fn show_writes(writes: &[Write]) -> String {
    let line = |write: &Write| match write {
        Write::Create(slice) => format!("create {}\n", show(slice)),
        Write::Update(slice) => format!("update {}\n", show(slice)),
        Write::Delete(slice) => format!("delete {}\n", slice.name_any()),
    };
    writes.iter().map(line).collect()
}

/// The writes from `before`, a Service with its pods, to `after`.
fn check(before: (&Service, &str), after: (&Service, &str), expected: Expect) {
    let existing = applied(Vec::new(), writes(before.0, before.1, Vec::new()));
    let planned = writes(after.0, after.1, existing.clone());
    expected.assert_eq(&show_writes(&planned));
    let settled = applied(existing, planned);
    assert_eq!(show_writes(&writes(after.0, after.1, settled)), "", "a second pass writes nothing");
}

fn check_new(service: &Service, pods: &str, expected: Expect) {
    expected.assert_eq(&show_writes(&writes(service, pods, Vec::new())));
}

fn many(range: std::ops::Range<usize>) -> String {
    range.map(|index| format!("p{index:04}+=80 ")).collect()
}

#[test]
fn endpoints_tell_how_their_pods_are() {
    check_new(
        &web(),
        "a+=80 b=80 c+~=80 d!=80",
        expect![[r#"
        create new [http:80] a+ready+serving b c+serving+terminating
    "#]],
    );
    let all = service(json!({"selector": {"app": "a"}, "publishNotReadyAddresses": true, "ports": [{"port": 80}]}));
    check_new(
        &all,
        "a+ b c+~",
        expect![[r#"
        create new [:80] a+ready+serving b+ready c+ready+serving+terminating
    "#]],
    );
}

#[test]
fn pods_are_grouped_by_the_ports_they_have() {
    check_new(
        &web(),
        "a+=80 b+=8080 c+=80 d+",
        expect![[r#"
        create new [] d+ready+serving
        create new [http:80] a+ready+serving c+ready+serving
        create new [http:8080] b+ready+serving
    "#]],
    );
    check_new(
        &service(json!({"selector": {"app": "a"}, "clusterIP": "None"})),
        "a+ b",
        expect![[r#"
        create new [] a+ready+serving b
    "#]],
    );
}

#[test]
fn only_what_changed_is_written() {
    let web = web();
    check((&web, "a+=80 b=80"), (&web, "a+=80 b=80"), expect![[r#""#]]);
    check(
        (&web, "a+=80 b=80"),
        (&web, "a+=80 b+=80"),
        expect![[r#"
        update s-0 [http:80] a+ready+serving b+ready+serving
    "#]],
    );
    check(
        (&web, ""),
        (&web, "a+=80"),
        expect![[r#"
        update s-0 [http:80] a+ready+serving
    "#]],
    );
    check(
        (&web, "a+=80"),
        (&web, ""),
        expect![[r#"
        update s-0 [] 
    "#]],
    );
    check(
        (&web, "a+=80"),
        (&web, "a+=81"),
        expect![[r#"
        update s-0 [http:81] a+ready+serving
    "#]],
    );
}

#[test]
fn slices_are_filled_to_a_hundred() {
    let web = web();
    check(
        (&web, ""),
        (&web, &many(0..250)),
        expect![[r#"
        update s-0 [http:80] 100 endpoints
        create new [http:80] 100 endpoints
        create new [http:80] 50 endpoints
    "#]],
    );
    check(
        (&web, &many(0..250)),
        (&web, &many(0..260)),
        expect![[r#"
        update s-2 [http:80] 60 endpoints
    "#]],
    );
    // The slice that loses one takes the new ones too.
    check(
        (&web, &many(0..150)),
        (&web, &format!("{} x+=80", many(0..149))),
        expect![[r#"
        update s-1 [http:80] 50 endpoints
    "#]],
    );
    check(
        (&web, &many(0..250)),
        (&web, &many(0..90)),
        expect![[r#"
        update s-0 [http:80] 90 endpoints
        delete s-1
        delete s-2
    "#]],
    );
}

#[test]
fn slices_go_with_the_selector_and_with_the_service() {
    let without = service(json!({"ports": [{"port": 80}]}));
    check(
        (&web(), "a+=80"),
        (&without, ""),
        expect![[r#"
        delete s-0
    "#]],
    );
    let external = service(json!({"selector": {"app": "a"}, "type": "ExternalName"}));
    check(
        (&web(), "a+=80"),
        (&external, "a+=80"),
        expect![[r#"
        delete s-0
    "#]],
    );
    let mut again = web();
    again.metadata.uid = Some("other".into());
    check(
        (&web(), "a+=80"),
        (&again, "a+=80"),
        expect![[r#"
        delete s-0
        create new [http:80] a+ready+serving
    "#]],
    );
}

#[test]
fn a_slice_names_its_service_and_its_endpoints_their_pods() {
    let headless =
        service(json!({"selector": {"app": "a"}, "clusterIP": "None", "ports": [{"port": 80, "appProtocol": "h2c"}]}));
    let planned = writes(&headless, "a+", Vec::new());
    let [Write::Create(slice)] = planned.as_slice() else { panic!("{planned:?}") };
    expect![[r#"
        {
          "addressType": "IPv4",
          "apiVersion": "discovery.k8s.io/v1",
          "endpoints": [
            {
              "addresses": [
                "10.0.0.1"
              ],
              "conditions": {
                "ready": true,
                "serving": true,
                "terminating": false
              },
              "hostname": "a",
              "nodeName": "node",
              "targetRef": {
                "kind": "Pod",
                "name": "a",
                "namespace": "n",
                "uid": "a"
              },
              "zone": "z"
            }
          ],
          "kind": "EndpointSlice",
          "metadata": {
            "generateName": "s-",
            "labels": {
              "app": "a",
              "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
              "kubernetes.io/service-name": "s",
              "service.kubernetes.io/headless": ""
            },
            "namespace": "n",
            "ownerReferences": [
              {
                "apiVersion": "v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Service",
                "name": "s",
                "uid": "u"
              }
            ]
          },
          "ports": [
            {
              "appProtocol": "h2c",
              "name": "",
              "port": 80,
              "protocol": "TCP"
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&serde_json::to_value(slice).expect("JSON")).expect("JSON"));
}
