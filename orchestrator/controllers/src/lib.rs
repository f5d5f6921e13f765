//! The controllers: each makes one promise of the API true, again and again. This file is their table.
//! They read through `Informers`, write through a `kube::Client`, and share nothing but `Context`.

mod account_secrets;
mod amount;
mod backends;
mod certificate_requests;
mod claim;
mod cluster_role_aggregation;
mod context;
mod crew;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod finished_jobs;
mod flow_schemas;
mod garbage;
mod hash;
mod history;
mod horizontal_pod_autoscaler;
mod job;
mod latest;
mod namespace;
mod node_lifecycle;
mod on_node;
mod pending;
mod pod_garbage;
mod pods;
mod queue;
mod replica_set;
mod resources;
mod service_account;
mod stateful_set;
mod storage_protection;
mod taint_eviction;
mod volume_binder;

use std::sync::Arc;

use amphipod_api::{Informers, Recorder, Reporter};
use tokio::task::JoinSet;

pub use certificate_requests::{SignRequests, Usage};
pub use context::Clock;
use context::Context;

/// What the controllers must be told.
#[derive(Clone)]
pub struct Options {
    pub clock: Clock,
    /// PEM text of the certificate that pods trust the API by.
    pub root_ca: String,
    /// Signs certificate requests; `None`: nobody does here.
    pub authority: Option<Arc<dyn SignRequests>>,
}

/// Runs all controllers until dropped. A controller that panics outside of its reconciler, of which a key can be tried
/// again, takes the others with it, so that nobody goes on with half of the cluster's promises kept.
pub async fn run(client: kube::Client, informers: Informers, options: Options) {
    let reporter = Reporter { component: "kube-controller-manager".into(), instance: String::new() };
    let recorder = Recorder::start(client.clone(), reporter);
    let context = Context { client, informers, recorder, clock: options.clock };
    let mut controllers = JoinSet::new();
    controllers.spawn(account_secrets::run(context.clone()));
    if let Some(authority) = options.authority {
        controllers.spawn(certificate_requests::run(context.clone(), authority));
    }
    controllers.spawn(cluster_role_aggregation::run(context.clone()));
    controllers.spawn(daemon_set::run(context.clone()));
    controllers.spawn(cron_job::run(context.clone()));
    controllers.spawn(deployment::run(context.clone()));
    controllers.spawn(disruption::run(context.clone()));
    controllers.spawn(endpoint_slice::run(context.clone()));
    controllers.spawn(endpoint_slice_mirroring::run(context.clone()));
    controllers.spawn(endpoints::run(context.clone()));
    controllers.spawn(finished_jobs::run(context.clone()));
    controllers.spawn(flow_schemas::run(context.clone()));
    controllers.spawn(garbage::run(context.clone()));
    controllers.spawn(horizontal_pod_autoscaler::run(context.clone()));
    controllers.spawn(job::run(context.clone()));
    controllers.spawn(namespace::run(context.clone()));
    controllers.spawn(node_lifecycle::run(context.clone()));
    controllers.spawn(pod_garbage::run(context.clone()));
    controllers.spawn(replica_set::run(context.clone()));
    controllers.spawn(stateful_set::run(context.clone()));
    controllers.spawn(storage_protection::run(context.clone()));
    controllers.spawn(taint_eviction::run(context.clone()));
    controllers.spawn(volume_binder::run(context.clone()));
    controllers.spawn(service_account::run(context, options.root_ca));
    while let Some(ended) = controllers.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}
