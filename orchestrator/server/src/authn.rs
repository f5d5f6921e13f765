//! Who asks. The ways, in order: the connection's client certificate, then a bearer token, which is one of the
//! operator's static tokens, a service account's, or a bootstrap token. Nothing shown means anonymous; something
//! shown that nobody knows is refused.

pub mod bearer;
pub mod bootstrap_token;
pub mod certificate;
pub mod oidc;
pub mod service_account;
pub mod static_token;

use async_trait::async_trait;
use http::request::Parts;
use jiff::Timestamp;

pub use bootstrap_token::BootstrapTokens;
pub use certificate::Peer;
pub use oidc::Oidc;
pub use service_account::ServiceAccountTokens;
pub use static_token::StaticTokens;

use crate::seams::{Authenticate, Identity, Reviewed, Unauthenticated};

const AUTHENTICATED: &str = "system:authenticated";

/// All ways together. Put it alone into the pipeline's list.
pub struct Authenticators {
    pub static_tokens: StaticTokens,
    pub service_accounts: ServiceAccountTokens,
    /// `None`: bootstrap tokens are off.
    pub bootstrap_tokens: Option<BootstrapTokens>,
}

impl Authenticators {
    /// Whom a token stands for, and for which of the wanted audiences (empty: the API's own): what TokenReview answers.
    pub fn review_at(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<(Identity, Vec<String>), Unauthenticated> {
        if let Some(found) = self.service_accounts.review(token, audiences, now)? {
            return Ok(found);
        }
        let own = self.service_accounts.audiences();
        let met: Vec<String> = if audiences.is_empty() {
            own.to_vec()
        } else {
            own.iter().filter(|own| audiences.contains(own)).cloned().collect()
        };
        if met.is_empty() {
            return Err(Unauthenticated("the token is for other audiences".to_owned()));
        }
        let bootstrap = || self.bootstrap_tokens.as_ref().and_then(|tokens| tokens.find(token, now));
        let found = self.static_tokens.find(token).or_else(bootstrap);
        let identity = found.ok_or_else(|| Unauthenticated("nobody knows this bearer token".to_owned()))?;
        Ok((authenticated(identity), met))
    }
}

#[async_trait]
impl Authenticate for Authenticators {
    async fn authenticate(&self, parts: &Parts) -> Result<Option<Identity>, Unauthenticated> {
        if let Some(identity) = parts.extensions.get::<Peer>().and_then(|peer| peer.identity.as_deref()) {
            return Ok(Some(identity.clone()));
        }
        let Some(token) = bearer::token(&parts.headers) else { return Ok(None) };
        let (identity, _) = self.review_at(&token, &[], Timestamp::now())?;
        Ok(Some(identity))
    }

    async fn review(&self, token: &str, audiences: &[String]) -> Result<Option<Reviewed>, Unauthenticated> {
        self.review_at(token, audiences, Timestamp::now()).map(Some)
    }
}

/// Everyone who proved something is in `system:authenticated`, and nobody is there twice.
pub(crate) fn authenticated(mut identity: Identity) -> Identity {
    identity.groups.retain(|group| group != "system:unauthenticated");
    if !identity.groups.iter().any(|group| group == AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    identity
}

#[cfg(test)]
mod tests;
