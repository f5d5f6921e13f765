//! Writes what was decided of claims and volumes: each write only onto what was read, so that a volume is given once.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::claim::{BIND_COMPLETED, BOUND_BY_CONTROLLER, Why};
use super::{Binder, matching};
use crate::context::{difference, found};

const PROVISIONERS: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

impl Binder {
    fn claim_api(&self, claim: &PersistentVolumeClaim) -> Api<PersistentVolumeClaim> {
        self.context.namespaced(&claim.namespace().unwrap_or_default())
    }

    pub(super) fn volume_api(&self) -> Api<PersistentVolume> {
        Api::all(self.context.client.clone())
    }

    /// Both sides know each other; the volume first, so that no other claim gets it.
    pub(super) async fn bind(&self, claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> kube::Result<()> {
        let bound = self.write_volume(volume, &with_claim(volume, claim)).await?;
        let bound = self.set_phase(&bound, "Bound", "").await?;
        let mut named = claim.clone();
        if claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) != bound.metadata.name.as_deref() {
            named.spec.get_or_insert_default().volume_name = bound.metadata.name.clone();
            named.annotations_mut().entry(BOUND_BY_CONTROLLER.into()).or_insert_with(|| "yes".into());
        }
        named.annotations_mut().entry(BIND_COMPLETED.into()).or_insert_with(|| "yes".into());
        let named = self.write_claim(claim, &named).await?;
        self.set_claim_phase(&named, "Bound", Some(&bound)).await.map(drop)
    }

    /// Only onto what was read.
    pub(super) async fn write_claim(
        &self,
        before: &PersistentVolumeClaim,
        after: &PersistentVolumeClaim,
    ) -> kube::Result<PersistentVolumeClaim> {
        let Some(patch) = difference(before, after) else { return Ok(after.clone()) };
        let patch = at_version(patch, before.resource_version());
        self.claim_api(before).patch(&before.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
    }

    async fn write_volume(
        &self,
        before: &PersistentVolume,
        after: &PersistentVolume,
    ) -> kube::Result<PersistentVolume> {
        let Some(patch) = difference(before, after) else { return Ok(after.clone()) };
        let patch = at_version(patch, before.resource_version());
        self.volume_api().patch(&before.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
    }

    pub(super) async fn set_phase(
        &self,
        volume: &PersistentVolume,
        phase: &str,
        message: &str,
    ) -> kube::Result<PersistentVolume> {
        let mut after = volume.clone();
        let status = after.status.get_or_insert_default();
        if status.phase.as_deref() == Some(phase) {
            return Ok(after);
        }
        status.phase = Some(phase.into());
        status.message = Some(message.to_owned()).filter(|message| !message.is_empty());
        let Some(patch) = difference(volume, &after) else { return Ok(after) };
        let patch = at_version(patch, volume.resource_version());
        self.volume_api().patch_status(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
    }

    pub(super) async fn set_claim_phase(
        &self,
        claim: &PersistentVolumeClaim,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> kube::Result<bool> {
        let mut after = claim.clone();
        let status = after.status.get_or_insert_default();
        let spec = volume.and_then(|volume| volume.spec.as_ref());
        let was_bound = status.phase.as_deref() == Some("Bound");
        status.phase = Some(phase.into());
        status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
        // The capacity of a bound claim grows when its volume has been resized, and that its node says.
        if !(was_bound && phase == "Bound" && status.capacity.is_some()) {
            status.capacity = spec.and_then(|spec| spec.capacity.clone());
            status.current_volume_attributes_class_name =
                spec.and_then(|spec| spec.volume_attributes_class_name.clone()).filter(|name| !name.is_empty());
        }
        let Some(patch) = difference(claim, &after) else { return Ok(false) };
        let patch = Patch::Merge(at_version(patch, claim.resource_version()));
        let written = self.claim_api(claim).patch_status(&claim.name_any(), &PatchParams::default(), &patch).await;
        found(written).map(|_| true)
    }

    pub(super) async fn unbind(&self, volume: &PersistentVolume) -> kube::Result<()> {
        let mut after = volume.clone();
        let by_us = after.annotations_mut().remove(BOUND_BY_CONTROLLER).is_some();
        let spec = after.spec.get_or_insert_default();
        match by_us {
            true => spec.claim_ref = None,
            false => spec.claim_ref.iter_mut().for_each(|reference| reference.uid = None),
        }
        let after = self.write_volume(volume, &after).await?;
        self.set_phase(&after, "Available", "").await.map(drop)
    }

    pub(super) fn tell(&self, claim: &PersistentVolumeClaim, why: &Why) {
        match why.warns {
            true => self.context.recorder.warning(claim, why.reason, why.message.clone()),
            false => self.context.recorder.normal(claim, why.reason, why.message.clone()),
        }
    }

    pub(super) async fn await_provisioner(&self, claim: &PersistentVolumeClaim, provisioner: &str) -> kube::Result<()> {
        let mut asked = claim.clone();
        for key in PROVISIONERS {
            asked.annotations_mut().insert(key.into(), provisioner.into());
        }
        let asked = self.write_claim(claim, &asked).await?;
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        self.context.recorder.normal(claim, "ExternalProvisioning", message);
        self.set_claim_phase(&asked, "Pending", None).await.map(drop)
    }
}

fn with_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut bound = volume.clone();
    let is_complete = |reference: &ObjectReference| reference.uid == claim.metadata.uid;
    let is_ours = matching::is_for(volume, claim);
    if !is_ours || !volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(is_complete) {
        bound.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("PersistentVolumeClaim".into()),
            namespace: claim.metadata.namespace.clone(),
            name: claim.metadata.name.clone(),
            uid: claim.metadata.uid.clone(),
            resource_version: claim.metadata.resource_version.clone(),
            field_path: None,
        });
    }
    if !is_ours {
        bound.annotations_mut().entry(BOUND_BY_CONTROLLER.into()).or_insert_with(|| "yes".into());
    }
    bound
}

fn at_version(mut patch: Value, version: Option<String>) -> Value {
    patch["metadata"]["resourceVersion"] = json!(version);
    patch
}
