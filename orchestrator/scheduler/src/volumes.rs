//! VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone: what a pod's volumes allow, and which volumes it
//! gets where. The other half of binding is the controllers' volume binder: it carries out what is decided here.

mod fit;
pub mod storage;
mod wanted;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt as _;

use crate::filters::Refusal;
use crate::need::Need;
use crate::plugins::Plugin;
use crate::snapshot::{NodeState, Snapshot};
pub use storage::{ClaimKey, SELECTED_NODE, Storage, is_bound};
pub use wanted::Wanted;

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
const NOTHING_TO_BIND: &str = "node(s) didn't find available persistent volumes to bind";

/// What is to be done for the claims of a pod before it is bound to its node.
#[derive(Debug, Default)]
pub struct Plan {
    /// Volumes that claims get.
    pub give: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims for which volumes are made.
    pub make: Vec<Arc<PersistentVolumeClaim>>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.give.is_empty() && self.make.is_empty()
    }

    pub fn volumes(&self) -> Vec<String> {
        self.give.iter().map(|(volume, _)| volume.name_any()).collect()
    }

    pub fn claims(&self) -> Vec<ClaimKey> {
        self.make.iter().map(|claim| storage::key(claim)).collect()
    }

    /// Every claim that is to be bound.
    pub fn awaited(&self) -> Vec<ClaimKey> {
        let given = self.give.iter().map(|(_, claim)| claim);
        given.chain(&self.make).map(|claim| storage::key(claim)).collect()
    }
}

/// Why the pod's volumes keep it from the node.
pub fn refusal(need: &Need, wanted: &Wanted, snapshot: &Snapshot, slot: u32) -> Option<Refusal> {
    let node = snapshot.at(slot);
    restricted(need, wanted, snapshot, node)
        .or_else(|| too_many(wanted, snapshot, node))
        .or_else(|| unreachable(wanted, &snapshot.storage, node))
        .or_else(|| other_zone(wanted, node))
}

fn restricted(need: &Need, wanted: &Wanted, snapshot: &Snapshot, node: &NodeState) -> Option<Refusal> {
    let conflict = need.mounts.disks.iter().any(|disk| node.disks.iter().any(|used| disk.conflicts(used)));
    if conflict {
        return Some(Refusal::for_now(Plugin::VolumeRestrictions, "node(s) had no available disk"));
    }
    let used = wanted.exclusive.iter().any(|claim| snapshot.users_of(claim) > 0);
    let reason = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
    used.then(|| Refusal::for_now(Plugin::VolumeRestrictions, reason))
}

/// More volumes than the node's driver can attach.
fn too_many(wanted: &Wanted, snapshot: &Snapshot, node: &NodeState) -> Option<Refusal> {
    let limits = snapshot.storage.csi_nodes.get(&node.name)?;
    let exceeded = limits.spec.drivers.iter().any(|driver| {
        let limit = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
        let (Some(limit), Some(new)) = (limit, wanted.attached.get(&driver.name)) else { return false };
        let used = attached(&driver.name, &snapshot.storage, node);
        let all = used.union(new).count();
        all > used.len() && all > usize::try_from(limit).unwrap_or(0)
    });
    exceeded.then(|| Refusal::for_now(Plugin::NodeVolumeLimits, "node(s) exceed max volume count"))
}

/// Volumes of a driver that pods of the node use.
fn attached(driver: &str, storage: &Storage, node: &NodeState) -> BTreeSet<String> {
    let claims = node.pods.iter().flat_map(|pod| {
        let namespace = &pod.need.kin.namespace;
        pod.need.mounts.claims.iter().filter_map(|claim| storage.claims.get(&fit::claim_key(namespace, &claim.name)))
    });
    let attachments = claims.filter_map(|claim| wanted::attachment(claim, storage));
    attachments.filter(|(by, _)| by == driver).map(|(_, volume)| volume).collect()
}

fn unreachable(wanted: &Wanted, storage: &Storage, node: &NodeState) -> Option<Refusal> {
    let mut reasons = Vec::new();
    if !wanted.bound.iter().all(|volume| fit::is_reachable(volume, node)) {
        reasons.push("node(s) had volume node affinity conflict".into());
    }
    if let Err(reason) = plan(wanted, storage, node) {
        reasons.push(reason.into());
    }
    if wanted.lacks_volume {
        reasons.push("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)".into());
    }
    (!reasons.is_empty()).then_some(Refusal { plugin: Plugin::VolumeBinding, reasons, resolvable: false })
}

fn other_zone(wanted: &Wanted, node: &NodeState) -> Option<Refusal> {
    let modern = |key: &str| key.replace("failure-domain.beta.", "topology.");
    let keys = ["zone", "region"].map(|part| format!("topology.kubernetes.io/{part}"));
    let beta = ["zone", "region"].map(|part| format!("failure-domain.beta.kubernetes.io/{part}"));
    if wanted.zones.is_empty() || !keys.iter().chain(&beta).any(|key| node.labels.contains_key(key)) {
        return None;
    }
    let fits = |(key, values): &(String, BTreeSet<String>)| {
        let value = node.labels.get(key).or_else(|| node.labels.get(&modern(key)));
        value.is_some_and(|value| values.contains(value))
    };
    let elsewhere = !wanted.zones.iter().all(fits);
    elsewhere.then(|| Refusal::for_good(Plugin::VolumeZone, "node(s) had no available volume zone"))
}

/// Which volumes the waiting claims get on this node.
pub fn plan(wanted: &Wanted, storage: &Storage, node: &NodeState) -> Result<Plan, &'static str> {
    let mut plan = Plan::default();
    let mut chosen = Vec::new();
    for claim in &wanted.waiting {
        match storage.node_of(claim) {
            Some(selected) if selected != node.name => return Err(NOTHING_TO_BIND),
            Some(_) => plan.make.push(claim.clone()),
            None => match fit::find(claim, node, storage, &chosen) {
                Some(volume) => {
                    chosen.push(volume.clone());
                    plan.give.push((volume, claim.clone()));
                }
                None => plan.make.push(claim.clone()),
            },
        }
    }
    for claim in &plan.make {
        let class = storage.class_of(claim);
        let class = class.filter(|class| !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER);
        let allowed = class.filter(|class| fit::is_allowed(class.allowed_topologies.as_deref(), node));
        let class = allowed.ok_or(NOTHING_TO_BIND)?;
        if !fit::has_room(claim, &class.provisioner, node, storage) {
            return Err("node(s) did not have enough free storage");
        }
    }
    Ok(plan)
}
