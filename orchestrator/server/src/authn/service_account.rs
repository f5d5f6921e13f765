//! Service accounts by their tokens. A signature is verified once and remembered; time, audience and the objects
//! that a token is bound to are looked at on every use.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::authenticated;
use crate::seams::{Identity, Unauthenticated};
use crate::tokens::{Claims, TokenError, TokenIssuer};

/// Verified tokens remembered at most.
pub const REMEMBERED_MAX: usize = 8_192;

pub struct ServiceAccountTokens {
    issuer: Arc<TokenIssuer>,
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl ServiceAccountTokens {
    pub fn new(issuer: Arc<TokenIssuer>) -> Self {
        Self { issuer, verified: Mutex::default() }
    }

    /// What the API accepts.
    pub fn audiences(&self) -> &[String] {
        self.issuer.audiences()
    }

    /// The account and the audiences met; `None` for a token of another issuer.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Option<(Identity, Vec<String>)>, Unauthenticated> {
        let refused = |error: TokenError| Unauthenticated(error.to_string());
        let Some(claims) = self.claims(token, now).map_err(refused)? else { return Ok(None) };
        self.issuer.check(&claims, now).map_err(refused)?;
        let met = self.issuer.audience(&claims, audiences).map_err(refused)?;
        Ok(Some((identity(&claims), met)))
    }

    fn claims(&self, token: &str, now: Timestamp) -> Result<Option<Arc<Claims>>, TokenError> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.verified.lock().get(&hash) {
            return Ok(Some(claims.clone()));
        }
        let Some(claims) = self.issuer.verify(token)?.map(Arc::new) else { return Ok(None) };
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED_MAX {
            verified.retain(|_, claims| claims.exp > now.as_second());
        }
        if verified.len() >= REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(hash, claims.clone());
        Ok(Some(claims))
    }
}

fn identity(claims: &Claims) -> Identity {
    let bindings = &claims.kubernetes;
    let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", bindings.namespace)];
    let mut extra = std::collections::BTreeMap::new();
    let mut put = |name: &str, value: String| extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    put("credential-id", format!("JTI={}", claims.jti));
    for (what, reference) in [("pod", &bindings.pod), ("node", &bindings.node)] {
        if let Some(reference) = reference {
            put(&format!("{what}-name"), reference.name.clone());
            put(&format!("{what}-uid"), reference.uid.clone());
        }
    }
    authenticated(Identity { user: claims.sub.clone(), groups, uid: Some(bindings.serviceaccount.uid.clone()), extra })
}
