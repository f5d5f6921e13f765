//! Decides what becomes of one volume: free, bound, or released when its claim is gone.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Only the phase is to be right.
    Phase(&'static str),
    /// Its claim can be bound to it.
    WakeClaim,
    /// The claim it was meant for has another.
    Unbind,
    Reclaim(Reclaim),
}

/// What follows the release of a volume.
#[derive(Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Kept, or deleted by whoever made it.
    Nothing,
    Fail {
        reason: &'static str,
        message: String,
    },
}

/// `claim` is the one that the volume refers to, if that still exists.
pub fn step(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Step {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        return Step::Phase("Available");
    };
    if reference.uid.as_ref().is_none_or(String::is_empty) {
        return Step::Phase("Available");
    }
    let Some(claim) = claim.filter(|claim| claim.metadata.uid == reference.uid) else {
        return Step::Reclaim(reclaim(volume));
    };
    match claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default() {
        "" => Step::WakeClaim,
        bound if bound == volume.name_any() => Step::Phase("Bound"),
        _ if volume.annotations().contains_key(PROVISIONED_BY) && policy(volume) == "Delete" => {
            Step::Reclaim(reclaim(volume))
        }
        _ => Step::Unbind,
    }
}

fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

fn reclaim(volume: &PersistentVolume) -> Reclaim {
    let name = volume.name_any();
    let provisioner = volume.annotations().get(PROVISIONED_BY);
    match policy(volume) {
        "Retain" => Reclaim::Nothing,
        "Delete" if provisioner.is_some_and(|name| !name.starts_with("kubernetes.io/")) => Reclaim::Nothing,
        "Delete" => Reclaim::Fail {
            reason: "VolumeFailedDelete",
            message: format!(
                "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
            ),
        },
        "Recycle" => Reclaim::Fail {
            reason: "VolumeFailedRecycle",
            message: "No recycler plugin found for the volume!".to_owned(),
        },
        _ => Reclaim::Fail {
            reason: "VolumeUnknownReclaimPolicy",
            message: "Volume has unrecognized PersistentVolumeReclaimPolicy".to_owned(),
        },
    }
}
