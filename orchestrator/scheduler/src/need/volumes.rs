//! The volumes of a pod that matter to where it may run: claims, and disks of old that pods cannot share.

use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::ResourceExt as _;
use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Mounts {
    pub claims: Vec<ClaimName>,
    pub disks: Vec<Disk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ClaimName {
    pub name: String,
    /// Made for this pod from its own template; then the uid that must own it.
    pub made_for: Option<String>,
}

/// A disk that its node attaches; two writers never share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Disk {
    Gce { name: String, read_only: bool },
    Aws { id: String },
    Iscsi { iqn: String, read_only: bool },
    Rbd { monitors: Vec<String>, pool: String, image: String, read_only: bool },
}

impl Mounts {
    pub fn of(pod: &Pod) -> Self {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        Self {
            claims: volumes.iter().filter_map(|volume| claim(volume, pod)).collect(),
            disks: volumes.iter().filter_map(disk).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.disks.is_empty()
    }
}

fn claim(volume: &Volume, pod: &Pod) -> Option<ClaimName> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(ClaimName { name: source.claim_name.clone(), made_for: None });
    }
    volume.ephemeral.as_ref()?;
    let name = format!("{}-{}", pod.name_any(), volume.name);
    Some(ClaimName { name, made_for: Some(pod.uid().unwrap_or_default()) })
}

fn disk(volume: &Volume) -> Option<Disk> {
    if let Some(disk) = &volume.gce_persistent_disk {
        return Some(Disk::Gce { name: disk.pd_name.clone(), read_only: disk.read_only == Some(true) });
    }
    if let Some(disk) = &volume.aws_elastic_block_store {
        return Some(Disk::Aws { id: disk.volume_id.clone() });
    }
    if let Some(disk) = &volume.iscsi {
        return Some(Disk::Iscsi { iqn: disk.iqn.clone(), read_only: disk.read_only == Some(true) });
    }
    let disk = volume.rbd.as_ref()?;
    Some(Disk::Rbd {
        monitors: disk.monitors.clone(),
        pool: disk.pool.clone().unwrap_or_else(|| "rbd".to_owned()),
        image: disk.image.clone(),
        read_only: disk.read_only == Some(true),
    })
}

impl Disk {
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gce { name, read_only }, Self::Gce { name: others, read_only: too }) => {
                name == others && !(*read_only && *too)
            }
            (Self::Aws { id }, Self::Aws { id: others }) => id == others,
            (Self::Iscsi { iqn, read_only }, Self::Iscsi { iqn: others, read_only: too }) => {
                iqn == others && !(*read_only && *too)
            }
            (
                Self::Rbd { monitors, pool, image, read_only },
                Self::Rbd { monitors: others, pool: their_pool, image: their_image, read_only: too },
            ) => {
                let meet = monitors.iter().any(|monitor| others.contains(monitor));
                meet && pool == their_pool && image == their_image && !(*read_only && *too)
            }
            _ => false,
        }
    }
}
