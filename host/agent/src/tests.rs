//! The agent with the fake runtime against an API that only remembers what it was sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{Informers, RawEvent, Source};
use amphipod_net::{Cidr, Mode, Network};
use amphipod_runtime::fake::{Fake, FakeImages};
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Recorded;
use crate::{Agent, Options, Runtimes};

/// Requests about pods, as `METHOD path` with the body.
type Requests = mpsc::UnboundedReceiver<(String, Value)>;

/// One list of pods, then what the test sends; other kinds are empty.
struct Feed(Mutex<Option<mpsc::UnboundedReceiver<RawEvent>>>);

impl Source for Feed {
    fn list_and_watch(&self, _: &str, _: &str, plural: &str, _: Option<&str>) -> BoxStream<'static, RawEvent> {
        let listed = futures::stream::iter([RawEvent::Restarted, RawEvent::Synced]);
        let events = if plural == "pods" { self.0.lock().take() } else { None };
        match events {
            Some(events) => {
                let later = futures::stream::unfold(events, async |mut events| {
                    events.recv().await.map(|event| (event, events))
                });
                listed.chain(later).boxed()
            }
            None => listed.chain(futures::stream::pending()).boxed(),
        }
    }
}

fn api() -> (kube::Client, Requests) {
    let (sender, requests) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let sender = sender.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let answer = json!({"metadata": {"name": "n"}, "spec": {"containers": []}}).to_string();
            if line.contains("/pods/") {
                let _ = sender.send((line, body));
            }
            Ok::<_, Infallible>(http::Response::new(Body::from(answer.into_bytes())))
        }
    });
    (kube::Client::new(service, "default"), requests)
}

struct Node {
    pods: mpsc::UnboundedSender<RawEvent>,
    requests: Requests,
    events: Arc<Recorded>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _data: tempfile::TempDir,
}

/// Tests run side by side: each has its own range, `127.octet.0.0/18`.
fn node(octet: u8) -> Node {
    let (client, requests) = api();
    let (pods, receiver) = mpsc::unbounded_channel();
    let informers = Informers::new(Arc::new(Feed(Mutex::new(Some(receiver)))));
    let range = |text: &str| text.parse::<Cidr>().unwrap();
    let network = Network::new(amphipod_net::Options {
        mode: Mode::Loopback,
        cluster_cidr: range(&format!("127.{octet}.0.0/16")),
        service_cidr: range(&format!("127.{}.0.0/16", octet + 1)),
        pod_cidr: range(&format!("127.{octet}.0.0/18")),
        node_ip: range(&format!("127.{octet}.0.0/18")).first(),
        node_ports: 30_000..=32_767,
        cluster_domain: "cluster.local".into(),
        node_name: "node".into(),
    });
    let (events, data) = (Arc::new(Recorded::default()), tempfile::tempdir().unwrap());
    let options = Options {
        node_name: "node".into(),
        labels: Vec::new(),
        taints: Vec::new(),
        pods_max: 100,
        client,
        informers,
        runtimes: Runtimes { fake: Some(Arc::new(Fake::default())), ..Runtimes::default() },
        images: Arc::new(FakeImages::default()),
        network,
        data_dir: data.path().to_owned(),
        events: events.clone(),
        kubelet_port: 0,
    };
    let shutdown = CancellationToken::new();
    let (agent, stop) = (Agent::new(options), shutdown.clone());
    let task = tokio::spawn(async move { agent.run(stop).await });
    Node { pods, requests, events, shutdown, task, _data: data }
}

impl Node {
    fn apply(&self, pod: &Value) {
        self.pods.send(RawEvent::Applied(pod.to_string().into())).unwrap();
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(Duration::from_secs(20), self.requests.recv()).await.unwrap().unwrap()
    }

    async fn until(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (line, body) = self.next().await;
            if wanted(&line, &body) {
                return body;
            }
        }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn pod(image: &str, policy: &str, args: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "u1", "generation": 1},
        "spec": {"nodeName": "node", "restartPolicy": policy, "containers": [{"name": "main", "image": image, "args": args}]},
    })
}

#[tokio::test]
async fn a_pod_is_ready_in_one_write_and_deleted_when_it_has_stopped() {
    let mut node = node(130);
    let mut pod = pod("echo:1", "Always", &[]);
    node.apply(&pod);
    let (line, body) = node.next().await;
    assert_eq!(line, "PATCH /api/v1/namespaces/default/pods/p/status");
    let status = &body["status"];
    let ready = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready").unwrap();
    assert_eq!(
        (&status["phase"], &ready["status"], &status["podIP"]),
        (&json!("Running"), &json!("True"), &json!("127.130.0.2"))
    );

    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
    node.apply(&pod);
    let options = node.until(|line, _| line.starts_with("DELETE")).await;
    assert_eq!((&options["gracePeriodSeconds"], &options["preconditions"]["uid"]), (&json!(0), &json!("u1")));
    let events = node.events.lines();
    let reasons: Vec<&str> = events.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(reasons, ["Pulling", "Pulled", "Created", "Started", "Killing"], "{events:?}");
    node.end().await;
}

#[tokio::test]
async fn a_pod_that_ends_is_counted_by_its_code() {
    let mut node = node(132);
    node.apply(&pod("echo:1", "Never", &["exit=3", "after=20"]));
    let body = node.until(|_, body| body["status"]["phase"] == "Failed").await;
    assert_eq!(body["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    node.end().await;
}

#[tokio::test]
async fn a_crashing_container_restarts_once_and_then_backs_off() {
    let mut node = node(134);
    node.apply(&pod("echo:1", "Always", &["exit=1"]));
    let waiting = |body: &Value| body["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    let body = node.until(|_, body| waiting(body) == "CrashLoopBackOff").await;
    assert_eq!(body["status"]["containerStatuses"][0]["restartCount"], 1);
    node.end().await;
}

#[tokio::test]
async fn a_missing_image_is_reported_and_backs_off() {
    let mut node = node(136);
    node.apply(&pod("missing:1", "Always", &[]));
    let waiting = |body: &Value| body["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    node.until(|_, body| waiting(body) == "ErrImagePull").await;
    node.until(|_, body| waiting(body) == "ImagePullBackOff").await;
    node.end().await;
}
