//! What a connection proved. `serve.rs` makes a [`Peer`] once per connection, after rustls verified the chain against
//! the cluster's authority, and puts it into the extensions of every request.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authenticated;
use crate::certificates::subject;
use crate::seams::Identity;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// Of its client certificate, if it showed one.
    pub identity: Option<Arc<Identity>>,
}

/// CN is the user, each O a group. `None` for a certificate without CN, or one that is not valid at `now` (seconds
/// since the epoch): a resumed session is not verified again.
pub fn identity(certificate: &CertificateDer<'_>, now: i64) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    if now > validity.not_after.timestamp() || now < validity.not_before.timestamp() {
        return None;
    }
    let subject = subject::read(parsed.subject())?;
    let hash: String = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut identity = Identity { user: subject.user, groups: subject.groups, ..Identity::default() };
    let credential = format!("X509SHA256={hash}");
    identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![credential]);
    Some(authenticated(identity))
}
