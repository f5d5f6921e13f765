//! Which volume suits a claim on a node: the one reserved for it, else the smallest of those that are free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amphipod_api::node_selector::{Candidate, matches};
use amphipod_api::quantity;
use amphipod_api::selector;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;

use super::storage::{ClaimKey, Storage, class_name, class_of_volume, key};
use crate::snapshot::NodeState;

/// Whether pods on the node can reach the volume.
pub fn is_reachable(volume: &PersistentVolume, node: &NodeState) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return true };
    // Volumes speak of labels alone.
    let candidate = Candidate { name: "", labels: &node.labels };
    required.node_selector_terms.iter().any(|term| matches(term, candidate))
}

/// Source: upstream's `FindMatchingVolume`. `chosen` are given to other claims of the same pod.
pub fn find(
    claim: &PersistentVolumeClaim,
    node: &NodeState,
    storage: &Storage,
    chosen: &[Arc<PersistentVolume>],
) -> Option<Arc<PersistentVolume>> {
    let is_taken = |volume: &PersistentVolume| {
        let name = volume.name_any();
        chosen.iter().any(|other| other.name_any() == name) || storage.taker(&name).is_some_and(|by| *by != key(claim))
    };
    let usable = || {
        let fits = |volume: &&Arc<PersistentVolume>| !is_taken(volume) && could_serve(claim, volume);
        storage.volumes.values().filter(fits)
    };
    if let Some(reserved) = usable().find(|volume| is_for(volume, claim)) {
        return is_reachable(reserved, node).then(|| reserved.clone());
    }
    let free = usable().filter(|volume| is_free(claim, volume) && is_reachable(volume, node));
    free.min_by_key(|volume| (capacity(volume), volume.name_any())).cloned()
}

fn could_serve(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let mode = |mode: Option<&String>| mode.cloned().unwrap_or_else(|| "Filesystem".to_owned());
    let (spec, wanted) = (volume.spec.as_ref(), claim.spec.as_ref());
    let modes = |modes: Option<&Vec<String>>| modes.into_iter().flatten().cloned().collect::<BTreeSet<String>>();
    volume.metadata.deletion_timestamp.is_none()
        && capacity(volume) >= requested(claim)
        && mode(spec.and_then(|spec| spec.volume_mode.as_ref()))
            == mode(wanted.and_then(|spec| spec.volume_mode.as_ref()))
        && modes(wanted.and_then(|spec| spec.access_modes.as_ref()))
            .is_subset(&modes(spec.and_then(|spec| spec.access_modes.as_ref())))
}

fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let same_name = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
    same_name && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
}

fn is_free(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let attributes = |name: Option<&String>| name.cloned().unwrap_or_default();
    let (spec, wanted) = (volume.spec.as_ref(), claim.spec.as_ref());
    let selector = wanted.and_then(|spec| spec.selector.as_ref());
    spec.is_some_and(|spec| spec.claim_ref.is_none())
        && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
        && selector.is_none_or(|selector| selector::matches(selector, volume.metadata.labels.as_ref()))
        && class_of_volume(volume) == class_name(claim)
        && attributes(spec.and_then(|spec| spec.volume_attributes_class_name.as_ref()))
            == attributes(wanted.and_then(|spec| spec.volume_attributes_class_name.as_ref()))
}

pub fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    stored(resources.and_then(|resources| resources.requests.as_ref()))
}

fn capacity(volume: &PersistentVolume) -> i64 {
    stored(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

fn stored(amounts: Option<&BTreeMap<String, Quantity>>) -> i64 {
    let storage = amounts.and_then(|amounts| amounts.get("storage"));
    storage.and_then(|quantity| quantity::whole(&quantity.0)).unwrap_or(0)
}

/// Whether volumes made by a class can be reached from the node; no terms are no limit.
pub fn is_allowed(terms: Option<&[TopologySelectorTerm]>, node: &NodeState) -> bool {
    let Some(terms) = terms.filter(|terms| !terms.is_empty()) else { return true };
    terms.iter().any(|term| {
        let mut expressions = term.match_label_expressions.iter().flatten().peekable();
        let says_something = expressions.peek().is_some();
        says_something
            && expressions.all(|one| node.labels.get(&one.key).is_some_and(|value| one.values.contains(value)))
    })
}

/// Whether there is room for the claim's volume, where the driver tells how much there is.
pub fn has_room(claim: &PersistentVolumeClaim, provisioner: &str, node: &NodeState, storage: &Storage) -> bool {
    let driver = storage.drivers.get(provisioner);
    if driver.is_none_or(|driver| driver.spec.storage_capacity != Some(true)) {
        return true;
    }
    let (class, wanted) = (class_name(claim), requested(claim));
    storage.capacities.values().any(|room| {
        let limit = room.maximum_volume_size.as_ref().or(room.capacity.as_ref());
        let topology = room.node_topology.as_ref();
        room.storage_class_name == class
            && limit.and_then(|limit| quantity::whole(&limit.0)).is_some_and(|limit| limit >= wanted)
            && topology.is_some_and(|topology| selector::matches(topology, Some(&node.labels)))
    })
}

pub fn claim_key(namespace: &str, name: &str) -> ClaimKey {
    (namespace.to_owned(), name.to_owned())
}
