//! Asks the runtimes and the machine what has been used. One exchange with each runtime, however many containers run.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_runtime::{ContainerId, Stats};
use axum::extract::State;
use axum::response::IntoResponse;
use jiff::Timestamp;

use super::{ContainerFigures, NodeFigures, PodFigures, Summary, Used, machine};
use crate::host::Host;
use crate::serve::Shown;

pub const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// What Prometheus' text is called.
pub const TEXT: [(&str, &str); 1] = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];

pub async fn summary(State(host): State<Arc<Host>>) -> impl IntoResponse {
    (JSON, gather(&host).await.json())
}

pub async fn resource_metrics(State(host): State<Arc<Host>>) -> impl IntoResponse {
    (TEXT, gather(&host).await.resource_metrics())
}

pub async fn cadvisor_metrics(State(host): State<Arc<Host>>) -> impl IntoResponse {
    (TEXT, gather(&host).await.cadvisor_metrics())
}

async fn gather(host: &Host) -> Summary {
    let mut stats: HashMap<ContainerId, Stats> = HashMap::new();
    for runtime in host.options.runtimes.all() {
        match runtime.stats().await {
            Ok(more) => stats.extend(more),
            Err(error) => tracing::debug!(runtime = runtime.name(), %error, "no figures"),
        }
    }
    let shown: Vec<Arc<Shown>> = host.shown.lock().values().cloned().collect();
    let pods = shown.iter().map(|shown| {
        let running = shown.running();
        let containers = running.into_iter().filter_map(|(name, id, started_at)| {
            let Stats { cpu_nanoseconds, memory_bytes } = *stats.get(&id)?;
            Some(ContainerFigures { name, started_at, used: Used { cpu_nanoseconds, memory_bytes } })
        });
        PodFigures { pod: shown.name.clone(), containers: containers.collect() }
    });
    let machine = machine::look();
    let node = NodeFigures {
        name: host.options.node_name.clone(),
        started_at: machine.started_at,
        used: machine.used,
        available_bytes: machine.available_bytes,
    };
    Summary { node, pods: pods.collect(), at: Timestamp::now() }
}
