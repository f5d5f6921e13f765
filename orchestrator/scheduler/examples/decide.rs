//! How many pods a second are given a node, deciding alone: plain pods, pods of a Deployment (spread by default), pods
//! that must spread, pods that must be apart, and all of these in turn. `cargo run --example decide [NODES…]` prints JSON.

use std::sync::Arc;
use std::time::Instant;

use amphipod_scheduler::classes::Classes;
use amphipod_scheduler::need::{Need, Selector};
use amphipod_scheduler::snapshot::{Facts, Snapshot};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

const ZONES: usize = 3;
const PODS: usize = 20_000;
/// Pods of one workload.
const REPLICAS: usize = 50;

fn node(index: usize) -> Option<Node> {
    let name = format!("node-{index}");
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("z{}", index % ZONES)});
    let status = json!({"allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110"}});
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "status": status})).ok()
}

fn pod(mix: &str, workload: usize) -> Option<Pod> {
    let app = format!("{mix}-{workload}");
    let selector = json!({"matchLabels": {"app": app}});
    let zone = "topology.kubernetes.io/zone";
    let hard =
        json!({"topologyKey": zone, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector});
    let term = json!({"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"});
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut spec = json!({
        "containers": [{"name": "c", "image": "app:v1", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}],
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
    });
    match mix {
        "spread" => spec["topologySpreadConstraints"] = json!([hard]),
        "apart" => spec["affinity"] = apart,
        _ => {}
    }
    let metadata = json!({"name": app, "namespace": "n", "labels": {"app": app}});
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).ok()
}

fn siblings(mix: &str, pod: &Pod) -> Option<Selector> {
    (mix == "deployment").then(|| Selector::pairs(&pod.metadata.labels.clone().unwrap_or_default()))
}

fn measure(nodes: usize, mixes: &[&str], told: &str) -> Option<Value> {
    let mut snapshot = Snapshot::default();
    (0..nodes).filter_map(node).for_each(|node| snapshot.put_node(&node));
    let mut classes = Classes::default();
    let workload = |index: usize| (mixes[index % mixes.len()], index / (REPLICAS * mixes.len()));
    let pods: Vec<Pod> = (0..PODS).filter_map(|index| pod(workload(index).0, workload(index).1)).collect();
    let began = Instant::now();
    for (index, pod) in pods.iter().enumerate() {
        // Understanding the pod is part of it.
        let need = Arc::new(Need::with_siblings(pod, siblings(workload(index).0, pod)));
        let uid = index.to_string();
        let slot = classes.schedule(&uid, &need, &mut snapshot).ok()?;
        let name = snapshot.at(slot).name.clone();
        snapshot.put_pod(&name, need, Facts { uid, ..Facts::default() });
    }
    let seconds = began.elapsed().as_secs_f64();
    let each = seconds / PODS as f64 * 1e6;
    Some(
        json!({"nodes": nodes, "mix": told, "pods": PODS, "decisionsPerSecond": (1e6 / each).round(), "microsecondsEach": each}),
    )
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let nodes = if asked.is_empty() { vec![1_000, 5_000] } else { asked };
    let mixes = ["plain", "deployment", "spread", "apart"];
    for nodes in nodes {
        for mix in mixes {
            measure(nodes, &[mix], mix).into_iter().for_each(|figures| println!("{figures}"));
        }
        measure(nodes, &mixes, "all").into_iter().for_each(|figures| println!("{figures}"));
    }
}
