//! Publishes the pods behind each Service with a selector as EndpointSlices of at most 100 endpoints. `plan`
//! says which slices to write, `unseen` remembers what was; `endpoints` publishes the older form.
//!
//! ```text
//!  change of Service, pod or slice ──► 3 ms for others to join ──► plan ──► create, update, delete
//! ```

mod plan;
mod unseen;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::labels::{ENDPOINT_SLICE_MANAGED_BY, SERVICE_NAME};
use amphipod_api::selector::matches_pairs;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::backends::{self, follow_pods};
use crate::context::{Context, delete, follow};
use crate::queue::{Queue, Reconcile};
use crate::replica_set::{is_namespace_terminating, reason};
use plan::{MANAGER, Write};
use unseen::Unseen;

const WORKERS: usize = 8;
/// Writes under way at once for one Service.
const WRITES_MAX: usize = 8;
/// How long a change waits for others of its Service: a rollout then writes a slice once for many pods.
const GATHER: Duration = Duration::from_millis(3);
/// The index of our slices by `namespace/service`.
const OF_SERVICE: &str = "service";
const ZONE: &str = "topology.kubernetes.io/zone";

struct Slices {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    nodes: Informer<Node>,
    unseen: Unseen,
}

pub async fn run(context: Context) {
    let context = context.signed_by("endpoint-slice-controller");
    let (services, pods) = (context.informers.of::<Service>(), context.informers.of::<Pod>());
    let (slices, nodes) = (context.informers.of::<EndpointSlice>(), context.informers.of::<Node>());
    slices.index(OF_SERVICE, |slice| service_of(slice).map(|(namespace, name)| format!("{namespace}/{name}")).into_iter().collect());
    tokio::join!(services.synced(), pods.synced(), slices.synced(), nodes.synced());
    let queue = Queue::new("endpoint_slice");
    let this = Arc::new(Slices {
        context,
        services: services.clone(),
        pods: pods.clone(),
        slices: slices.clone(),
        nodes,
        unseen: Unseen::default(),
    });
    let wake = |key: ObjectKey| queue.add_after(key, GATHER);
    let of_slice = |slice: &EndpointSlice| {
        if let Some(service) = service_of(slice) {
            this.unseen.seen(&service, slice);
            wake(service);
        }
    };
    tokio::join!(
        follow(services.clone(), |service| wake(key_of(&service.metadata))),
        follow(slices, of_slice),
        follow_pods(pods, &services, wake),
        queue.clone().work(WORKERS, this.clone()),
    );
}

/// The Service of a slice that this controller manages.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.labels();
    let ours = labels.get(ENDPOINT_SLICE_MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let name = labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some((slice.namespace().unwrap_or_default(), name.clone()))
}

impl Slices {
    fn wanted(&self, service: &Service) -> Vec<plan::Family> {
        let Some(selector) = backends::selector(service) else { return Vec::new() };
        let mut pods = self.pods.in_namespace(&service.namespace().unwrap_or_default());
        pods.retain(|pod| matches_pairs(selector, pod.metadata.labels.as_ref()));
        let zone = |node: &str| self.nodes.get("", node).and_then(|node| node.labels().get(ZONE).cloned());
        backends::families(service).iter().map(|family| plan::family(service, family, &pods, zone)).collect()
    }

    async fn apply(&self, service: &ObjectKey, writes: Vec<Write>) -> kube::Result<()> {
        // What replaces a slice is there before the slice goes.
        let (deletes, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| matches!(write, Write::Delete(_)));
        for batch in [others, deletes] {
            let mut writing = futures::stream::iter(batch)
                .map(|write| self.apply_one(service, write))
                .buffer_unordered(WRITES_MAX);
            let mut refused = Ok(());
            while let Some(result) = writing.next().await {
                refused = refused.and(result);
            }
            refused?;
        }
        Ok(())
    }

    async fn apply_one(&self, service: &ObjectKey, write: Write) -> kube::Result<()> {
        let api: Api<EndpointSlice> = self.context.namespaced(&service.0);
        match write {
            Write::Create(slice) => match api.create(&PostParams::default(), &slice).await {
                Ok(slice) => self.unseen.written(service, slice),
                // The namespace ends: nothing can be created in it and nothing needs to be.
                Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => {}
                Err(error) => return Err(error),
            },
            Write::Update(slice) => match api.replace(&slice.name_any(), &PostParams::default(), &slice).await {
                Ok(slice) => self.unseen.written(service, slice),
                Err(error) => {
                    self.unseen.forget(service, &slice.name_any());
                    return Err(error);
                }
            },
            Write::Delete(slice) => {
                delete(&api, &slice.name_any(), slice.uid()).await?;
                self.unseen.deleted(service, slice);
            }
        }
        Ok(())
    }
}

impl Reconcile<ObjectKey> for Slices {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let listed = self.slices.indexed(OF_SERVICE, &format!("{}/{}", key.0, key.1));
        let existing = self.unseen.overlay(key, &listed);
        let Some(service) = self.services.get(&key.0, &key.1) else {
            return self.apply(key, existing.into_iter().map(Write::Delete).collect()).await.map(|()| None);
        };
        let writes = plan::plan(&service, self.wanted(&service), existing);
        let applied = self.apply(key, writes).await;
        if let Err(error) = &applied {
            let message = format!("Error updating Endpoint Slices for Service {}/{}: {}", key.0, key.1, reason(error));
            self.context.recorder.warning(&*service, "FailedToUpdateEndpointSlices", message);
        }
        applied.map(|()| None)
    }
}
