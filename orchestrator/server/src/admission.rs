//! What the cluster has to say about an object before it is stored: one list, in upstream's order, a file per plug-in.
//! Each file decides in pure functions on JSON; the `Admit` around them only looks things up.

mod account_secret;
mod certificate_requestor;
mod certificate_signers;
mod claim_resize;
mod compiled;
mod default_ingress_class;
mod default_storage_class;
mod default_tolerations;
mod grants;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod pod_priority;
mod pod_security;
mod pod_service_account;
pub mod policies;
pub mod resource_quota;
mod runtime_class;
pub mod service_addresses;
mod storage_protection;
mod taint_new_nodes;
pub mod webhooks;

use std::sync::Arc;

use rand::RngExt;

use crate::authz::Rbac;
use crate::seams::{AdmissionRequest, Admit, Authorize, Operation};
use crate::tokens::TokenIssuer;
pub use matching::condition_variables;
pub use resource_quota::QuotaNews;
pub use service_addresses::ServiceRanges;

/// Letters of generated names, without vowels and look-alikes.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

/// What plug-ins are made from.
pub struct Parts {
    pub ranges: ServiceRanges,
    /// Who runs [`resource_quota::keeper`] gives it the same.
    pub quotas: QuotaNews,
    pub rbac: Arc<Rbac>,
    pub authorizer: Arc<dyn Authorize>,
    pub tokens: Arc<TokenIssuer>,
    /// PEM text of the certificate that pods trust the API by.
    pub root_ca: String,
}

/// The plug-ins that a cluster can do without, by upstream's names. All others hold the API together.
pub const OPTIONAL: &[&str] = &[
    "CertificateApproval",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NodeRestriction",
    "PersistentVolumeClaimResize",
    "PodSecurity",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// Every plug-in but those named in `without`, in the order in which it is asked.
pub fn chain(parts: Parts, without: &[String]) -> Vec<Arc<dyn Admit>> {
    let is_wanted = |name: &str| !without.iter().any(|unwanted| unwanted == name);
    plug_ins(parts).into_iter().filter(|(name, _)| is_wanted(name)).map(|(_, plug_in)| plug_in).collect()
}

/// With upstream's names; what upstream has elsewhere has none.
fn plug_ins(parts: Parts) -> Vec<(&'static str, Arc<dyn Admit>)> {
    let accounts = account_secret::AccountSecret { tokens: parts.tokens, root_ca: parts.root_ca };
    vec![
        ("NodeRestriction", Arc::new(node_restriction::NodeRestriction)),
        ("", Arc::new(namespace_lifecycle::NamespaceLifecycle)),
        ("LimitRanger", Arc::new(limit_ranger::LimitRanger)),
        ("ServiceAccount", Arc::new(pod_service_account::PodServiceAccount)),
        ("TaintNodesByCondition", Arc::new(taint_new_nodes::TaintNewNodes)),
        ("PodSecurity", Arc::new(pod_security::PodSecurity)),
        ("Priority", Arc::new(pod_priority::PodPriority)),
        ("DefaultTolerationSeconds", Arc::new(default_tolerations::DefaultTolerations)),
        ("DefaultStorageClass", Arc::new(default_storage_class::DefaultStorageClass)),
        ("StorageObjectInUseProtection", Arc::new(storage_protection::StorageProtection)),
        ("PersistentVolumeClaimResize", Arc::new(claim_resize::ClaimResize)),
        ("RuntimeClass", Arc::new(runtime_class::PodRuntimeClass)),
        ("", Arc::new(certificate_requestor::CertificateRequestor)),
        ("CertificateApproval", Arc::new(certificate_signers::CertificateSigners(parts.authorizer))),
        ("", Arc::new(accounts)),
        ("DefaultIngressClass", Arc::new(default_ingress_class::DefaultIngressClass)),
        ("MutatingAdmissionPolicy", Arc::new(policies::mutating::MutatingPolicies::default())),
        ("MutatingAdmissionWebhook", Arc::new(webhooks::MutatingWebhooks::default())),
        ("ValidatingAdmissionPolicy", Arc::new(policies::validating::ValidatingPolicies::default())),
        ("ValidatingAdmissionWebhook", Arc::new(webhooks::ValidatingWebhooks::default())),
        ("", Arc::new(service_addresses::ServiceAddresses(parts.ranges))),
        ("", Arc::new(grants::Grants(parts.rbac))),
        // Quota is the last: what another plug-in refuses is not charged.
        ("ResourceQuota", Arc::new(resource_quota::ResourceQuotas(parts.quotas))),
    ]
}

/// This request writes an object of this core kind itself, not a subresource.
fn writes(request: &AdmissionRequest<'_>, operation: Operation, plural: &str) -> bool {
    let kind = request.kind;
    request.operation == operation && request.subresource.is_empty() && kind.group.is_empty() && kind.plural == plural
}

/// Five letters that make a name unique enough.
fn suffix() -> String {
    let mut random = rand::rng();
    (0..SUFFIX_LENGTH).map(|_| char::from(SUFFIX_LETTERS[random.random_range(0..SUFFIX_LETTERS.len())])).collect()
}
