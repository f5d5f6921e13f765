//! What the API server asks simulated nodes for: figures as of any node, and an honest word in place of logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphipod_api::quantity;
use amphipod_runtime::{Runtime, State};
use axum::extract::{Path, State as Shares};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde_json::json;

use super::machine::Machine;
use super::{BY_NODE, Shared};
use crate::stats::gather::{JSON, TEXT};
use crate::stats::{ContainerFigures, NodeFigures, PodFigures, Summary, Used};

/// What a node uses for itself.
const OWN_CORES: f64 = 0.05;
const OWN_BYTES: u64 = 512 << 20;

/// The node that a request is for.
#[derive(Debug, Clone)]
pub struct Asked(pub String);

type Node = Extension<Asked>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs))
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/stats/summary", get(summary))
        .route("/metrics/resource", get(resource_metrics))
        .route("/metrics/cadvisor", get(cadvisor_metrics))
        .fallback(async || (StatusCode::NOT_IMPLEMENTED, "a simulated pod runs nothing that could be reached\n"))
        .with_state(shared)
}

fn machine(shared: &Shared, node: &str) -> Option<Arc<Machine>> {
    shared.machines.read().get(node).map(|(machine, _)| machine.clone())
}

async fn pods(Shares(shared): Shares<Arc<Shared>>, Extension(Asked(node)): Node) -> impl IntoResponse {
    let pods = shared.pods.indexed(BY_NODE, &node);
    Json(json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
}

async fn logs(
    Shares(shared): Shares<Arc<Shared>>,
    Extension(Asked(node)): Node,
    Path((namespace, pod, container)): Path<(String, String, String)>,
) -> Response {
    if shared.pods.get(&namespace, &pod).is_none() {
        return (StatusCode::NOT_FOUND, format!("pod {pod:?} not found\n")).into_response();
    }
    format!("container {container:?} is simulated on node {node:?}: it runs no code and writes no log\n")
        .into_response()
}

async fn summary(shared: Shares<Arc<Shared>>, node: Node) -> Response {
    figures(shared, node, |all| (JSON, all.json()).into_response()).await
}

async fn resource_metrics(shared: Shares<Arc<Shared>>, node: Node) -> Response {
    figures(shared, node, |all| (TEXT, all.resource_metrics()).into_response()).await
}

async fn cadvisor_metrics(shared: Shares<Arc<Shared>>, node: Node) -> Response {
    figures(shared, node, |all| (TEXT, all.cadvisor_metrics()).into_response()).await
}

async fn figures(
    Shares(shared): Shares<Arc<Shared>>,
    Extension(Asked(node)): Node,
    shown: impl FnOnce(Summary) -> Response,
) -> Response {
    let gone = || (StatusCode::NOT_FOUND, format!("node {node:?} not found\n")).into_response();
    let Some(machine) = machine(&shared, &node) else { return gone() };
    let (Ok(all), Ok(stats)) = (machine.fake.list().await, machine.fake.stats().await) else { return gone() };
    let mut pods: BTreeMap<String, PodFigures> = BTreeMap::new();
    let mut memory_bytes = OWN_BYTES;
    for one in all {
        let (State::Running { started_at }, Some(stats)) = (one.state, stats.get(&one.id)) else { continue };
        let used = Used { cpu_nanoseconds: stats.cpu_nanoseconds, memory_bytes: stats.memory_bytes };
        memory_bytes += used.memory_bytes;
        let of_pod = || PodFigures { pod: one.pod.clone(), containers: Vec::new() };
        let figures = pods.entry(one.pod.uid.clone()).or_insert_with(of_pod);
        figures.containers.push(ContainerFigures { name: one.container, started_at, used });
    }
    let at = Timestamp::now();
    let own = at.duration_since(machine.started_at).as_secs_f64().max(0.0) * OWN_CORES;
    let used = Used { cpu_nanoseconds: machine.fake.cpu_nanoseconds() + (own * 1e9) as u64, memory_bytes };
    let known = shared.nodes.get("", &node);
    let capacity = known.as_ref().and_then(|node| node.status.as_ref()?.capacity.as_ref()?.get("memory"));
    let capacity = capacity.and_then(|amount| u64::try_from(quantity::whole(&amount.0)?).ok()).unwrap_or(0);
    let (started_at, available_bytes) = (machine.started_at, capacity.saturating_sub(memory_bytes));
    let node = NodeFigures { name: node, started_at, used, available_bytes };
    shown(Summary { at, node, pods: pods.into_values().collect() })
}
