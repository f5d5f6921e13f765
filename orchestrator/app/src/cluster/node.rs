//! The node's parts: Wasm runtime, images, agent, proxy.

use std::sync::Arc;

use amphipod_agent::{Agent, Events, Options, Runtimes, Severity, Simulator, simulated};
use amphipod_api::events::{Recorder, Reporter, Severity as Recorded};
use amphipod_api::{Informer, Informers};
use amphipod_images::WasmImages;
use amphipod_net::Network;
use amphipod_server::Server;
use amphipod_server::seams::Identity;
use amphipod_worker::WasmRuntime;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Taint};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};

use super::Settings;
use super::control::Parts;
use crate::relay::LocalRelay;

/// Pods that one node takes: Wasm pods are small.
const PODS_MAX: u32 = 5_000;

pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What the node is made from.
pub struct Parent<'a> {
    pub settings: &'a Settings,
    pub server: &'a Server,
    pub relay: &'a LocalRelay,
    pub network: Arc<Network>,
    pub informers: Informers,
}

/// The agent's events go where everyone's go.
struct ToRecorder(Recorder);

impl Events for ToRecorder {
    fn record(&self, about: ObjectReference, severity: Severity, reason: &str, message: String) {
        let severity = match severity {
            Severity::Normal => Recorded::Normal,
            Severity::Warning => Recorded::Warning,
        };
        self.0.record(about, severity, reason, message);
    }
}

pub async fn start(parent: Parent<'_>, name: &str, parts: &mut Parts) -> anyhow::Result<()> {
    let data_dir = parent.settings.data.folder("agent")?;
    let identity = Identity::new(format!("system:node:{name}"), &["system:nodes", "system:authenticated"]);
    let client = parent.server.client(identity);
    let reporter = Reporter { component: "kubelet".to_owned(), instance: name.to_owned() };
    let program = std::env::current_exe()?;
    let volumes = amphipod_agent::volumes_directory(&data_dir);
    let options = amphipod_worker::Options::new(data_dir.clone(), volumes, program, parent.network.clone());
    let runtime = WasmRuntime::new(options)?;
    let images = WasmImages::open(&parent.settings.data.folder("agent/images")?, amphipod_images::Options::default())?;
    let taint = |(key, value, effect): &(String, String, String)| Taint {
        key: key.clone(),
        value: Some(value.clone()).filter(|value| !value.is_empty()),
        effect: effect.clone(),
        time_added: None,
    };
    let agent = Agent::new(Options {
        node_name: name.to_owned(),
        labels: parent.settings.node_labels.clone(),
        taints: parent.settings.node_taints.iter().map(taint).collect(),
        pods_max: PODS_MAX,
        events: Arc::new(ToRecorder(Recorder::start(client.clone(), reporter))),
        client,
        informers: parent.informers.clone(),
        runtimes: Runtimes { wasm: Some(Arc::new(runtime)), ..Runtimes::default() },
        images: Arc::new(images),
        network: parent.network.clone(),
        data_dir,
        kubelet_port: 0,
    });
    parent.relay.register(name, agent.router());
    parts.run(label(parent.server.client(Identity::system_masters()), parent.informers.of::<Node>(), name.to_owned()));
    let shutdown = parts.shutdown.clone();
    parts.run(parent.network.run(parent.informers, shutdown.clone()));
    parts.tasks.spawn(async move {
        agent.run(shutdown).await;
        Ok(())
    });
    Ok(())
}

/// Keeps simulated nodes alive and claims to run their pods; without any it costs nothing.
pub fn simulate(server: &Server, relay: &LocalRelay, informers: Informers, parts: &mut Parts) {
    let client = server.client(Identity::new("system:node-simulator", &["system:masters", "system:authenticated"]));
    let reporter = Reporter { component: "node-simulator".to_owned(), instance: String::new() };
    let events = Arc::new(ToRecorder(Recorder::start(client.clone(), reporter)));
    let simulator = Simulator::new(simulated::Options { client, informers, events });
    relay.simulate(simulator.clone());
    let shutdown = parts.shutdown.clone();
    parts.tasks.spawn(async move {
        simulator.run(shutdown).await;
        Ok(())
    });
}

/// Says that this node is the control plane's too: a node may not say so of itself.
async fn label(client: kube::Client, nodes: Informer<Node>, name: String) {
    let api = Api::<Node>::all(client);
    let patch = Patch::Merge(serde_json::json!({ "metadata": { "labels": { CONTROL_PLANE: "" } } }));
    let mut changes = nodes.subscribe();
    nodes.synced().await;
    loop {
        let lacking = nodes.get("", &name).is_some_and(|node| !node.labels().contains_key(CONTROL_PLANE));
        if lacking && let Err(error) = api.patch(&name, &PatchParams::default(), &patch).await {
            tracing::warn!(node = name, error = %amphipod_api::said(&error), "the node could not be labelled");
        }
        if changes.next().await.is_none() {
            return;
        }
    }
}
