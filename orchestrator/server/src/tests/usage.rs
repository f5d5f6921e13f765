//! metrics.k8s.io over the whole road, from a node's summaries to lists and tables.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use expect_test::expect;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::*;
use crate::seams::{Relay, RelayError};
use crate::usage::scrape;

/// A node that tells each time of fifteen seconds more; its pods are those with uids.
#[derive(Default)]
struct Node {
    asked: AtomicU64,
    uids: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Relay for Node {
    async fn request(&self, node: &str, request: Request<Body>) -> Result<Response<Body>, RelayError> {
        assert_eq!((node, request.uri().path()), ("one", "/stats/summary"));
        let second = 1_000 + 15 * self.asked.fetch_add(1, Ordering::Relaxed);
        let time = |second: u64| jiff::Timestamp::from_second(second as i64).unwrap().to_string();
        let stats = |name: &str, millicores: u64, bytes: u64| {
            json!({
                "name": name, "startTime": time(1),
                "cpu": { "time": time(second), "usageCoreNanoSeconds": second * millicores * 1_000_000 },
                "memory": { "workingSetBytes": bytes },
            })
        };
        let pods: Vec<Value> = self
            .uids
            .lock()
            .iter()
            .map(|(name, uid)| {
                json!({
                    "podRef": { "name": name, "namespace": "d", "uid": uid },
                    "containers": [stats("a", 250, 64 << 20), stats("b", 3, 1_000)],
                })
            })
            .collect();
        let summary = json!({ "node": stats("", 1_500, 3 << 30), "pods": pods });
        Ok(Response::new(Body::from(summary.to_string())))
    }
}

/// Pods `p` (labelled) and `q` run on node `one`; of `w`, which waits, nothing can be known.
async fn measured() -> (Server, JoinSet<()>) {
    let node = Arc::new(Node::default());
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.clock = Arc::new(|| "2026-01-02T03:04:05.6Z".parse().unwrap());
    options.relay = Some(node.clone());
    let server = Server::new(options).await.unwrap();
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    send(&server, "POST /api/v1/nodes", json!({ "metadata": { "name": "one", "labels": { "zone": "x" } } })).await;
    for (name, phase) in [("p", "Running"), ("q", "Running"), ("w", "Pending")] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = "one".into();
        if name == "p" {
            pod["metadata"]["labels"] = json!({ "app": "a" });
        }
        let (_, made) = send(&server, "POST /api/v1/namespaces/d/pods", pod).await;
        let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
        node.uids.lock().push((name.to_owned(), uid));
        let status = json!({ "status": { "phase": phase } });
        send(&server, &format!("PATCH /api/v1/namespaces/d/pods/{name}/status"), status).await;
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(scrape::follow(server.clone()));
    while node.asked.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    (server, tasks)
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_listed_with_its_figures() {
    let (server, _tasks) = measured().await;
    let (_, node) = send(&server, "GET /apis/metrics.k8s.io/v1beta1/nodes/one", Value::Null).await;
    expect![[r#"{"apiVersion":"metrics.k8s.io/v1beta1","kind":"NodeMetrics","metadata":{"creationTimestamp":"2026-01-02T03:04:05Z","labels":{"zone":"x"},"name":"one"},"timestamp":"1970-01-01T00:17:10Z","usage":{"cpu":"1500m","memory":"3Gi"},"window":"15s"}"#]]
        .assert_eq(&node.to_string());
    let pods = async |query: &str| {
        let (status, list) = send(&server, &format!("GET /apis/metrics.k8s.io/v1{query}"), Value::Null).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or("-").to_owned();
        format!("{} {}", status.as_u16(), items.iter().map(name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(pods("/pods").await, "200 p q");
    assert_eq!(pods("/namespaces/d/pods?labelSelector=app%3Da").await, "200 p");
    assert_eq!(pods("/namespaces/d/pods?labelSelector=app!%3Da").await, "200 q");
    assert_eq!(pods("/namespaces/d/pods?fieldSelector=metadata.name%3Dq").await, "200 q");
    assert_eq!(pods("/namespaces/other/pods").await, "200 ");
    assert_eq!(pods("/nodes?labelSelector=zone").await, "200 one");
    let (_, pod) = send(&server, "GET /apis/metrics.k8s.io/v1beta1/namespaces/d/pods/p", Value::Null).await;
    let expected =
        r#"[{"name":"a","usage":{"cpu":"250m","memory":"64Mi"}},{"name":"b","usage":{"cpu":"3m","memory":"1k"}}]"#;
    assert_eq!(pod["containers"].to_string(), expected);
    let waiting = "GET /apis/metrics.k8s.io/v1beta1/namespaces/d/pods/w";
    check(&server, waiting, Value::Null, expect![[r#"404 NotFound podmetrics.metrics.k8s.io "d/w" not found"#]]).await;
    let absent = "GET /apis/metrics.k8s.io/v1beta1/nodes/two";
    check(&server, absent, Value::Null, expect![[r#"404 NotFound nodes "two" not found"#]]).await;
    let watch = "GET /apis/metrics.k8s.io/v1beta1/pods?watch=1";
    check(
        &server,
        watch,
        Value::Null,
        expect!["405 MethodNotAllowed the server does not allow this method on the requested resource"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_table_has_the_sums() {
    let (server, _tasks) = measured().await;
    let mut asked = request("GET /apis/metrics.k8s.io/v1beta1/pods", Vec::new());
    asked.headers_mut().insert("accept", "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
    let (_, table) = read(raw(&server, asked).await).await;
    assert_eq!(table["rows"][0]["cells"].to_string(), r#"["p","253m","65536k","15s"]"#.replace("65536k", "67109864"));
    let names = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["Name", "cpu", "memory", "Window"]);
}

#[tokio::test]
async fn it_is_discovered_as_metrics_server_is() {
    let (_, list) = send(&server().await, "GET /apis/metrics.k8s.io/v1beta1", Value::Null).await;
    expect![[r#"[{"kind":"NodeMetrics","name":"nodes","namespaced":false,"singularName":"","verbs":["get","list"]},{"kind":"PodMetrics","name":"pods","namespaced":true,"singularName":"","verbs":["get","list"]}]"#]]
        .assert_eq(&list["resources"].to_string());
}
