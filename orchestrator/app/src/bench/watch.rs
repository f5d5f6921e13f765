//! Fan-out: many watchers of one kind, and the time from a create's request to its event at each watcher.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::load::{drive, send};
use super::measured::Latencies;
use super::subject::Subject;

const WATCHERS: usize = 100;
const CREATES: usize = 500;
const IN_FLIGHT: usize = 8;
const CONNECTIONS: usize = 4;

pub async fn measure(subject: &Subject) -> anyhow::Result<Value> {
    let clients = Arc::new(subject.clients(CONNECTIONS)?);
    let url = format!("{}/api/v1/namespaces/default/configmaps", subject.url);
    let list: Value = serde_json::from_slice(&send(clients[0].get(format!("{url}?limit=1"))).await?)?;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let begun: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let mut watchers = tokio::task::JoinSet::new();
    for index in 0..WATCHERS {
        let request = clients[index % CONNECTIONS].get(format!("{url}?watch=1&resourceVersion={from}"));
        // The response's head says that the watch stands; only then do creates begin.
        let response = request.send().await?.error_for_status()?;
        watchers.spawn(follow(response, begun.clone()));
    }
    let started = Instant::now();
    let (shared, noted) = (clients.clone(), begun.clone());
    let base = url.clone();
    drive(CREATES, IN_FLIGHT, move |index| {
        let name = format!("fan-{index}");
        let request = shared[index % shared.len()].post(&base);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"d": "x".repeat(512)}});
        noted.lock().insert(name, Instant::now());
        async move { send(request.json(&object)).await.map(drop) }
    })
    .await?;
    let mut all = Latencies::new();
    while let Some(watcher) = watchers.join_next().await {
        all.merge(&watcher??);
    }
    let figures = all.rate(started.elapsed());
    send(clients[0].delete(&url)).await?;
    Ok(json!({"watchers": WATCHERS, "creates": CREATES, "delivery": figures}))
}

async fn follow(
    mut response: reqwest::Response,
    begun: Arc<Mutex<HashMap<String, Instant>>>,
) -> anyhow::Result<Latencies> {
    let (mut latencies, mut pending) = (Latencies::new(), Vec::new());
    while latencies.count() < CREATES as u64 {
        let Some(chunk) = response.chunk().await? else { anyhow::bail!("a watch ended early") };
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line)?;
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if let Some(begun) = begun.lock().get(name).filter(|_| event["type"] == "ADDED") {
                latencies.record(begun.elapsed());
            }
        }
    }
    Ok(latencies)
}
