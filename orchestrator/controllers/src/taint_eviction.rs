//! Moves pods off nodes with NoExecute taints that they do not tolerate, or no longer. `verdict` decides how
//! long a pod may stay, `appointments` remembers since when; `node_lifecycle` sets some of the taints, users others.

mod appointments;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::context::{Context, delete, follow, found};
use crate::on_node::{index_by_node, node_of, pods_on};
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};
use appointments::{Appointments, Due};

/// Pods worked on at once.
const WORKERS: usize = 8;
const REASON: &str = "TaintManagerEviction";

struct Evictions {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    appointments: Appointments,
}

pub async fn run(context: Context) {
    let context = context.signed_by("taint-eviction-controller");
    let (nodes, pods) = (context.informers.of::<Node>(), context.informers.of::<Pod>());
    index_by_node(&pods);
    tokio::join!(nodes.synced(), pods.synced());
    let queue = Queue::new("noexec_taint_pod");
    let appointments = Appointments::default();
    let this = Arc::new(Evictions { context, nodes: nodes.clone(), pods: pods.clone(), appointments });
    let of_pod = |pod: &Pod| {
        if this.concerns(pod) {
            queue.add(key_of(&pod.metadata));
        }
    };
    // A change comes as it was and as it is, so that taints which vanish wake their pods, too.
    let of_node = |node: &Node| {
        let tainted = !verdict::evicting(node).is_empty();
        for pod in pods_on(&this.pods, node) {
            let key = key_of(&pod.metadata);
            if tainted || this.appointments.has(&key) {
                queue.add(key);
            }
        }
    };
    tokio::join!(follow(nodes, of_node), follow(pods, of_pod), queue.clone().work(WORKERS, this.clone()));
}

impl Reconcile<ObjectKey> for Evictions {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let pod = self.pods.get(&key.0, &key.1).filter(|pod| !is_terminating(&pod.metadata));
        let Some(pod) = pod else {
            self.appointments.cancel(key);
            return Ok(None);
        };
        let node = node_of(&pod).and_then(|node| self.nodes.get("", node));
        let Some(stay) = node.and_then(|node| verdict::stay(&pod, &verdict::evicting(&node))) else {
            if self.appointments.cancel(key) {
                let message = format!("Cancelling deletion of Pod {}/{}", key.0, key.1);
                self.context.recorder.normal(&*pod, REASON, message);
            }
            return Ok(None);
        };
        let uid = pod.uid().unwrap_or_default();
        match self.appointments.due((key, &uid), stay, self.context.now()) {
            Due::In(left) => Ok(Some(left)),
            Due::Done => Ok(None),
            Due::Now => self.evict(key, &pod).await.map(|()| None),
        }
    }
}

impl Evictions {
    /// Whether the pod's node drives pods away, or did.
    fn concerns(&self, pod: &Pod) -> bool {
        let node = node_of(pod).and_then(|node| self.nodes.get("", node));
        let drives = node.is_some_and(|node| !verdict::evicting(&node).is_empty());
        drives || self.appointments.has(&key_of(&pod.metadata))
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> kube::Result<()> {
        let api: Api<Pod> = self.context.namespaced(&key.0);
        let disrupted = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(self.context.now()),
        });
        let patch = json!({ "metadata": { "uid": pod.uid() }, "status": { "conditions": [disrupted] } });
        found(api.patch_status(&key.1, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
        if delete(&api, &key.1, pod.uid()).await? {
            let message = format!("Marking for deletion Pod {}/{}", key.0, key.1);
            self.context.recorder.normal(pod, REASON, message);
        }
        self.appointments.evicted(key);
        Ok(())
    }
}
