//! The newcomer's way: push, apply, roll out, request, scale, heal, update, undo, delete.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::cluster::{Cluster, checked, root};

/// The sample's manifests with the images of this cluster's registry.
fn manifests(cluster: &Cluster) -> String {
    let registry = cluster.told("Registry");
    let mut all = String::new();
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("examples/hello")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "yaml")) {
        all.push_str(&std::fs::read_to_string(file).unwrap());
        all.push_str("\n---\n");
    }
    all.replace("localhost:5000", registry)
}

fn get(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let response = reqwest::get(url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = response.status();
        let body = response.text().await.unwrap();
        assert!(status.is_success(), "{url}: {status} {body}");
        body
    })
}

#[test]
fn a_deployment_of_components_lives_the_life_of_any_deployment() {
    let cluster = Cluster::start();
    let first = cluster.push_hello("hello:v1");
    let second = cluster.push_hello("hello:v2");
    cluster.apply(&manifests(&cluster));
    assert!(cluster.kubectl("rollout status deploy/hello --timeout=60s").contains("successfully rolled out"));

    let wide = cluster.kubectl("get pods -l app=hello -o wide");
    assert_eq!(wide.lines().filter(|line| line.contains("1/1") && line.contains("Running")).count(), 3, "{wide}");

    let address = cluster.kubectl("get service hello -o jsonpath={.spec.clusterIP}");
    assert!(get(&format!("http://{address}:8080/")).contains("Hello"));
    let port = cluster.kubectl("get service hello -o jsonpath={.spec.ports[0].nodePort}");
    assert!(get(&format!("http://127.0.0.1:{port}/")).contains("Hello"));

    cluster.kubectl("wait pod/hello-once --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    assert!(!cluster.kubectl("logs hello-once").is_empty());

    cluster.kubectl("scale deploy/hello --replicas=5");
    cluster.kubectl("wait deploy/hello --for=jsonpath={.status.readyReplicas}=5 --timeout=60s");
    cluster.kubectl("delete pod -l app=hello --wait=false");
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
    cluster.kubectl("wait deploy/hello --for=jsonpath={.status.readyReplicas}=5 --timeout=60s");

    cluster.kubectl(&format!("set image deploy/hello hello={second}"));
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
    let images = cluster.kubectl("get deploy hello -o jsonpath={.spec.template.spec.containers[0].image}");
    assert_eq!(images, second);
    cluster.kubectl("rollout undo deploy/hello");
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
    let images = cluster.kubectl("get deploy hello -o jsonpath={.spec.template.spec.containers[0].image}");
    assert_eq!(images, first);
    assert!(cluster.kubectl("rollout history deploy/hello").contains("REVISION"));

    checked("kubectl delete", cluster.kubectl_in("delete -f - --timeout=60s", &manifests(&cluster)));
    cluster.kubectl("wait --for=delete pod -l app=hello --timeout=60s");
    assert_eq!(cluster.kubectl("get rs -o name"), "");
}

#[test]
fn logs_are_followed_while_requests_come() {
    let cluster = Cluster::start();
    cluster.push_hello("hello:v1");
    cluster.apply(&manifests(&cluster));
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
    cluster.kubectl("scale deploy/hello --replicas=1");
    cluster.kubectl("wait deploy/hello --for=jsonpath={.status.replicas}=1 --timeout=60s");
    let mut follow = cluster.kubectl_command(&["logs", "-f", "deploy/hello"]).stdout(Stdio::piped()).spawn().unwrap();
    let address = cluster.kubectl("get service hello -o jsonpath={.spec.clusterIP}");
    get(&format!("http://{address}:8080/"));
    let mut line = String::new();
    BufReader::new(follow.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.trim().is_empty(), "a request must leave a line in the log");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn the_programs_own_commands_cover_the_sample() {
    let cluster = Cluster::start();
    cluster.push_hello("hello:v1");
    let file = cluster.directory.path().join("hello.yaml");
    std::fs::write(&file, manifests(&cluster)).unwrap();
    let file = file.to_str().unwrap();
    checked("apply", cluster.amphipod(&["apply", "-f", file]));
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
    let table = checked("get", cluster.amphipod(&["get", "deployments"]));
    assert!(table.contains("3/3"), "{table}");
    let json = checked("get", cluster.amphipod(&["get", "deployment", "hello", "-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kind"], "Deployment");
    cluster.kubectl("wait pod/hello-once --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    assert!(!checked("logs", cluster.amphipod(&["logs", "hello-once"])).is_empty());
    checked("delete", cluster.amphipod(&["delete", "-f", file]));
    let again = checked("apply", cluster.amphipod(&["apply", "-f", file]));
    assert!(again.contains("created"), "{again}");
}
