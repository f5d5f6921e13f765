//! Publishes the pods behind each Service with a selector as Endpoints, the older form of `endpoint_slice`.
//! `plan` makes the object; this file reads and writes.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::selector::matches_pairs;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::backends::{self, follow_pods};
use crate::context::{Context, delete, follow};
use crate::queue::{Queue, Reconcile};
use crate::replica_set::{is_namespace_terminating, reason};
use plan::{MANAGED_BY, addresses_of, plan};

const WORKERS: usize = 4;
/// How long a change waits for others of its Service, and this again for every hundred addresses: each write
/// carries them all, and no data path waits for this older form.
const GATHER: Duration = Duration::from_millis(20);

struct Publisher {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("endpoint-controller");
    let (services, pods) = (context.informers.of::<Service>(), context.informers.of::<Pod>());
    let endpoints = context.informers.of::<Endpoints>();
    tokio::join!(services.synced(), pods.synced(), endpoints.synced());
    let queue = Queue::new("endpoint");
    let this =
        Arc::new(Publisher { context, services: services.clone(), pods: pods.clone(), endpoints: endpoints.clone() });
    let wake = |key: ObjectKey| {
        let published = this.endpoints.get(&key.0, &key.1).map_or(0, |endpoints| addresses_of(&endpoints));
        let hundreds = u32::try_from(published / 100).unwrap_or(u32::MAX);
        queue.add_after(key, GATHER.saturating_mul(hundreds.saturating_add(1)));
    };
    // Endpoints that somebody else made may come before their Service, and stay without one.
    let of_endpoints = |endpoints: &Endpoints| {
        let key = key_of(&endpoints.metadata);
        if endpoints.labels().contains_key(MANAGED_BY) || this.services.get(&key.0, &key.1).is_some() {
            wake(key);
        }
    };
    tokio::join!(
        follow(services.clone(), |service| wake(key_of(&service.metadata))),
        follow(endpoints, of_endpoints),
        follow_pods(pods, &services, wake),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl Publisher {
    async fn write(&self, service: &Service, wanted: &Endpoints) -> kube::Result<()> {
        let (namespace, name) = key_of(&service.metadata);
        let api: Api<Endpoints> = self.context.namespaced(&namespace);
        if wanted.metadata.resource_version.is_some() {
            let Err(error) = api.replace(&name, &PostParams::default(), wanted).await else { return Ok(()) };
            let message = format!("Failed to update endpoint {namespace}/{name}: {}", reason(&error));
            self.context.recorder.warning(wanted, "FailedToUpdateEndpoint", message);
            return Err(error);
        }
        match api.create(&PostParams::default(), wanted).await {
            Ok(_) => Ok(()),
            // The namespace ends: nothing can be created in it and nothing needs to be.
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let message = format!("Failed to create endpoint for service {namespace}/{name}: {}", reason(&error));
                self.context.recorder.warning(wanted, "FailedToCreateEndpoint", message);
                Err(error)
            }
        }
    }
}

impl Reconcile<ObjectKey> for Publisher {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let current = self.endpoints.get(namespace, name);
        let Some(service) = self.services.get(namespace, name) else {
            if let Some(current) = current {
                let api: Api<Endpoints> = self.context.namespaced(namespace);
                delete(&api, name, current.uid()).await?;
            }
            return Ok(None);
        };
        let Some(selector) = backends::selector(&service) else { return Ok(None) };
        let mut pods = self.pods.in_namespace(namespace);
        pods.retain(|pod| matches_pairs(selector, pod.metadata.labels.as_ref()));
        if let Some(wanted) = plan(&service, &pods, current.as_deref()) {
            self.write(&service, &wanted).await?;
        }
        Ok(None)
    }
}
