//! An aggregated API through kubectl: it comes with its APIService, is relayed with everything that is asked of it, falls
//! ill, and goes.

mod flunders;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;

use crate::cluster::{Cluster, checked};
use flunders::{Flunders, GROUP};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: wardle, namespace: sample}
spec: {ports: [{name: api, port: 443, targetPort: 8443}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1alpha1.wardle.example.com}
spec:
  group: wardle.example.com
  version: v1alpha1
  groupPriorityMinimum: 2000
  versionPriority: 200
  caBundle: AUTHORITY
  service: {namespace: sample, name: wardle}
";

const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: wardle-1, namespace: sample, labels: {kubernetes.io/service-name: wardle}}
addressType: IPv4
endpoints: [{addresses: [IP], conditions: {ready: true}}]
ports: [{name: api, port: PORT}]
";

const FLUNDER: &str = "
apiVersion: wardle.example.com/v1alpha1
kind: Flunder
metadata: {name: NAME, namespace: default}
";

/// A cluster, and beside it the server behind the APIService, which is not there yet for the cluster.
fn stage() -> (Cluster, Flunders) {
    let cluster = Cluster::start();
    let told = |path: &str| {
        cluster.kubectl(&format!(
            "-n kube-system get configmap extension-apiserver-authentication -o jsonpath={{.data.{path}}}"
        ))
    };
    assert_eq!(told("requestheader-username-headers"), r#"["X-Remote-User"]"#);
    assert_eq!(told("requestheader-allowed-names"), r#"["system:front-proxy-client"]"#);
    // A pod could have this address.
    let node = cluster.kubectl("get nodes -o jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}");
    let (network, _) = node.rsplit_once('.').unwrap().0.rsplit_once('.').unwrap();
    let flunders =
        Flunders::start(&format!("{network}.77.7"), "wardle.sample.svc", &told("requestheader-client-ca-file"));
    cluster.kubectl("create namespace sample");
    (cluster, flunders)
}

fn register(cluster: &Cluster, flunders: &Flunders) {
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.encode(&flunders.authority);
    cluster.apply(&SERVICE.replace("AUTHORITY", &authority));
}

fn join(cluster: &Cluster, flunders: &Flunders) {
    let (ip, port) = (flunders.address.ip().to_string(), flunders.address.port().to_string());
    cluster.apply(&SLICE.replace("IP]", &format!("{ip}]")).replace("PORT", &port));
    cluster.kubectl("wait apiservice/v1alpha1.wardle.example.com --for=condition=Available --timeout=30s");
}

/// Waits for the condition's reason and gives its message.
fn reason(cluster: &Cluster, reason: &str) -> String {
    cluster.kubectl(&format!(
        "wait apiservice/v1alpha1.wardle.example.com --for=jsonpath={{.status.conditions[0].reason}}={reason} --timeout=30s"
    ));
    cluster.kubectl("get apiservice v1alpha1.wardle.example.com -o jsonpath={.status.conditions[0].message}")
}

fn refused(cluster: &Cluster, words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = cluster.try_kubectl(&words);
    assert!(!output.status.success(), "{words:?} must fail: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_aggregated_api_comes_works_falls_ill_and_goes() {
    let (cluster, flunders) = stage();
    let local = cluster.kubectl("get apiservices v1.apps --show-labels --no-headers");
    assert!(local.contains("Local") && local.contains("True") && local.contains("automanaged=onstart"), "{local}");

    register(&cluster, &flunders);
    assert_eq!(reason(&cluster, "EndpointsNotFound"), r#"cannot find endpointslices for service/wardle in "sample""#);
    let shown = cluster.kubectl("get apiservice v1alpha1.wardle.example.com --no-headers");
    assert!(shown.contains("sample/wardle") && shown.contains("False (EndpointsNotFound)"), "{shown}");
    let said = refused(&cluster, "get --raw /apis/wardle.example.com/v1alpha1");
    assert!(said.contains("the server is currently unable to handle the request"), "{said}");
    join(&cluster, &flunders);
    assert_eq!(reason(&cluster, "Passed"), "all checks passed");

    let resources = cluster.kubectl("api-resources --api-group=wardle.example.com --no-headers");
    let words: Vec<&str> = resources.split_whitespace().collect();
    assert_eq!(words, ["flunders", "fl", "wardle.example.com/v1alpha1", "true", "Flunder"]);
    let groups: Value = serde_json::from_str(&cluster.kubectl("get --raw /apis")).unwrap();
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    let place = |name: &str| names.iter().position(|one| *one == name).unwrap();
    assert!(place("apps") < place(GROUP), "{names:?}");
    assert!(cluster.kubectl("explain flunders.madeBy").contains("Who made it."));

    checked("create", cluster.kubectl_in("create -f -", &FLUNDER.replace("NAME", "first")));
    assert_eq!(cluster.kubectl("get fl first -o jsonpath={.madeBy}"), "amphipod-admin");
    let other = "create --as=alice --as-group=system:masters -f -";
    checked("create", cluster.kubectl_in(other, &FLUNDER.replace("NAME", "second")));
    assert_eq!(cluster.kubectl("get fl second -o jsonpath={.madeBy}"), "alice");
    assert_eq!(*flunders.shared.caller.lock().unwrap(), "amphipod-admin system:masters,system:authenticated");
    let said = refused(&cluster, "get flunders --as=mallory");
    assert!(said.contains(r#"flunders.wardle.example.com is forbidden: User "mallory" cannot list resource "flunders" in API group "wardle.example.com" in the namespace "default""#), "{said}");
    let said = refused(&cluster, "get flunder none");
    assert!(said.contains("no such flunder"), "{said}");

    flunders.shared.is_ill.store(true, Ordering::SeqCst);
    cluster.kubectl("-n sample annotate service wardle looked=again");
    let message = reason(&cluster, "FailedDiscoveryCheck");
    assert!(
        message.starts_with("failing or missing response from https://")
            && message.contains(": bad status from https://"),
        "{message}"
    );
    let said = refused(&cluster, "get flunder first");
    assert!(said.contains("the server is currently unable to handle the request"), "{said}");
    flunders.shared.is_ill.store(false, Ordering::SeqCst);
    reason(&cluster, "Passed");
    cluster.kubectl("get flunder first");

    cluster.kubectl("delete apiservice v1alpha1.wardle.example.com");
    let said = refused(&cluster, "get --raw /apis/wardle.example.com/v1alpha1");
    assert!(said.contains("the server could not find the requested resource"), "{said}");
    assert_eq!(cluster.kubectl("api-resources --api-group=wardle.example.com --no-headers --cached=false"), "");
}

#[test]
fn streams_go_through_the_relay() {
    let (cluster, flunders) = stage();
    register(&cluster, &flunders);
    join(&cluster, &flunders);
    let mut command = cluster.kubectl_command(&[
        "get",
        "--raw",
        "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders?watch=1",
    ]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    flunders.shared.until_watched();
    checked("create", cluster.kubectl_in("create -f -", &FLUNDER.replace("NAME", "seen")));
    let first = lines.next().unwrap().unwrap();
    let event: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(event["object"]["metadata"]["name"], "seen");
    watch.kill().unwrap();
    watch.wait().unwrap();

    let mut stream = dial(&cluster);
    let ask = "GET /apis/wardle.example.com/v1alpha1/namespaces/default/flunders/x/echo HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"there and back").unwrap();
    let mut back = [0; 14];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"there and back");
}

#[test]
fn custom_kinds_have_an_api_service_as_long_as_they_are_served() {
    let cluster = Cluster::start();
    cluster.apply(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {size: {type: integer, description: How large.}}}}}
",
    );
    cluster.kubectl("wait apiservice/v1.example.com --for=condition=Available --timeout=30s");
    let shown = cluster.kubectl("get apiservice v1.example.com -o jsonpath={.metadata.labels}{.spec.groupPriorityMinimum}/{.spec.versionPriority}{.status.conditions[0].reason}");
    assert_eq!(shown, r#"{"kube-aggregator.kubernetes.io/automanaged":"true"}1000/100Local"#);
    cluster.kubectl("delete apiservice v1.example.com");
    cluster.kubectl("wait apiservice/v1.example.com --for=create --timeout=30s");
    let document: Value = serde_json::from_str(&cluster.kubectl("get --raw /openapi/v2")).unwrap();
    let widget = &document["definitions"]["com.example.v1.Widget"];
    assert_eq!(widget["properties"]["size"]["description"], "How large.");
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets"]["post"].is_object());
    // kubectl reads the same in protobuf before it sends a list.
    let list = "{apiVersion: v1, kind: List, items: [{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, size: 3}]}";
    checked("create", cluster.kubectl_in("create -f -", list));
    cluster.kubectl("delete crd widgets.example.com");
    cluster.kubectl("wait apiservice/v1.example.com --for=delete --timeout=30s");
    assert!(!cluster.kubectl("get --raw /openapi/v2").contains("com.example.v1.Widget"));
}

/// A connection to the API with the administrator's certificate.
fn dial(cluster: &Cluster) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    use base64::Engine as _;
    let config = cluster.kubectl("config view --raw -o json");
    let config: Value = serde_json::from_str(&config).unwrap();
    let pem = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
    let user = &config["users"][0]["user"];
    let mut roots = rustls::RootCertStore::empty();
    let authority = pem(&config["clusters"][0]["cluster"]["certificate-authority-data"]);
    roots.add(CertificateDer::from_pem_slice(&authority).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&pem(&user["client-certificate-data"])).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem(&user["client-key-data"])).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = builder.with_client_auth_cert(chain, key).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let address = cluster.told("API server").strip_prefix("https://").unwrap();
    rustls::StreamOwned::new(connection, std::net::TcpStream::connect(address).unwrap())
}
