//! Service accounts by their tokens. A signature is verified once and remembered; time, audience and the objects
//! that a token is bound to are looked at on every use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::authenticated;
use crate::seams::{Identity, Unauthenticated};
use crate::tokens::{Claims, LegacyClaims, TokenError, TokenIssuer};

/// Verified tokens remembered at most.
pub const REMEMBERED_MAX: usize = 8_192;

pub struct ServiceAccountTokens {
    issuer: Arc<TokenIssuer>,
    verified: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
}

/// What a good signature vouches for.
enum Verified {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

impl Verified {
    fn ended(&self, now: Timestamp) -> bool {
        matches!(self, Self::Bound(claims) if claims.exp <= now.as_second())
    }
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
        let Some(verified) = self.verified(token, now).map_err(refused)? else { return Ok(None) };
        match &*verified {
            Verified::Bound(claims) => {
                self.issuer.check(claims, now).map_err(refused)?;
                let met = self.issuer.audience(claims, audiences).map_err(refused)?;
                Ok(Some((identity(claims), met)))
            }
            Verified::Legacy(claims) => {
                self.issuer.check_legacy(claims, token).map_err(refused)?;
                let own = self.audiences();
                let is_wanted = |own: &&String| audiences.is_empty() || audiences.contains(own);
                let met: Vec<String> = own.iter().filter(is_wanted).cloned().collect();
                if met.is_empty() {
                    return Err(refused(TokenError::Audience(own.to_vec())));
                }
                Ok(Some((account(&claims.namespace, (&claims.sub, &claims.uid), BTreeMap::new()), met)))
            }
        }
    }

    fn verified(&self, token: &str, now: Timestamp) -> Result<Option<Arc<Verified>>, TokenError> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.verified.lock().get(&hash) {
            return Ok(Some(known.clone()));
        }
        let found = match self.issuer.verify(token)? {
            Some(claims) => Some(Verified::Bound(Box::new(claims))),
            None => self.issuer.verify_legacy(token)?.map(Verified::Legacy),
        };
        let Some(found) = found.map(Arc::new) else { return Ok(None) };
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED_MAX {
            verified.retain(|_, known| !known.ended(now));
        }
        if verified.len() >= REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(hash, found.clone());
        Ok(Some(found))
    }
}

fn identity(claims: &Claims) -> Identity {
    let bindings = &claims.kubernetes;
    let mut extra = BTreeMap::new();
    let mut put = |name: &str, value: String| extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    put("credential-id", format!("JTI={}", claims.jti));
    for (what, reference) in [("pod", &bindings.pod), ("node", &bindings.node)] {
        if let Some(reference) = reference {
            put(&format!("{what}-name"), reference.name.clone());
            put(&format!("{what}-uid"), reference.uid.clone());
        }
    }
    account(&bindings.namespace, (&claims.sub, &bindings.serviceaccount.uid), extra)
}

fn account(namespace: &str, (user, uid): (&str, &str), extra: BTreeMap<String, Vec<String>>) -> Identity {
    let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    authenticated(Identity { user: user.to_owned(), groups, uid: Some(uid.to_owned()), extra })
}
