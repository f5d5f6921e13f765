//! Removes pods bound to a node that does not exist: nobody is there to end them. Only after a while, for a
//! node may come back, and only when the API itself says that the node is gone. `garbage` is about owners.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::context::{Context, follow, found};
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
        }
    };
    let of_node = |node: &Node| {
        if nodes.get("", &node.name_any()).is_none() {
            pods.list().iter().for_each(|pod| of_pod(pod));
        }
    };
    tokio::join!(follow(nodes.clone(), of_node), follow(pods.clone(), of_pod), queue.clone().work(WORKERS, this));
}

fn is_stranded(pod: &Pod, exists: impl Fn(&str) -> bool) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    !node.is_empty() && !exists(node)
}

impl Reconcile<ObjectKey> for Stranded {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(pod) = self.pods.get(namespace, name) else { return Ok(None) };
        if !is_stranded(&pod, |node| self.nodes.get("", node).is_some()) {
            return Ok(None);
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let nodes: Api<Node> = Api::all(self.context.client.clone());
        if found(nodes.get_metadata(node).await)?.is_some() {
            return Ok(None);
        }
        tracing::info!(namespace, name, node, "deleting a pod whose node does not exist");
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, grace_period_seconds: Some(0), ..DeleteParams::background() };
        let pods: Api<Pod> = self.context.namespaced(namespace);
        found(pods.delete(name, &params).await).map(|_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
