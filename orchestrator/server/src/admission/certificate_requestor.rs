//! A certificate request says who made it, in the server's words; none may ask for the masters' group.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::certificates::request_subject;
use crate::kinds::certificate_signing_request::stamp_requestor;
use crate::kinds::json::text;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

pub struct CertificateRequestor;

#[async_trait]
impl Admit for CertificateRequestor {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let is_new = request.operation == Operation::Create && request.subresource.is_empty();
        if !is_new || request.kind.kind != "CertificateSigningRequest" {
            return Ok(());
        }
        let Some(object) = request.object.as_mut() else { return Ok(()) };
        if asks_for_masters(object) {
            let why = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
            return Err(Status::forbidden(request.kind, request.name, &why));
        }
        stamp_requestor(object, request.identity);
        Ok(())
    }
}

fn asks_for_masters(object: &Value) -> bool {
    if text(&object["spec"]["signerName"]) != CLIENT_SIGNER {
        return false;
    }
    let pem = STANDARD.decode(text(&object["spec"]["request"])).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let subject = pem.and_then(|pem| request_subject(&pem).ok());
    subject.is_some_and(|subject| subject.groups.iter().any(|group| group == MASTERS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_masters_group_is_kept_from_the_client_signer() {
        for (group, signer, refused) in [
            (MASTERS, CLIENT_SIGNER, true),
            ("developers", CLIENT_SIGNER, false),
            (MASTERS, "example.com/signer", false),
        ] {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, "me");
            params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
            let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
            let object = json!({ "spec": { "signerName": signer, "request": STANDARD.encode(pem) } });
            assert_eq!(asks_for_masters(&object), refused, "{group} {signer}");
        }
    }
}
