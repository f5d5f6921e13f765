//! Who approves a certificate request must hold `approve` on its signer, who signs it `sign`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::kinds::json::text;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Attributes, Authorize, Decision, Identity, Operation};

const GROUP: &str = "certificates.k8s.io";

pub struct CertificateSigners(pub Arc<dyn Authorize>);

#[async_trait]
impl Admit for CertificateSigners {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let (Some(new), Some(old), Operation::Update) = (&request.object, request.old, request.operation) else {
            return Ok(());
        };
        if request.kind.group != GROUP || request.kind.plural != "certificatesigningrequests" {
            return Ok(());
        }
        let (verb, doing) = match request.subresource {
            "approval" => ("approve", "approve requests"),
            "status" if signs(new, old) => ("sign", "sign requests"),
            _ => return Ok(()),
        };
        let signer = text(&old["spec"]["signerName"]);
        if self.may(request.identity, verb, signer) {
            return Ok(());
        }
        let why = format!("user not permitted to {doing} with signerName {signer:?}");
        Err(Status::forbidden(request.kind, request.name, &why))
    }
}

impl CertificateSigners {
    /// On this signer, or on all of its domain.
    fn may(&self, identity: &Identity, verb: &str, signer: &str) -> bool {
        let domain = signer.split('/').next().unwrap_or_default();
        [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
            let attributes = Attributes {
                verb: verb.to_owned(),
                group: GROUP.to_owned(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name,
                ..Attributes::default()
            };
            matches!(self.0.authorize(identity, &attributes), Decision::Allowed { .. })
        })
    }
}

/// Only the certificate and the conditions are the signer's word.
fn signs(new: &Value, old: &Value) -> bool {
    ["certificate", "conditions"].iter().any(|field| new["status"][*field] != old["status"][*field])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    impl Authorize for Only {
        fn authorize(&self, _: &Identity, asked: &Attributes) -> Decision {
            let reason = String::new();
            let allowed = format!("{} {}", asked.verb, asked.name) == self.0;
            if allowed { Decision::Allowed { reason } } else { Decision::Denied { reason } }
        }
    }

    #[test]
    fn a_signer_is_named_itself_or_with_its_whole_domain() {
        let may = |held, verb, signer| CertificateSigners(Arc::new(Only(held))).may(&Identity::default(), verb, signer);
        assert!(may("approve a.io/b", "approve", "a.io/b"));
        assert!(may("sign a.io/*", "sign", "a.io/b"));
        assert!(!may("sign a.io/*", "approve", "a.io/b"));
        assert!(!may("sign a.io/c", "sign", "a.io/b"));
    }
}
