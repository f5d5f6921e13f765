//! From a pod's create to its Ready condition: one by one, a hundred at once, a thousand at once; and what they cost.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::measured::Latencies;
use super::subject::Subject;

const ONE_BY_ONE: usize = 50;
const CREATES_IN_FLIGHT: usize = 64;

pub async fn measure(subject: &Subject, component: &Path, most: usize) -> anyhow::Result<Value> {
    let image = format!("{}/bench:v1", subject.registry);
    amphipod_images::push(&image, component, &amphipod_runtime::Credentials::Anonymous).await?;
    let api: Api<Pod> = Api::default_namespaced(subject.client.clone());
    batch(&api, &image, "warm", 1).await?; // the pull and the compilation are not what is measured
    let mut single = Latencies::new();
    for index in 0..ONE_BY_ONE {
        single.merge(&batch(&api, &image, &format!("one-{index}"), 1).await?.0);
    }
    let mut figures = json!({"single": single.figures()});
    let before = subject.memory()?;
    for count in [100, most] {
        let (latencies, wall) = batch(&api, &image, &format!("many-{count}"), count).await?;
        let mut figure = latencies.figures();
        figure["allReadySeconds"] = json!(wall);
        figures[format!("batch{count}")] = figure;
    }
    let after = subject.memory()?;
    let grown = after["allPssKib"]
        .as_u64()
        .unwrap_or_default()
        .saturating_sub(before["allPssKib"].as_u64().unwrap_or_default());
    figures["memoryWithPods"] = after;
    figures["kibPerPod"] = json!(grown as f64 / (100 + most) as f64);
    let now = DeleteParams::default().grace_period(0);
    api.delete_collection(&now, &ListParams::default().labels("bench=pods")).await?;
    Ok(figures)
}

/// Creates pods at once and waits until each is Ready; latencies, and seconds until the last one.
async fn batch(api: &Api<Pod>, image: &str, prefix: &str, count: usize) -> anyhow::Result<(Latencies, f64)> {
    let from = api.list_metadata(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
    let label = format!("batch={prefix}");
    let mut events = api.watch(&WatchParams::default().labels(&label), &from).await?.boxed();
    let pod = |index: usize| -> anyhow::Result<Pod> {
        Ok(serde_json::from_value(json!({
            "metadata": {"name": format!("{prefix}-{index}"), "labels": {"bench": "pods", "batch": prefix}},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "main", "image": image}]},
        }))?)
    };
    let started = Instant::now();
    let creating = futures::stream::iter(0..count).map(async |index| {
        let began = Instant::now();
        api.create(&PostParams::default(), &pod(index)?).await?;
        anyhow::Ok((format!("{prefix}-{index}"), began))
    });
    let creating = creating.buffer_unordered(CREATES_IN_FLIGHT).collect::<Vec<_>>();
    let watching = async {
        let mut ready = HashMap::new();
        while ready.len() < count {
            let event = events.next().await.ok_or_else(|| anyhow::anyhow!("the watch ended early"))??;
            if let WatchEvent::Modified(pod) | WatchEvent::Added(pod) = event
                && is_ready(&pod)
            {
                ready.entry(pod.name_any()).or_insert_with(Instant::now);
            }
        }
        anyhow::Ok(ready)
    };
    let (created, ready) = tokio::join!(creating, watching);
    let (ready, wall) = (ready?, started.elapsed().as_secs_f64());
    let mut latencies = Latencies::new();
    for created in created {
        let (name, began) = created?;
        latencies.record(ready[&name].duration_since(began));
    }
    Ok((latencies, wall))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}
