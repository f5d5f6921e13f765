//! StorageObjectInUseProtection: claims, volumes and attribute classes are born with a finalizer, which the protection
//! controllers take off once nothing uses them.

use amphipod_api::labels::{CLAIM_PROTECTION, CLASS_PROTECTION, VOLUME_PROTECTION};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::kinds::json::{items, present, set};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

pub struct StorageProtection;

#[async_trait]
impl Admit for StorageProtection {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.subresource.is_empty() {
            return Ok(());
        }
        let finalizer = match (request.kind.group, request.kind.plural) {
            ("", "persistentvolumeclaims") => CLAIM_PROTECTION,
            ("", "persistentvolumes") => VOLUME_PROTECTION,
            ("storage.k8s.io", "volumeattributesclasses") => CLASS_PROTECTION,
            _ => return Ok(()),
        };
        if let Some(metadata) = request.object.as_mut().and_then(|object| present(object, "metadata")) {
            protect(metadata, finalizer);
        }
        Ok(())
    }
}

fn protect(metadata: &mut Value, finalizer: &str) {
    let mut finalizers = items(&metadata["finalizers"]).to_vec();
    if !finalizers.iter().any(|one| one == finalizer) {
        finalizers.push(finalizer.into());
        set(metadata, "finalizers", json!(finalizers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_is_added_once() {
        let mut metadata = json!({ "finalizers": ["mine"] });
        protect(&mut metadata, CLAIM_PROTECTION);
        protect(&mut metadata, CLAIM_PROTECTION);
        assert_eq!(metadata, json!({ "finalizers": ["mine", CLAIM_PROTECTION] }));
    }
}
