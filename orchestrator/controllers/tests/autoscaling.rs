//! Autoscalers against the API server in process over a memory store; the metrics are the test's own. Time is paused, so
//! that the controller's period costs nothing.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_controllers::{Options, run};
use amphipod_server::Server;
use amphipod_server::seams::{Attributes, Authorize, Decision, Identity};
use amphipod_store::MemoryStore;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::watcher;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Of paused time.
const PATIENCE: Duration = Duration::from_secs(3_600);

struct AllowAll;
impl Authorize for AllowAll {
    fn authorize(&self, _: &Identity, _: &Attributes) -> Decision {
        Decision::Allowed { reason: String::new() }
    }
}

/// Answers to paths that begin so; all others are the server's.
type Answers = Arc<Mutex<Vec<(&'static str, Value)>>>;

struct Cluster {
    client: kube::Client,
    answers: Answers,
    _tasks: JoinSet<()>,
}

impl Cluster {
    async fn start() -> Self {
        let options = amphipod_server::Options::new(Arc::new(MemoryStore::new()), Arc::new(AllowAll));
        let server = Server::new(options).await.expect("a server");
        let (inner, answers) = (server.client(Identity::system_masters()), Answers::default());
        let known = answers.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let path = request.uri().path().to_owned();
            let answer = known.lock().iter().find(|(start, _)| path.starts_with(start)).map(|(_, value)| value.clone());
            let inner = inner.clone();
            async move {
                match answer {
                    Some(value) => Ok(http::Response::new(Body::from(value.to_string().into_bytes()))),
                    None => inner.send(request).await,
                }
            }
        });
        let client = kube::Client::new(service, "default");
        let mut tasks = JoinSet::new();
        let informers = Informers::new(server.source(Identity::system_masters()));
        let options = Options { clock: Arc::new(jiff::Timestamp::now), root_ca: "ca".into(), authority: None };
        tasks.spawn(run(client.clone(), informers, options));
        let namespace = serde_json::from_value(json!({ "metadata": { "name": "d" } })).expect("a Namespace");
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("created");
        Self { client, answers, _tasks: tasks }
    }

    fn answer(&self, start: &'static str, value: Value) {
        let mut answers = self.answers.lock();
        answers.retain(|(known, _)| *known != start);
        answers.push((start, value));
    }

    /// A workload of so many that asks for no metrics of pods, and an autoscaler of this spec.
    async fn scaled(&self, replicas: i32, spec: Value) {
        let template = json!({
            "metadata": { "labels": { "app": "a" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": "1" } } }] },
        });
        let workload = json!({
            "metadata": { "name": "w" },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "a" } }, "template": template },
        });
        let workload: Deployment = serde_json::from_value(workload).expect("a Deployment");
        self.deployments().create(&PostParams::default(), &workload).await.expect("created");
        let mut whole = json!({ "metadata": { "name": "h" }, "spec": spec });
        whole["spec"]["scaleTargetRef"] = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "w" });
        let autoscaler = serde_json::from_value(whole).expect("an autoscaler");
        self.autoscalers().create(&PostParams::default(), &autoscaler).await.expect("created");
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), "d")
    }

    fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client.clone(), "d")
    }

    async fn until_replicas(&self, wanted: i32) {
        let mut states = std::pin::pin!(watcher::watch_object(self.deployments(), "w"));
        let mut last = None;
        let waiting = async {
            while let Some(state) = states.next().await {
                last = state.ok().flatten().and_then(|workload| workload.spec.replicas);
                if last == Some(wanted) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{last:?}, not {wanted}; {:#?}", self.events().await);
        }
    }

    /// Waits until a condition has this reason; gives its status and message.
    async fn condition(&self, kind: &str, reason: &str) -> String {
        let mut states = std::pin::pin!(watcher::watch_object(self.autoscalers(), "h"));
        let mut last = None;
        let waiting = async {
            while let Some(state) = states.next().await {
                let conditions = state.ok().flatten().and_then(|one| one.status?.conditions).unwrap_or_default();
                last = Some(conditions.clone());
                let found =
                    conditions.into_iter().find(|one| one.type_ == kind && one.reason.as_deref() == Some(reason));
                if let Some(found) = found {
                    return format!("{} {}", found.status, found.message.unwrap_or_default());
                }
            }
            String::new()
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("no {kind} {reason}: {last:#?}"))
    }

    async fn events(&self) -> Vec<String> {
        let api = Api::<Event>::namespaced(self.client.clone(), "d");
        let events = api.list(&ListParams::default()).await.expect("listed").items;
        let shown =
            |event: Event| format!("{} {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        events.into_iter().filter(|event| event.involved_object.name.as_deref() == Some("h")).map(shown).collect()
    }
}

const QUEUE: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/queue";

fn queue(length: &str) -> Value {
    json!({ "kind": "ExternalMetricValueList", "items": [{ "metricName": "queue", "timestamp": "2026-01-01T00:00:00Z", "value": length }] })
}

fn by_queue(min: i32) -> Value {
    let target = json!({ "type": "AverageValue", "averageValue": "5" });
    json!({
        "minReplicas": min, "maxReplicas": 8,
        "behavior": { "scaleDown": { "stabilizationWindowSeconds": 0 } },
        "metrics": [{ "type": "External", "external": { "metric": { "name": "queue" }, "target": target } }],
    })
}

#[tokio::test(start_paused = true)]
async fn a_queue_scales_a_workload_to_zero_and_wakes_it() {
    let cluster = Cluster::start().await;
    cluster.answer(QUEUE, queue("0"));
    cluster.scaled(1, by_queue(0)).await;
    cluster.until_replicas(0).await;
    let said = cluster.condition("ScaledToZero", "ScaledToZero").await;
    assert_eq!(said, "True the HPA controller scaled the workload to zero");
    cluster.answer(QUEUE, queue("12"));
    cluster.until_replicas(3).await;
    let said = cluster.condition("ScaledToZero", "NotScaledToZero").await;
    assert_eq!(said, "False the HPA controller did not scale the workload to zero");
    let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    cluster.deployments().patch("w", &PatchParams::default(), &patch).await.expect("patched");
    let said = cluster.condition("ScalingActive", "ScalingDisabled").await;
    assert_eq!(said, "False scaling is disabled since the replica count of the target is zero");
}

#[tokio::test(start_paused = true)]
async fn bounds_hold_whatever_is_measured() {
    let cluster = Cluster::start().await;
    cluster.scaled(20, by_queue(2)).await;
    cluster.until_replicas(8).await;
    let said = cluster.condition("ScalingActive", "FailedGetExternalMetric").await;
    assert_eq!(
        said,
        "False the HPA was unable to compute the replica count: failed to get queue external metric: unable to get external \
         metric d/queue/nil: unable to fetch metrics from external metrics API: the server could not find the requested resource"
    );
    let events = cluster.events().await;
    let wanted = "SuccessfulRescale New size: 8; reason: Current number of replicas above Spec.MaxReplicas";
    assert!(events.iter().any(|event| event == wanted), "{events:#?}");
}
