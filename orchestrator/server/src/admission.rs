//! What the cluster has to say about an object before it is stored: one list, in upstream's order, a file per plug-in.
//! Each file decides in pure functions on JSON; the `Admit` around them only looks things up.

mod account_secret;
mod certificate_requestor;
mod certificate_signers;
mod default_tolerations;
mod grants;
mod namespace_lifecycle;
mod node_restriction;
mod pod_priority;
mod pod_service_account;
mod runtime_class;
pub mod service_addresses;
mod taint_new_nodes;

use std::sync::Arc;

use rand::RngExt;

use crate::authz::Rbac;
use crate::seams::{AdmissionRequest, Admit, Authorize, Operation};
use crate::tokens::TokenIssuer;
pub use service_addresses::ServiceRanges;

/// Letters of generated names, without vowels and look-alikes.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

/// What plug-ins are made from.
pub struct Parts {
    pub ranges: ServiceRanges,
    pub rbac: Arc<Rbac>,
    pub authorizer: Arc<dyn Authorize>,
    pub tokens: Arc<TokenIssuer>,
    /// PEM text of the certificate that pods trust the API by.
    pub root_ca: String,
}

/// Every plug-in, in the order in which it is asked.
pub fn chain(parts: Parts) -> Vec<Arc<dyn Admit>> {
    vec![
        Arc::new(node_restriction::NodeRestriction),
        Arc::new(namespace_lifecycle::NamespaceLifecycle),
        Arc::new(pod_service_account::PodServiceAccount),
        Arc::new(taint_new_nodes::TaintNewNodes),
        Arc::new(pod_priority::PodPriority),
        Arc::new(default_tolerations::DefaultTolerations),
        Arc::new(runtime_class::PodRuntimeClass),
        Arc::new(certificate_requestor::CertificateRequestor),
        Arc::new(certificate_signers::CertificateSigners(parts.authorizer)),
        Arc::new(account_secret::AccountSecret { tokens: parts.tokens, root_ca: parts.root_ca }),
        Arc::new(service_addresses::ServiceAddresses(parts.ranges)),
        Arc::new(grants::Grants(parts.rbac)),
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
