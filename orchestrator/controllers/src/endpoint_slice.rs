//! Publishes the pods behind each Service with a selector as EndpointSlices of at most 100 endpoints. `plan`
//! says which slices to write, `writer` writes, `unseen` remembers; `endpoints` publishes the older form.
//!
//! ```text
//!  change of Service, pod or slice ──► 3 ms for others to join ──► plan ──► create, update, delete
//! ```

pub(crate) mod plan;
mod unseen;
pub(crate) mod writer;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::selector::matches_pairs;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use crate::backends::{self, follow_pods};
use crate::context::{Context, follow};
use crate::queue::{Queue, Reconcile};
use crate::replica_set::reason;
use plan::{Write, template};
use writer::Writer;

const MANAGER: &str = "endpointslice-controller.k8s.io";
const WORKERS: usize = 8;
/// How long a change waits for others of its Service: a rollout then writes a slice once for many pods.
pub(crate) const GATHER: Duration = Duration::from_millis(3);
const ZONE: &str = "topology.kubernetes.io/zone";

struct Slices {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    writer: Writer,
}

pub async fn run(context: Context) {
    let context = context.signed_by("endpoint-slice-controller");
    let (services, pods) = (context.informers.of::<Service>(), context.informers.of::<Pod>());
    let nodes = context.informers.of::<Node>();
    let writer = Writer::new(context.clone(), MANAGER).await;
    tokio::join!(services.synced(), pods.synced(), nodes.synced());
    let queue = Queue::new("endpoint_slice");
    let this = Arc::new(Slices { context, services: services.clone(), pods: pods.clone(), nodes, writer });
    let wake = |key: ObjectKey| queue.add_after(key, GATHER);
    let of_slice = |slice: &EndpointSlice| this.writer.seen(slice).into_iter().for_each(wake);
    tokio::join!(
        follow(services.clone(), |service| wake(key_of(&service.metadata))),
        follow(this.writer.slices(), of_slice),
        follow_pods(pods, &services, wake),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl Slices {
    fn wanted(&self, service: &Service) -> Vec<plan::Family> {
        let Some(selector) = backends::selector(service) else { return Vec::new() };
        let mut pods = self.pods.in_namespace(&service.namespace().unwrap_or_default());
        pods.retain(|pod| matches_pairs(selector, pod.metadata.labels.as_ref()));
        let zone = |node: &str| self.nodes.get("", node).and_then(|node| node.labels().get(ZONE).cloned());
        backends::families(service).iter().map(|family| plan::family(service, family, &pods, zone)).collect()
    }
}

impl Reconcile<ObjectKey> for Slices {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let existing = self.writer.existing(key);
        let Some(service) = self.services.get(&key.0, &key.1) else {
            let leftovers = existing.into_iter().map(Write::Delete).collect();
            return self.writer.apply(key, leftovers).await.map(|()| None);
        };
        let mut template = template(&*service, MANAGER);
        if backends::is_headless(&service) {
            template.labels_mut().insert(backends::HEADLESS.into(), String::new());
        }
        let applied = self.writer.apply(key, plan::plan(&template, self.wanted(&service), existing)).await;
        if let Err(error) = &applied {
            let message = format!("Error updating Endpoint Slices for Service {}/{}: {}", key.0, key.1, reason(error));
            self.context.recorder.warning(&*service, "FailedToUpdateEndpointSlices", message);
        }
        applied.map(|()| None)
    }
}
