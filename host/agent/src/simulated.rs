//! Nodes that only claim to be there: each Node with the label `amphipod.dev/simulated: "true"` is kept alive, and its
//! pods are run by the fake runtime. Thousands in one process: one task for each node, none for a pod.
//!
//! ```text
//!  Nodes, pods by node ─► Simulator ─► machine.rs, a task for each node ─► pod.rs: plan.rs, Fake, status.rs
//!  beat.rs: leases and conditions of all nodes, a few each second          script.rs: what annotations ask for
//!  serve.rs: figures and logs, as of any node
//! ```

mod addresses;
mod beat;
mod machine;
mod pod;
mod script;
mod serve;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amphipod_api::informer::key_of;
use amphipod_api::{Change, Informer, Informers, labels};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use addresses::Addresses;
use machine::Machine;
pub use serve::Asked;

/// Entry of the pods' index, as the agent's own.
const BY_NODE: &str = "spec.nodeName";
/// Writes about pods under way at once, of all nodes together.
const WRITES_MAX: usize = 64;
/// Nodes that say for the first time that they are there, at once.
const REGISTRATIONS_MAX: usize = 16;
/// Machines of real agents say so.
const REAL: &str = "amphipod://";

pub struct Options {
    /// May write nodes, their leases and pods.
    pub client: kube::Client,
    pub informers: Informers,
    pub events: Arc<dyn Events>,
}

/// What the tasks of all nodes share.
struct Shared {
    options: Options,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    writes: Semaphore,
    registrations: Semaphore,
    addresses: Addresses,
    machines: RwLock<HashMap<String, (Arc<Machine>, AbortHandle)>>,
}

/// All simulated nodes of the cluster.
#[derive(Clone)]
pub struct Simulator(Arc<Shared>);

/// Whether these annotations can be read; the first mistake.
///
/// # Errors
/// What is wrong, for a person.
pub fn check(annotations: &BTreeMap<&str, &String>) -> Result<(), String> {
    let own = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).clone())).collect();
    script::Script::of(&Some(own), &None).1.into_iter().next().map_or(Ok(()), Err)
}

fn is_simulated(node: &Node) -> bool {
    let provider = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref());
    node.labels().get(labels::SIMULATED).is_some_and(|value| value == "true")
        && node.metadata.deletion_timestamp.is_none()
        && provider.is_none_or(|id| !id.starts_with(REAL))
}

/// It is told to say nothing, of itself and its pods.
fn is_silent(node: &Node) -> bool {
    node.annotations().get(labels::simulation::SILENT).is_some_and(|value| value == "true")
}

impl Simulator {
    /// Must be called inside a tokio runtime.
    pub fn new(options: Options) -> Self {
        let (nodes, pods) = (options.informers.of(), options.informers.of());
        Self(Arc::new(Shared {
            options,
            nodes,
            pods,
            writes: Semaphore::new(WRITES_MAX),
            registrations: Semaphore::new(REGISTRATIONS_MAX),
            addresses: Addresses::default(),
            machines: RwLock::default(),
        }))
    }

    /// Whether a node is one of these.
    pub fn has(&self, node: &str) -> bool {
        self.0.machines.read().contains_key(node)
    }

    /// What the API server asks nodes for; each request says by an [`Asked`] which one is meant.
    pub fn router(&self) -> axum::Router {
        serve::router(self.0.clone())
    }

    /// Until `shutdown`; then the nodes fall silent.
    pub async fn run(&self, shutdown: CancellationToken) {
        let shared = &self.0;
        shared.pods.index(BY_NODE, |pod: &Pod| pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect());
        let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
        tokio::join!(shared.nodes.synced(), shared.pods.synced());
        shared.addresses.keep_clear_of(&shared.nodes.list(), &shared.pods.list());
        let mut tasks = JoinSet::new();
        tasks.spawn(beat::run(shared.clone()));
        loop {
            tokio::select! {
                change = nodes.next() => match change {
                    Some(Change::Applied { now, .. }) => shared.see_node(&now, &mut tasks),
                    Some(Change::Deleted(node)) => shared.lose_node(&node.name_any()),
                    Some(Change::Resynced) => shared.see_nodes(&mut tasks),
                    None => return,
                },
                change = pods.next() => match change {
                    Some(Change::Applied { now, .. }) => shared.see_pod(&now),
                    Some(Change::Deleted(pod)) => shared.see_pod(&pod),
                    Some(Change::Resynced) => shared.machines.read().values().for_each(|(machine, _)| machine.see_all()),
                    None => return,
                },
                Some(_) = tasks.join_next() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Shared {
    fn see_nodes(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let listed = self.nodes.list();
        let known: Vec<String> = self.machines.read().keys().cloned().collect();
        known.iter().filter(|name| self.nodes.get("", name).is_none()).for_each(|name| self.lose_node(name));
        listed.iter().for_each(|node| self.see_node(node, tasks));
    }

    fn see_node(self: &Arc<Self>, node: &Arc<Node>, tasks: &mut JoinSet<()>) {
        let name = node.name_any();
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let known = self.machines.read().get(&name).map(|(machine, _)| machine.uid.clone());
        if known.is_some_and(|known| known != uid) || !is_simulated(node) {
            self.lose_node(&name);
        }
        if let Some((machine, _)) = self.machines.read().get(&name) {
            machine.see_all();
        } else if is_simulated(node) {
            let machine = Arc::new(Machine::new(node, &self.addresses));
            let task = tasks.spawn(machine::run(self.clone(), machine.clone()));
            self.machines.write().insert(name, (machine.clone(), task));
            tasks.spawn(beat::register(self.clone(), machine));
        }
    }

    fn lose_node(&self, name: &str) {
        if let Some((_, task)) = self.machines.write().remove(name) {
            task.abort();
        }
    }

    fn see_pod(&self, pod: &Pod) {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else { return };
        if let Some((machine, _)) = self.machines.read().get(node) {
            machine.see(key_of(&pod.metadata));
        }
    }
}
