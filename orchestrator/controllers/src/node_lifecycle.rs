//! Keeps a node's taints true to its conditions, so that the scheduler sends pods only where they can run.
//! `taints` decides.

mod health;
mod taints;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};

use crate::context::{Context, follow, found};
use crate::queue::{Queue, Reconcile};

/// Nodes worked on at once.
const WORKERS: usize = 8;

struct Nodes {
    context: Context,
    nodes: Informer<Node>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("node-controller");
    let nodes = context.informers.of::<Node>();
    nodes.synced().await;
    let queue = Queue::new("node_lifecycle_controller");
    let this = Arc::new(Nodes { context, nodes: nodes.clone() });
    let of_node = |node: &Node| queue.add(node.name_any());
    tokio::join!(follow(nodes, of_node), queue.clone().work(WORKERS, this));
}

impl Reconcile<String> for Nodes {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(node) = self.nodes.get("", name) else { return Ok(None) };
        self.taint(&node).await?;
        Ok(None)
    }
}

impl Nodes {
    /// Replaces the whole list, and only if nobody wrote the node meanwhile: others taint nodes, too.
    async fn taint(&self, node: &Node) -> kube::Result<()> {
        let Some(taints) = taints::wanted(node, self.context.now()) else { return Ok(()) };
        let api: Api<Node> = Api::all(self.context.client.clone());
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": node.resource_version() },
            "spec": { "taints": taints },
        });
        found(api.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
        Ok(())
    }
}
