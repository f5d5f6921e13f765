//! The node agent: registers the node, runs the pods that are bound to it and reports on them. It holds a `kube::Client`
//! and nothing else of the control plane. Runtimes and images stand behind `host/runtime`, addresses behind `host/net`.
//!
//! ```text
//!  pods by spec.nodeName ─► Agent ─► pod.rs, a task each ─► plan.rs ─► start.rs, stop.rs ─► Runtime
//!  Runtime::changed ─► list ─► the tasks it concerns ─► status.rs ─► PATCH …/status
//!  node.rs: Node, Lease      serve.rs: logs, stats for the API server      probes.rs  volumes.rs  env.rs
//! ```

mod adopt;
mod backoff;
mod credentials;
mod env;
pub mod events;
mod host;
mod logs;
mod messages;
mod node;
mod patch;
mod plan;
mod pod;
mod probes;
mod serve;
pub mod simulated;
mod slot;
mod start;
mod stats;
mod status;
mod stop;
mod volumes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{Change, Informer};
use amphipod_runtime::{Observed, Runtime};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use events::{Events, Severity};
pub use host::{Options, Runtimes};
pub use simulated::Simulator;
pub use volumes::root as volumes_directory;

use host::Host;

/// Entry of the pods' index.
const BY_NODE: &str = "spec.nodeName";
/// The longest pause between two lists of a runtime that changes all the time.
const LIST_PAUSE_MAX: Duration = Duration::from_millis(50);

/// What one pod's task is told.
struct Told {
    pod: watch::Sender<Option<Arc<Pod>>>,
    observed: watch::Sender<Arc<Vec<Observed>>>,
}

/// By the pod's uid.
type Tasks = Arc<Mutex<HashMap<String, Told>>>;

/// One node.
pub struct Agent {
    host: Arc<Host>,
    tasks: Tasks,
}

impl Agent {
    /// Must be called inside a tokio runtime.
    pub fn new(options: Options) -> Self {
        Self { host: Host::new(options), tasks: Tasks::default() }
    }

    /// What the API server asks a node for: `/containerLogs/…`, `/pods`, `/stats/summary`, `/metrics/resource`,
    /// `/healthz`, `/metrics`. Carries no
    /// authentication of its own: the caller decides who reaches it.
    pub fn router(&self) -> axum::Router {
        serve::router(self.host.clone())
    }

    /// Registers the node and runs its pods until `shutdown`; containers are left to their runtimes.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut parts = JoinSet::new();
        parts.spawn(node::run(self.host.clone()));
        for runtime in self.host.options.runtimes.all() {
            parts.spawn(observe(runtime.clone(), self.tasks.clone()));
        }
        let pods = self.host.options.informers.of::<Pod>();
        pods.index(BY_NODE, |pod: &Pod| pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect());
        tokio::select! {
            () = self.follow(pods) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow(&self, pods: Informer<Pod>) {
        let mut changes = pods.subscribe();
        pods.synced().await;
        self.host.options.informers.of::<k8s_openapi::api::core::v1::Service>().synced().await;
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Change::Applied { now, .. }) => self.see(now, &mut running),
                    Some(Change::Deleted(pod)) => self.lose(pod.metadata.uid.as_deref().unwrap_or_default()),
                    Some(Change::Resynced) => self.see_all(&pods, &mut running),
                    None => return,
                },
                Some(uid) = running.join_next() => if let Ok(uid) = uid { self.tasks.lock().remove(&uid); },
            }
        }
    }

    fn see_all(&self, pods: &Informer<Pod>, running: &mut JoinSet<String>) {
        let here = pods.indexed(BY_NODE, &self.host.options.node_name);
        let uids: Vec<&str> = here.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let gone: Vec<String> = self.tasks.lock().keys().filter(|uid| !uids.contains(&uid.as_str())).cloned().collect();
        gone.iter().for_each(|uid| self.lose(uid));
        here.into_iter().for_each(|pod| self.see(pod, running));
    }

    fn see(&self, pod: Arc<Pod>, running: &mut JoinSet<String>) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let (Some(uid), true) = (pod.metadata.uid.clone(), node == Some(self.host.options.node_name.as_str())) else {
            return;
        };
        let mut tasks = self.tasks.lock();
        if let Some(told) = tasks.get(&uid) {
            told.pod.send_replace(Some(pod));
            return;
        }
        let (pod_sender, pod_receiver) = watch::channel(Some(pod.clone()));
        let (observed_sender, observed) = watch::channel(Arc::default());
        tasks.insert(uid.clone(), Told { pod: pod_sender, observed: observed_sender });
        drop(tasks);
        let task = pod::Task::new(self.host.clone(), pod, pod::Inputs { pod: pod_receiver, observed });
        running.spawn(async move {
            task.run().await;
            uid
        });
    }

    fn lose(&self, uid: &str) {
        if let Some(told) = self.tasks.lock().get(uid) {
            told.pod.send_replace(None);
        }
    }
}

/// Tells each pod's task when its containers differ. One list serves all changes that came meanwhile.
async fn observe(runtime: Arc<dyn Runtime>, tasks: Tasks) {
    let mut changed = runtime.changed();
    changed.mark_changed();
    while changed.changed().await.is_ok() {
        let begun = std::time::Instant::now();
        match runtime.list().await {
            Ok(all) => tell(all, &tasks),
            Err(error) => {
                tracing::warn!(runtime = runtime.name(), %error, "the containers could not be listed");
                changed.mark_changed();
                tokio::time::sleep(LIST_PAUSE_MAX).await;
            }
        }
        tokio::time::sleep((begun.elapsed() * 2).min(LIST_PAUSE_MAX)).await;
    }
}

fn tell(all: Vec<Observed>, tasks: &Tasks) {
    let mut by_pod: HashMap<String, Vec<Observed>> = HashMap::new();
    for one in all {
        by_pod.entry(one.pod.uid.clone()).or_default().push(one);
    }
    for (uid, told) in tasks.lock().iter() {
        let now = by_pod.remove(uid).unwrap_or_default();
        told.observed.send_if_modified(|known| {
            let differs = **known != now;
            if differs {
                *known = Arc::new(now);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests;
