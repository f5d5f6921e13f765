//! Takes the tracking finalizer from pods that no Job counts any more: theirs is gone, finished, or let them go. It is
//! the only thing that would keep them.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::member::{FINALIZER, is_tracked};
use super::view::is_finished;
use crate::context::{Context, found};
use crate::pods::controller_of;
use crate::queue::Reconcile;

pub struct Orphans {
    pub context: Context,
    pub jobs: Informer<Job>,
    pub pods: Informer<Pod>,
}

/// Whether a pod bears the finalizer for nobody.
pub fn is_orphan(pod: &Pod, jobs: &Informer<Job>) -> bool {
    if !is_tracked(pod) {
        return false;
    }
    let Some(owner) = controller_of(&pod.metadata) else { return true };
    if owner.kind != "Job" || owner.api_version != "batch/v1" {
        return false;
    }
    let job = jobs.get(pod.metadata.namespace.as_deref().unwrap_or_default(), &owner.name);
    let job = job.filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid));
    job.is_none_or(|job| is_finished(&job) && super::is_ours(&job))
}

/// A pod without this finalizer.
pub async fn let_go(api: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
    let metadata = json!({ "uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER] });
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    found(api.patch(name, &PatchParams::default(), &patch).await).map(|_| ())
}

impl Reconcile<ObjectKey> for Orphans {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let pod: Option<Arc<Pod>> = self.pods.get(&key.0, &key.1);
        if let Some(pod) = pod.filter(|pod| is_orphan(pod, &self.jobs)) {
            let_go(&self.context.namespaced(&key_of(&pod.metadata).0), &pod).await?;
        }
        Ok(None)
    }
}
