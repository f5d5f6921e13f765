//! Claims, volumes and classes as the API tells them, and what was given away since.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass};
use kube::ResourceExt as _;

/// `(namespace, name)`.
pub type ClaimKey = (String, String);

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[derive(Default)]
pub struct Storage {
    pub claims: HashMap<ClaimKey, Arc<PersistentVolumeClaim>>,
    pub volumes: HashMap<String, Arc<PersistentVolume>>,
    pub classes: HashMap<String, Arc<StorageClass>>,
    pub drivers: HashMap<String, Arc<CSIDriver>>,
    /// By node.
    pub csi_nodes: HashMap<String, Arc<CSINode>>,
    pub capacities: HashMap<ClaimKey, Arc<CSIStorageCapacity>>,
    /// Volumes that were given to claims, until both sides say so.
    given: HashMap<String, ClaimKey>,
    /// Nodes for which claims shall get volumes, until they say so themselves.
    sent: HashMap<ClaimKey, String>,
}

impl Storage {
    pub fn class_of(&self, claim: &PersistentVolumeClaim) -> Option<&Arc<StorageClass>> {
        self.classes.get(class_name(claim))
    }

    pub fn volume_of(&self, claim: &PersistentVolumeClaim) -> Option<&Arc<PersistentVolume>> {
        self.volumes.get(volume_name(claim)?)
    }

    /// The claim to which a volume was given a moment ago.
    pub fn taker(&self, volume: &str) -> Option<&ClaimKey> {
        self.given.get(volume)
    }

    pub fn give(&mut self, volume: &str, to: &ClaimKey) {
        self.given.insert(volume.to_owned(), to.clone());
    }

    pub fn send(&mut self, claim: &ClaimKey, node: &str) {
        self.sent.insert(claim.clone(), node.to_owned());
    }

    /// It did not come to that, or it is done.
    pub fn take_back(&mut self, volumes: &[String], claims: &[ClaimKey]) {
        volumes.iter().for_each(|volume| _ = self.given.remove(volume));
        claims.iter().for_each(|claim| _ = self.sent.remove(claim));
    }

    /// The node for which the claim gets, or shall get, its volume.
    pub fn node_of<'a>(&'a self, claim: &'a PersistentVolumeClaim) -> Option<&'a str> {
        let said = claim.annotations().get(SELECTED_NODE).map(String::as_str);
        said.or_else(|| self.sent.get(&key(claim)).map(String::as_str))
    }
}

pub fn key(claim: &PersistentVolumeClaim) -> ClaimKey {
    (claim.namespace().unwrap_or_default(), claim.name_any())
}

pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Both sides know each other.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && claim.annotations().contains_key(BIND_COMPLETED)
}

/// The class by its old annotation, or by the field.
pub fn class_name(claim: &PersistentVolumeClaim) -> &str {
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    claim.annotations().get(BETA_CLASS).map(String::as_str).or(field).unwrap_or_default()
}

pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let field = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    volume.annotations().get(BETA_CLASS).map(String::as_str).or(field).unwrap_or_default()
}
