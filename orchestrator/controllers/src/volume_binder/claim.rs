//! Decides what becomes of one claim: which volume it gets, why it waits, or that its volume is lost.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;

use super::matching::{best, class_of, is_for, mismatch};
use crate::pods::is_terminating;

pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Makes no volumes.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

#[derive(Debug)]
pub enum Step {
    Rest,
    Bind(Arc<PersistentVolume>),
    Wait(Option<Why>),
    /// Someone else makes a volume for it.
    Provision {
        provisioner: String,
    },
    Lost {
        reason: &'static str,
        message: &'static str,
    },
}

/// An event about the claim.
#[derive(Debug, PartialEq, Eq)]
pub struct Why {
    pub warns: bool,
    pub reason: &'static str,
    pub message: String,
}

fn warning(reason: &'static str, message: String) -> Option<Why> {
    Some(Why { warns: true, reason, message })
}

fn normal(reason: &'static str, message: &str) -> Option<Why> {
    Some(Why { warns: false, reason, message: message.to_owned() })
}

/// `volumes` are all there are; `class` the claim's, if it names one that exists.
pub fn step(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], class: Option<&StorageClass>) -> Step {
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
    let volume = named.as_ref().and_then(|name| volumes.iter().find(|volume| volume.name_any() == *name));
    if claim.annotations().contains_key(BIND_COMPLETED) {
        return bound(claim, named.is_some(), volume);
    }
    if is_terminating(&claim.metadata) {
        return Step::Rest;
    }
    match (named, volume) {
        (None, _) => unbound(claim, volumes, class),
        (Some(_), None) => Step::Wait(None),
        (Some(_), Some(volume)) => wished(claim, volume),
    }
}

fn bound(claim: &PersistentVolumeClaim, names: bool, volume: Option<&Arc<PersistentVolume>>) -> Step {
    let lost = |message| Step::Lost { reason: "ClaimLost", message };
    match volume {
        None if !names => lost("Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
        None => lost("Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        Some(volume) => match volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
            Some(other) if other.uid != claim.metadata.uid => Step::Lost {
                reason: "ClaimMisbound",
                message: "Two claims are bound to the same volume, this one is bound incorrectly",
            },
            _ => Step::Bind(volume.clone()),
        },
    }
}

fn unbound(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], class: Option<&StorageClass>) -> Step {
    let waits = class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    if let Some(volume) = best(claim, volumes, waits) {
        return Step::Bind(volume);
    }
    if waits && !claim.annotations().contains_key(SELECTED_NODE) {
        let message = "waiting for first consumer to be created before binding";
        return Step::Wait(normal("WaitForFirstConsumer", message));
    }
    let wanted = class_of(claim.annotations(), claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref()));
    match class {
        Some(class) if class.provisioner.starts_with("kubernetes.io/") => {
            let message = match class.provisioner.as_str() {
                NO_PROVISIONER => "no volume plugin matched name: kubernetes.io/no-provisioner".to_owned(),
                other => format!("no volume plugin matched name: {other}"),
            };
            Step::Wait(warning("ProvisioningFailed", message))
        }
        Some(class) => Step::Provision { provisioner: class.provisioner.clone() },
        None if !wanted.is_empty() => {
            let message = format!("storageclass.storage.k8s.io {wanted:?} not found");
            Step::Wait(warning("ProvisioningFailed", message))
        }
        None => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            Step::Wait(normal("FailedBinding", message))
        }
    }
}

/// The claim asks for this volume.
fn wished(claim: &PersistentVolumeClaim, volume: &Arc<PersistentVolume>) -> Step {
    let name = volume.name_any();
    if is_for(volume, claim) {
        return Step::Bind(volume.clone());
    }
    if volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some()) {
        let message = format!("volume {name:?} already bound to a different claim.");
        return Step::Wait(warning("FailedBinding", message));
    }
    match mismatch(claim, volume) {
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            Step::Wait(warning("VolumeMismatch", message))
        }
        None => Step::Bind(volume.clone()),
    }
}
