//! An ingress that names no class, by field or by the old annotation, gets the default one.

use async_trait::async_trait;

use super::default_storage_class::default_of;
use crate::kinds::json::{is_set, present, set};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const CLASSES: &str = "networking.k8s.io/ingressclasses";
const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub struct DefaultIngressClass;

#[async_trait]
impl Admit for DefaultIngressClass {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let is_ingress = request.kind.group == "networking.k8s.io" && request.kind.plural == "ingresses";
        if !is_ingress || request.operation != Operation::Create || !request.subresource.is_empty() {
            return Ok(());
        }
        let Some(ingress) = request.object.as_mut() else { return Ok(()) };
        let named = ingress["metadata"]["annotations"].get(CLASS_ANNOTATION).is_some();
        if named || is_set(&ingress["spec"]["ingressClassName"]) {
            return Ok(());
        }
        if let (Some(class), Some(spec)) = (default_of(request.cluster, CLASSES, &[MARK]), present(ingress, "spec")) {
            set(spec, "ingressClassName", class.into());
        }
        Ok(())
    }
}
