//! Tokens that live in Secrets: they name their Secret, have no end, and hold as long as the Secret carries them.

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{Reference, TokenError, TokenIssuer};

/// Upstream's issuer of such tokens, whatever the cluster's own is.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// What such a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    pub iss: String,
    pub sub: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
}

/// Whose token, and in which Secret it will lie.
pub struct LegacyGrant<'a> {
    pub namespace: &'a str,
    pub secret: &'a str,
    pub account: &'a str,
    pub uid: &'a str,
}

impl TokenIssuer {
    pub fn sign_legacy(&self, grant: &LegacyGrant<'_>) -> Result<String, TokenError> {
        let claims = LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{}:{}", grant.namespace, grant.account),
            namespace: grant.namespace.to_owned(),
            secret: grant.secret.to_owned(),
            account: grant.account.to_owned(),
            uid: grant.uid.to_owned(),
        };
        let header = Header { typ: None, kid: Some(self.public.id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.signing).map_err(TokenError::Sign)
    }

    /// The claims of such a token with a good signature; `Ok(None)` for another issuer's.
    pub fn verify_legacy(&self, token: &str) -> Result<Option<LegacyClaims>, TokenError> {
        if super::issuer_of(token).as_deref() != Some(LEGACY_ISSUER) {
            return Ok(None);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["iss", "sub"]);
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let data =
            jsonwebtoken::decode::<LegacyClaims>(token, &self.verifying, &validation).map_err(TokenError::Verify)?;
        Ok(Some(data.claims))
    }

    /// The account is the one it was, and the Secret still carries this very token.
    pub fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> Result<(), TokenError> {
        let carried = self.bound.secret_token(&claims.namespace, &claims.secret);
        if carried.as_deref() != Some(token) {
            return Err(TokenError::Gone { what: "secrets", name: claims.secret.clone() });
        }
        let account = Reference { name: claims.account.clone(), uid: claims.uid.clone() };
        self.exists("serviceaccounts", &claims.namespace, Some(&account))
    }
}
