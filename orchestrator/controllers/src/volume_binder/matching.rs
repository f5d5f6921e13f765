//! Which volume suits a claim: class, modes, size, labels; of several the smallest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amphipod_api::quantity::Quantity;
use amphipod_api::selector;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec};
use kube::ResourceExt;

use crate::pods::is_terminating;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const STORAGE: &str = "storage";

/// The class by its old annotation, or by the field.
pub fn class_of(annotations: &BTreeMap<String, String>, field: Option<&String>) -> String {
    annotations.get(BETA_CLASS).or(field).cloned().unwrap_or_default()
}

/// Whether the volume is reserved for this claim, or bound to it.
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let same_name = reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
    same_name && reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
}

/// The volume reserved for the claim, or the smallest that suits it, of those with the fewest access modes. A claim that
/// waits for its first consumer gets only what is reserved for it.
pub fn best(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    waits: bool,
) -> Option<Arc<PersistentVolume>> {
    let mut by_modes: BTreeMap<(usize, BTreeSet<String>), Vec<&Arc<PersistentVolume>>> = BTreeMap::new();
    for volume in volumes {
        let modes = modes(volume);
        if wanted_modes(claim).is_subset(&modes) {
            by_modes.entry((modes.len(), modes)).or_default().push(volume);
        }
    }
    by_modes.into_values().find_map(|volumes| best_of(claim, &volumes, waits))
}

fn best_of(
    claim: &PersistentVolumeClaim,
    volumes: &[&Arc<PersistentVolume>],
    waits: bool,
) -> Option<Arc<PersistentVolume>> {
    let large_enough = |volume: &PersistentVolume| size(volume) >= wanted_size(claim);
    let usable = || {
        let fits = |volume: &&&Arc<PersistentVolume>| {
            !is_terminating(&volume.metadata)
                && volume_mode(volume) == wanted_volume_mode(claim)
                && large_enough(volume)
        };
        volumes.iter().filter(fits)
    };
    if let Some(reserved) = usable().find(|volume| is_for(volume, claim)) {
        return Some((*reserved).clone());
    }
    let suits = |volume: &&&Arc<PersistentVolume>| {
        let spec = volume.spec.as_ref();
        let is_available = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
        let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        is_available
            && spec.is_some_and(|spec| spec.claim_ref.is_none())
            && selector.is_none_or(|selector| selector::matches(selector, volume.metadata.labels.as_ref()))
            && same_class(claim, volume)
            && attributes_of(claim) == attributes(volume)
    };
    let smallest = usable().filter(|_| !waits).filter(suits).min_by_key(|volume| size(volume));
    smallest.map(|volume| (*volume).clone())
}

/// Why a volume that a claim asks for by name cannot be its own; upstream's words.
pub fn mismatch(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<&'static str> {
    if size(volume) < wanted_size(claim) {
        Some("requested PV is too small")
    } else if !same_class(claim, volume) {
        Some("storageClassName does not match")
    } else if attributes_of(claim) != attributes(volume) {
        Some("volumeAttributesClassName does not match")
    } else if volume_mode(volume) != wanted_volume_mode(claim) {
        Some("incompatible volumeMode")
    } else if !wanted_modes(claim).is_subset(&modes(volume)) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

fn same_class(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let of_claim = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    let of_volume = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    class_of(claim.annotations(), of_claim) == class_of(volume.annotations(), of_volume)
}

fn attributes_of(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).unwrap_or_default()
}

fn attributes(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).unwrap_or_default()
}

fn modes(volume: &PersistentVolume) -> BTreeSet<String> {
    volume.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten().cloned()).collect()
}

fn wanted_modes(claim: &PersistentVolumeClaim) -> BTreeSet<String> {
    claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten().cloned()).collect()
}

fn volume_mode(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem")
}

fn wanted_volume_mode(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem")
}

fn size(volume: &PersistentVolume) -> i64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get(STORAGE));
    capacity.and_then(|quantity| Quantity::parse(&quantity.0)).map_or(0, Quantity::whole)
}

fn wanted_size(claim: &PersistentVolumeClaim) -> i64 {
    let requests = |spec: &PersistentVolumeClaimSpec| spec.resources.as_ref()?.requests.as_ref()?.get(STORAGE).cloned();
    let wanted = claim.spec.as_ref().and_then(requests);
    wanted.and_then(|quantity| Quantity::parse(&quantity.0)).map_or(0, Quantity::whole)
}
