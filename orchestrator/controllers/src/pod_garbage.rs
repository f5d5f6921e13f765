//! Ends pods that have nobody to end them, and removes them: bound to a node that does not exist, or deleted before they
//! were bound and held by a finalizer. The first only after a while, for a node may come back, and only when the API
//! itself says that the node is gone. `garbage` is about owners.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::context::{Context, follow, found};
use crate::pods::{is_terminal, is_terminating};
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 4;
/// How long a node may be missing before its pods go; upstream's quarantine.
const MISSING_MAX: Duration = Duration::from_secs(40);

struct Stranded {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
}

pub async fn run(context: Context) {
    let (nodes, pods) = (context.informers.of::<Node>(), context.informers.of::<Pod>());
    tokio::join!(nodes.synced(), pods.synced());
    let queue = Queue::new("orphaned_pods_nodes");
    let this = Arc::new(Stranded { context, nodes: nodes.clone(), pods: pods.clone() });
    let of_pod = |pod: &Pod| {
        if is_stranded(pod, |node| nodes.get("", node).is_some()) {
            queue.add_after(key_of(&pod.metadata), MISSING_MAX);
        } else if was_never_bound(pod) {
            queue.add(key_of(&pod.metadata));
        }
    };
    let of_node = |node: &Node| {
        if nodes.get("", &node.name_any()).is_none() {
            pods.list().iter().for_each(|pod| of_pod(pod));
        }
    };
    tokio::join!(follow(nodes.clone(), of_node), follow(pods.clone(), of_pod), queue.clone().work(WORKERS, this));
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn is_stranded(pod: &Pod, exists: impl Fn(&str) -> bool) -> bool {
    !node_of(pod).is_empty() && !exists(node_of(pod))
}

/// Deleted, not bound, and no one has said that it is over.
fn was_never_bound(pod: &Pod) -> bool {
    node_of(pod).is_empty() && is_terminating(&pod.metadata) && !is_terminal(pod)
}

impl Reconcile<ObjectKey> for Stranded {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(pod) = self.pods.get(namespace, name) else { return Ok(None) };
        if was_never_bound(&pod) {
            return self.end(&pod, None).await.map(|()| None);
        }
        if !is_stranded(&pod, |node| self.nodes.get("", node).is_some()) {
            return Ok(None);
        }
        let node = node_of(&pod);
        let nodes: Api<Node> = Api::all(self.context.client.clone());
        if found(nodes.get_metadata(node).await)?.is_some() {
            return Ok(None);
        }
        tracing::info!(namespace, name, node, "deleting a pod whose node does not exist");
        self.end(&pod, Some("PodGC: node no longer exists")).await.map(|()| None)
    }
}

impl Stranded {
    /// Owners that wait for a pod's end see one. `disrupted` says what cut it short.
    async fn end(&self, pod: &Pod, disrupted: Option<&str>) -> kube::Result<()> {
        let (namespace, name) = key_of(&pod.metadata);
        let pods: Api<Pod> = self.context.namespaced(&namespace);
        if !is_terminal(pod) {
            let condition = |message| {
                json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
                    "lastTransitionTime": Time(self.context.now())})
            };
            let conditions: Vec<_> = disrupted.into_iter().map(condition).collect();
            let status = json!({ "phase": "Failed", "conditions": conditions });
            let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.uid() }, "status": status }));
            found(pods.patch_status(&name, &PatchParams::default(), &patch).await)?;
        }
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, grace_period_seconds: Some(0), ..DeleteParams::background() };
        found(pods.delete(&name, &params).await).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_deleted_before_it_was_bound_has_nobody() {
        let pod = |node: &str, deleted: Option<&str>, phase: &str| {
            let value = json!({"metadata": {"deletionTimestamp": deleted}, "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase}});
            was_never_bound(&serde_json::from_value(value).unwrap())
        };
        let deleted = Some("2026-01-01T00:00:00Z");
        assert!(pod("", deleted, "Pending"));
        assert!(!pod("", None, "Pending") && !pod("here", deleted, "Pending") && !pod("", deleted, "Failed"));
    }

    #[test]
    fn a_pod_is_stranded_on_a_node_that_is_not_there() {
        let pod = |node: Option<&str>| {
            serde_json::from_value::<Pod>(
                serde_json::json!({"metadata": {}, "spec": {"nodeName": node, "containers": []}}),
            )
            .unwrap()
        };
        let exists = |node: &str| node == "here";
        assert!(is_stranded(&pod(Some("gone")), exists));
        assert!(!is_stranded(&pod(Some("here")), exists));
        assert!(!is_stranded(&pod(None), exists) && !is_stranded(&pod(Some("")), exists));
    }
}
