//! PersistentVolumeClaimResize: a claim may grow once it is bound, when its storage class says so.

use amphipod_api::quantity::Quantity;
use async_trait::async_trait;
use serde_json::Value;

use super::writes;
use crate::kinds::json::{scalar, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const CLASSES: &str = "storage.k8s.io/storageclasses";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const UNBOUND: &str = "Only bound persistent volume claims can be expanded";
const FIXED: &str =
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

pub struct ClaimResize;

#[async_trait]
impl Admit for ClaimResize {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Update, "persistentvolumeclaims") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (request.object.as_ref(), request.old) else { return Ok(()) };
        if !grows(new, old) {
            return Ok(());
        }
        let refuse = |why: &str| Err(Status::forbidden(request.kind, request.name, why));
        if old["status"]["phase"] != "Bound" {
            return refuse(UNBOUND);
        }
        let name = class(new);
        let expands = !name.is_empty()
            && name == class(old)
            && request.cluster.get(CLASSES, "", name).is_some_and(|class| class["allowVolumeExpansion"] == true);
        if expands { Ok(()) } else { refuse(FIXED) }
    }
}

fn grows(new: &Value, old: &Value) -> bool {
    let size = |claim: &Value| Quantity::parse(&scalar(&claim["spec"]["resources"]["requests"]["storage"]));
    size(new).unwrap_or(Quantity::ZERO) > size(old).unwrap_or(Quantity::ZERO)
}

fn class(claim: &Value) -> &str {
    let annotation = claim["metadata"]["annotations"].get(CLASS_ANNOTATION);
    text(annotation.unwrap_or(&claim["spec"]["storageClassName"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_more_is_a_resize() {
        let claim = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
        assert!(grows(&claim("2Gi"), &claim("1Gi")));
        assert!(!grows(&claim("1024Mi"), &claim("1Gi")));
        assert!(!grows(&claim("1Gi"), &claim("2Gi")));
    }
}
