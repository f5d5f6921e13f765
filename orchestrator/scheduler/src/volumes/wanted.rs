//! What a pod's claims mean at the moment: volumes that it must reach, claims that get a volume when it has a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt as _;

use super::storage::{ClaimKey, Storage, class_name, is_bound, key};
use crate::filters::Refusal;
use crate::need::Need;
use crate::need::volumes::ClaimName;
use crate::plugins::Plugin;

const ZONES: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

#[derive(Debug, Default)]
pub struct Wanted {
    /// Volumes of bound claims.
    pub bound: Vec<Arc<PersistentVolume>>,
    /// A bound claim's volume is not there.
    pub lacks_volume: bool,
    /// Claims that wait for their first consumer, smallest request first.
    pub waiting: Vec<Arc<PersistentVolumeClaim>>,
    /// Labels of bound volumes, and the values that a node may have.
    pub zones: Vec<(String, BTreeSet<String>)>,
    /// Claims that one pod alone may use.
    pub exclusive: Vec<ClaimKey>,
    /// Driver → volumes that a node must attach.
    pub attached: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    /// `Err` when no node will do, whatever it is.
    pub fn of(need: &Need, storage: &Storage) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        let mut immediate = false;
        for name in &need.mounts.claims {
            let claim = found(name, need, storage)?;
            let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
            if modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod")) {
                wanted.exclusive.push(key(claim));
            }
            if let Some((driver, volume)) = attachment(claim, storage) {
                wanted.attached.entry(driver).or_default().insert(volume);
            }
            if is_bound(claim) {
                wanted.take_bound(claim, storage);
            } else if waits(claim, storage) {
                wanted.waiting.push(claim.clone());
            } else {
                immediate = true;
            }
        }
        if immediate {
            return Err(hopeless("pod has unbound immediate PersistentVolumeClaims".to_owned()));
        }
        wanted.waiting.sort_by_key(|claim| super::fit::requested(claim));
        Ok(wanted)
    }

    fn take_bound(&mut self, claim: &PersistentVolumeClaim, storage: &Storage) {
        let Some(volume) = storage.volume_of(claim) else {
            self.lacks_volume = true;
            return;
        };
        for zone in ZONES {
            if let Some(value) = volume.labels().get(zone) {
                self.zones.push((zone.to_owned(), value.split("__").map(str::to_owned).collect()));
            }
        }
        self.bound.push(volume.clone());
    }
}

fn hopeless(reason: String) -> Refusal {
    Refusal { plugin: Plugin::VolumeBinding, reasons: vec![reason.into()], resolvable: false }
}

fn found<'a>(name: &ClaimName, need: &Need, storage: &'a Storage) -> Result<&'a Arc<PersistentVolumeClaim>, Refusal> {
    let ClaimName { name, made_for } = name;
    let Some(claim) = storage.claims.get(&(need.kin.namespace.clone(), name.clone())) else {
        return Err(hopeless(match made_for {
            Some(_) => format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"),
            None => format!("persistentvolumeclaim {name:?} not found"),
        }));
    };
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase == Some("Lost") {
        let volume = super::storage::volume_name(claim).unwrap_or_default();
        let reason = format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}");
        return Err(hopeless(reason));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(hopeless(format!("persistentvolumeclaim {name:?} is being deleted")));
    }
    if let Some(uid) = made_for
        && !claim.owner_references().iter().any(|owner| owner.uid == *uid && owner.controller == Some(true))
    {
        let namespace = &need.kin.namespace;
        let reason = format!("PVC {namespace}/{name} was not created for pod: pod is not owner");
        return Err(hopeless(reason));
    }
    Ok(claim)
}

/// Its class gives it a volume once it is known where it will be used.
fn waits(claim: &PersistentVolumeClaim, storage: &Storage) -> bool {
    let mode = storage.class_of(claim).and_then(|class| class.volume_binding_mode.as_deref());
    mode == Some("WaitForFirstConsumer") && super::storage::volume_name(claim).is_none()
}

/// The driver that attaches the claim's volume, and the volume's name there.
pub fn attachment(claim: &PersistentVolumeClaim, storage: &Storage) -> Option<(String, String)> {
    let volume = storage.volume_of(claim);
    if let Some(volume) = volume {
        let source = volume.spec.as_ref()?.csi.as_ref()?;
        return Some((source.driver.clone(), source.volume_handle.clone()));
    }
    let class = storage.classes.get(class_name(claim))?;
    let (namespace, name) = key(claim);
    Some((class.provisioner.clone(), format!("{namespace}/{name}")))
}
