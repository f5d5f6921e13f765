//! Durable creates and reads of 1 KiB ConfigMaps over HTTPS, with the server's CPU time per request.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::load::{drive, send};
use super::measured::cpu;
use super::subject::Subject;

const OBJECTS: usize = 5_000;
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
const CONNECTIONS: usize = 4;

pub async fn measure(subject: &Subject) -> anyhow::Result<Value> {
    let clients = Arc::new(subject.clients(CONNECTIONS)?);
    let url = format!("{}/api/v1/namespaces/default/configmaps", subject.url);
    let payload = "x".repeat(1_024);
    let mut figures = Map::new();
    for in_flight in IN_FLIGHT {
        let count = if in_flight == 1 { OBJECTS / 5 } else { OBJECTS };
        let before = cpu(subject.pid())?;
        let (clients, url, payload) = (clients.clone(), url.clone(), payload.clone());
        let (latencies, wall) = drive(count, in_flight, move |index| {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("b{in_flight}-{index}")}, "data": {"d": payload}});
            let request = clients[index % clients.len()].post(&url).json(&object);
            async move { send(request).await.map(drop) }
        })
        .await?;
        let mut figure = latencies.rate(wall);
        let used = cpu(subject.pid())?.saturating_sub(before);
        figure["serverCpuMicros"] = json!(used.as_micros() as f64 / count as f64);
        figures.insert(format!("create{in_flight}"), figure);
    }
    let before = cpu(subject.pid())?;
    let (shared, base) = (clients.clone(), url.clone());
    let (latencies, wall) = drive(OBJECTS, 64, move |index| {
        let request = shared[index % shared.len()].get(format!("{base}/b64-{index}"));
        async move { send(request).await.map(drop) }
    })
    .await?;
    let mut figure = latencies.rate(wall);
    figure["serverCpuMicros"] = json!(cpu(subject.pid())?.saturating_sub(before).as_micros() as f64 / OBJECTS as f64);
    figures.insert("get64".into(), figure);
    send(clients[0].delete(&url)).await?;
    Ok(figures.into())
}
