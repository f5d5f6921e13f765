//! Keeps what the cluster believes about a node true: a silent node is unknown, its taints follow its
//! conditions, and pods of a node that is not ready are not ready. `health` and `taints` decide, `signs`
//! remembers; `taint_eviction` is who moves the pods away.

mod health;
mod signs;
pub mod taints;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::context::{Context, follow, found};
use crate::on_node::{index_by_node, pods_on};
use crate::queue::{Queue, Reconcile};
use health::Verdict;
use signs::Signs;

/// Nodes worked on at once.
const WORKERS: usize = 8;
const LEASES: &str = "kube-node-lease";

struct Nodes {
    context: Context,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    signs: Signs,
}

pub async fn run(context: Context) {
    let context = context.signed_by("node-controller");
    let nodes = context.informers.of::<Node>();
    let leases = context.informers.of::<Lease>();
    let pods = context.informers.of::<Pod>();
    index_by_node(&pods);
    tokio::join!(nodes.synced(), leases.synced(), pods.synced());
    let queue = Queue::new("node_lifecycle_controller");
    let this = Arc::new(Nodes { context, nodes: nodes.clone(), leases: leases.clone(), pods, signs: Signs::default() });
    let of_node = |node: &Node| queue.add(node.name_any());
    // A renewal only moves the moment at which the node's timer will find it silent.
    let of_lease = |lease: &Lease| {
        if lease.namespace().as_deref() == Some(LEASES) {
            this.signs.renewed(&lease.name_any(), renewed(lease), this.context.now());
        }
    };
    tokio::join!(follow(nodes, of_node), follow(leases, of_lease), queue.clone().work(WORKERS, this.clone()));
}

fn renewed(lease: &Lease) -> Option<MicroTime> {
    lease.spec.as_ref()?.renew_time.clone()
}

impl Reconcile<String> for Nodes {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(node) = self.nodes.get("", name) else {
            if let Some(gone) = self.signs.forget(name) {
                let message = format!("Node {name} event: Removing Node {name} from Controller");
                self.context.recorder.normal(&*gone, "RemovingNode", message);
            }
            return Ok(None);
        };
        let renewed = self.leases.get(LEASES, name).and_then(|lease| renewed(&lease));
        let seen = self.signs.look(node.clone(), renewed, self.context.now());
        if seen.new {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.context.recorder.normal(&*node, "RegisteredNode", message);
        }
        if self.taint(&node).await? {
            // The node is another now; that wakes us.
            return Ok(None);
        }
        if health::condition(&node, "Ready").is_some_and(|ready| ready.status != "True") {
            self.mark_pods(&node).await?;
        }
        match health::judge(&node, seen.silent_for, self.context.now()) {
            Verdict::Known => Ok(None),
            Verdict::Wait(left) => Ok(Some(left)),
            Verdict::Set(conditions) => self.doubt(&node, conditions).await.map(|()| None),
        }
    }
}

impl Nodes {
    fn nodes_api(&self) -> Api<Node> {
        Api::all(self.context.client.clone())
    }

    /// Replaces the whole list, and only if nobody wrote the node meanwhile: others taint nodes, too.
    async fn taint(&self, node: &Node) -> kube::Result<bool> {
        let Some(taints) = taints::wanted(node, self.context.now()) else { return Ok(false) };
        let patch = json!({
            "metadata": { "resourceVersion": node.resource_version() },
            "spec": { "taints": taints },
        });
        found(self.nodes_api().patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
        Ok(true)
    }

    /// Unless the node spoke meanwhile, which the API answers with a conflict.
    async fn doubt(&self, node: &Node, conditions: Vec<NodeCondition>) -> kube::Result<()> {
        let name = node.name_any();
        let patch = Patch::Strategic(json!({
            "metadata": { "resourceVersion": node.resource_version() },
            "status": { "conditions": conditions },
        }));
        let patched = self.nodes_api().patch_status(&name, &PatchParams::default(), &patch).await;
        if found(patched)?.is_some() && health::is_ready(node) {
            let message = format!("Node {name} status is now: NodeNotReady");
            self.context.recorder.normal(node, "NodeNotReady", message);
        }
        Ok(())
    }

    /// Nobody can say that these pods still serve. Woken by the node alone, so that its agent, if it speaks
    /// again, has the last word on each pod.
    async fn mark_pods(&self, node: &Node) -> kube::Result<()> {
        for pod in pods_on(&self.pods, node).into_iter().filter(|pod| crate::pods::is_ready(pod)) {
            let api: Api<Pod> = self.context.namespaced(&pod.namespace().unwrap_or_default());
            let ready = json!({ "type": "Ready", "status": "False", "lastTransitionTime": Time(self.context.now()) });
            let patch = json!({ "metadata": { "uid": pod.uid() }, "status": { "conditions": [ready] } });
            let patched = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await;
            match patched {
                Ok(_) => self.context.recorder.warning(&*pod, "NodeNotReady", "Node is not ready"),
                // Gone, or another pod of the same name.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
