//! What the cluster's three signers take, in upstream's words, and whose requests are approved without being asked.

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::Usage;

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// What a request asks for, read once.
#[derive(Debug, Default, Clone)]
pub struct Asked {
    pub signer: String,
    /// Who made it.
    pub requestor: String,
    pub usages: Vec<String>,
    pub name: String,
    pub organizations: Vec<String>,
    pub dns: usize,
    pub addresses: usize,
    pub mails: usize,
    pub uris: usize,
}

/// What the requestor must be allowed to create, and what is then said.
pub struct Permission {
    pub subresource: &'static str,
    pub message: &'static str,
}

impl Asked {
    /// `None` when the request is no PKCS#10 in PEM; validation let none of these in.
    pub fn of(request: &CertificateSigningRequest) -> Option<Self> {
        let spec = &request.spec;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&spec.request.0).ok()?;
        let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        let subject = &parsed.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
        let mut asked = Self {
            signer: spec.signer_name.clone(),
            requestor: spec.username.clone().unwrap_or_default(),
            usages: spec.usages.clone().unwrap_or_default(),
            name: subject.iter_common_name().next().and_then(text).unwrap_or_default(),
            organizations: subject.iter_organization().filter_map(text).collect(),
            ..Self::default()
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => asked.dns += 1,
                    GeneralName::IPAddress(_) => asked.addresses += 1,
                    GeneralName::RFC822Name(_) => asked.mails += 1,
                    GeneralName::URI(_) => asked.uris += 1,
                    _ => {}
                }
            }
        }
        Some(asked)
    }

    fn uses_exactly(&self, wanted: &[&str]) -> bool {
        self.usages.len() == wanted.len() && wanted.iter().all(|one| self.usages.iter().any(|usage| usage == one))
    }
}

/// What certificates of this signer are for; `None`: the signer is not the cluster's.
pub fn usage(signer: &str) -> Option<Usage> {
    match signer {
        CLIENT | KUBELET_CLIENT => Some(Usage::Client),
        KUBELET_SERVING => Some(Usage::Server),
        _ => None,
    }
}

/// Whether the signer takes the request.
pub fn check(asked: &Asked) -> Result<(), String> {
    match asked.signer.as_str() {
        CLIENT => check_client(asked),
        KUBELET_CLIENT => check_kubelet_client(asked),
        _ => check_kubelet_serving(asked),
    }
}

/// The permissions that make this request one to approve at once, in the order they are tried.
pub fn recognized(asked: &Asked) -> Vec<Permission> {
    if asked.signer != KUBELET_CLIENT || check_kubelet_client(asked).is_err() {
        return Vec::new();
    }
    let mut permissions = Vec::new();
    if asked.name == asked.requestor {
        permissions.push(Permission {
            subresource: "selfnodeclient",
            message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
        });
    }
    permissions.push(Permission {
        subresource: "nodeclient",
        message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    });
    permissions
}

/// When the first certificate of a PEM text ends.
pub fn ends(pem: &[u8]) -> Option<Timestamp> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn check_client(asked: &Asked) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = asked.usages.iter().find(|usage| !optional.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if !asked.usages.iter().any(|usage| usage == "client auth") {
        return Err("missing required usage for client certificate: client auth".to_owned());
    }
    Ok(())
}

fn check_kubelet_client(asked: &Asked) -> Result<(), String> {
    check_nodes_group(asked)?;
    for (count, what) in [(asked.dns, "DNS"), (asked.mails, "Email"), (asked.addresses, "IP"), (asked.uris, "URI")] {
        if count > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    check_node_name(asked)?;
    check_usages(asked, "client auth")
}

fn check_kubelet_serving(asked: &Asked) -> Result<(), String> {
    check_nodes_group(asked)?;
    if asked.dns + asked.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (count, what) in [(asked.mails, "Email"), (asked.uris, "URI")] {
        if count > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    check_usages(asked, "server auth")?;
    check_node_name(asked)
}

fn check_nodes_group(asked: &Asked) -> Result<(), String> {
    if asked.organizations == [NODES] { Ok(()) } else { Err("subject organization is not system:nodes".to_owned()) }
}

fn check_node_name(asked: &Asked) -> Result<(), String> {
    if asked.name.starts_with(NODE_PREFIX) {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
}

fn check_usages(asked: &Asked, purpose: &str) -> Result<(), String> {
    let (with, without) = (["digital signature", "key encipherment", purpose], ["digital signature", purpose]);
    if asked.uses_exactly(&with) || asked.uses_exactly(&without) {
        return Ok(());
    }
    let mut wanted = with;
    wanted.sort_unstable();
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn node() -> Asked {
        Asked {
            signer: KUBELET_CLIENT.into(),
            requestor: "system:node:a".into(),
            usages: vec!["digital signature".into(), "client auth".into()],
            name: "system:node:a".into(),
            organizations: vec![NODES.into()],
            ..Asked::default()
        }
    }

    fn verdict(change: impl FnOnce(&mut Asked), expected: Expect) {
        let mut asked = node();
        change(&mut asked);
        let permissions: Vec<_> = recognized(&asked).iter().map(|permission| permission.subresource).collect();
        expected.assert_eq(&format!("{:?} {permissions:?}", check(&asked)));
    }

    #[test]
    fn a_kubelets_client_certificate_is_a_nodes_and_no_more() {
        verdict(|_| {}, expect![[r#"Ok(()) ["selfnodeclient", "nodeclient"]"#]]);
        verdict(|asked| asked.requestor = "system:bootstrap:x".into(), expect![[r#"Ok(()) ["nodeclient"]"#]]);
        verdict(
            |asked| asked.organizations.push("system:masters".into()),
            expect![[r#"Err("subject organization is not system:nodes") []"#]],
        );
        verdict(
            |asked| asked.name = "alice".into(),
            expect![[r#"Err("subject common name does not begin with system:node:") []"#]],
        );
        verdict(|asked| asked.dns = 1, expect![[r#"Err("DNS subjectAltNames are not allowed") []"#]]);
        verdict(
            |asked| asked.usages.push("server auth".into()),
            expect![[r#"Err("usages did not match [client auth digital signature key encipherment]") []"#]],
        );
    }

    #[test]
    fn a_kubelets_serving_certificate_names_an_address_and_needs_an_approver() {
        let serving = |asked: &mut Asked| {
            asked.signer = KUBELET_SERVING.into();
            asked.usages = vec!["digital signature".into(), "key encipherment".into(), "server auth".into()];
        };
        verdict(serving, expect![[r#"Err("DNS or IP subjectAltName is required") []"#]]);
        verdict(
            |asked| {
                serving(asked);
                asked.addresses = 1;
            },
            expect!["Ok(()) []"],
        );
    }

    #[test]
    fn users_get_client_certificates_only() {
        let user = |usages: &[&str]| Asked {
            signer: CLIENT.into(),
            usages: usages.iter().map(|usage| (*usage).to_owned()).collect(),
            ..Asked::default()
        };
        assert_eq!(check(&user(&["client auth", "digital signature"])), Ok(()));
        assert_eq!(check(&user(&["server auth"])).unwrap_err(), "invalid usage for client certificate: server auth");
        let missing = "missing required usage for client certificate: client auth";
        assert_eq!(check(&user(&["digital signature"])).unwrap_err(), missing);
        assert!(usage("example.com/other").is_none());
    }
}
