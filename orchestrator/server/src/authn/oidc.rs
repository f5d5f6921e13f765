//! Users of an OpenID Connect provider, by their ID tokens. The provider's keys are fetched when a token names one that
//! is not known; between two fetches lies a pause, so that nobody can make the server knock at will.

use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::request::Parts;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Peer, authenticated, bearer};
use crate::seams::{Authenticate, Identity, Reviewed, Unauthenticated};

/// The shortest pause between two fetches of the keys.
const PAUSE: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Clocks of the provider may differ by this much.
const LEEWAY_SECONDS: u64 = 10;
/// Largest document of a provider.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Upstream's `--oidc-*` flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// `https://…`, as the tokens' `iss` spells it.
    pub issuer: String,
    /// The audience that tokens must be for.
    pub client_id: String,
    pub username_claim: String,
    /// `None`: the issuer and `#`, unless the claim is `email`; `-`: none.
    pub username_prefix: Option<String>,
    pub groups_claim: Option<String>,
    pub groups_prefix: String,
    pub required_claims: Vec<(String, String)>,
    pub algorithms: Vec<Algorithm>,
    /// PEM of the authorities that the provider is trusted by; `None`: the system's.
    pub authority: Option<String>,
}

/// Why a provider cannot be used at all; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("the issuer {0:?} must be an https:// address")]
    Issuer(String),
    #[error("the certificates of the provider's authority cannot be used")]
    Authority(#[source] reqwest::Error),
    #[error("no client can be made")]
    Client(#[source] reqwest::Error),
}

pub struct Oidc {
    options: Options,
    client: reqwest::Client,
    keys: ArcSwap<JwkSet>,
    /// When the keys were asked for; also keeps two fetches apart.
    fetched: Mutex<Option<Instant>>,
}

impl Oidc {
    /// Asks nothing yet: the provider may come up later.
    pub fn new(options: Options) -> Result<Self, OidcError> {
        if !options.issuer.starts_with("https://") {
            return Err(OidcError::Issuer(options.issuer));
        }
        let mut builder = reqwest::Client::builder().timeout(FETCH_MAX).https_only(true);
        if let Some(pem) = &options.authority {
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(OidcError::Authority)?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(OidcError::Client)?;
        Ok(Self {
            options,
            client,
            keys: ArcSwap::from_pointee(JwkSet { keys: Vec::new() }),
            fetched: Mutex::default(),
        })
    }

    async fn identity(&self, token: &str) -> Result<Option<Identity>, Unauthenticated> {
        let refused = |why: &str| Unauthenticated(format!("oidc: {why}"));
        if issuer_of(token).as_deref() != Some(self.options.issuer.as_str()) {
            return Ok(None);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refused(&error.to_string()))?;
        if !self.options.algorithms.contains(&header.alg) {
            return Err(refused(&format!("the token is signed by {:?}, which is not accepted", header.alg)));
        }
        let key = match self.key(header.kid.as_deref()) {
            Some(key) => key,
            None => {
                self.fetch().await.map_err(|why| refused(&why))?;
                self.key(header.kid.as_deref()).ok_or_else(|| refused("the provider has no such key"))?
            }
        };
        let claims = self.verify(token, header.alg, &key).map_err(|why| refused(&why))?;
        identity(&self.options, &claims).map(Some).map_err(|why| refused(&why))
    }

    fn key(&self, id: Option<&str>) -> Option<Jwk> {
        let keys = self.keys.load();
        match id {
            Some(id) => keys.find(id).cloned(),
            None => keys.keys.first().cloned(),
        }
    }

    fn verify(&self, token: &str, algorithm: Algorithm, key: &Jwk) -> Result<Map<String, Value>, String> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.options.client_id]);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        let verified = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        verified.map(|data| data.claims).map_err(|error| error.to_string())
    }

    async fn fetch(&self) -> Result<(), String> {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_some_and(|before| before.elapsed() < PAUSE) {
            return Ok(()); // someone else just did
        }
        *fetched = Some(Instant::now());
        let issuer = &self.options.issuer;
        let discovery =
            self.document(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
        if discovery["issuer"].as_str() != Some(issuer) {
            return Err(format!("the provider calls itself {}, not {issuer:?}", discovery["issuer"]));
        }
        let address = discovery["jwks_uri"].as_str().ok_or("the provider names no keys")?;
        let keys = self.document(address).await?;
        let keys: JwkSet = serde_json::from_value(keys).map_err(|error| format!("the provider's keys: {error}"))?;
        self.keys.store(keys.into());
        Ok(())
    }

    async fn document(&self, address: &str) -> Result<Value, String> {
        let failed = |error: reqwest::Error| format!("{address}: {error}");
        let response = self.client.get(address).send().await.and_then(reqwest::Response::error_for_status);
        let bytes = response.map_err(failed)?.bytes().await.map_err(failed)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(format!("{address}: the document is too long"));
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("{address}: {error}"))
    }
}

#[async_trait]
impl Authenticate for Oidc {
    async fn authenticate(&self, parts: &Parts) -> Result<Option<Identity>, Unauthenticated> {
        if parts.extensions.get::<Peer>().is_some_and(|peer| peer.identity.is_some()) {
            return Ok(None); // the certificate wins
        }
        let Some(token) = bearer::token(&parts.headers) else { return Ok(None) };
        self.identity(&token).await
    }

    async fn review(&self, token: &str, _audiences: &[String]) -> Result<Option<Reviewed>, Unauthenticated> {
        Ok(self.identity(token).await?.map(|identity| (identity, Vec::new())))
    }
}

fn issuer_of(token: &str) -> Option<String> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Whom verified claims stand for.
fn identity(options: &Options, claims: &Map<String, Value>) -> Result<Identity, String> {
    for (claim, wanted) in &options.required_claims {
        match claims.get(claim).and_then(Value::as_str) {
            None => return Err(format!("required claim {claim} not present in ID token")),
            Some(found) if found != wanted => {
                return Err(format!("required claim {claim} value does not match. Got = {found}, want = {wanted}"));
            }
            Some(_) => {}
        }
    }
    let claim = &options.username_claim;
    let name = claims.get(claim).ok_or_else(|| format!("could not parse username claims {claim:?}: no such claim"))?;
    let name = name.as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("could not parse username claims {claim:?}: it is no text"))?;
    if claim == "email" && claims.get("email_verified").is_some_and(|verified| verified != &Value::Bool(true)) {
        return Err("email not verified".to_owned());
    }
    let user = format!("{}{name}", username_prefix(options));
    let groups = options.groups_claim.as_ref().and_then(|claim| claims.get(claim));
    let groups = match groups {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) => return Err("the groups claim is neither a text nor a list".to_owned()),
    };
    let groups = groups.into_iter().map(|group| format!("{}{group}", options.groups_prefix)).collect();
    let mut identity = Identity { user, groups, ..Identity::default() };
    if let Some(id) = claims.get("jti").and_then(Value::as_str) {
        let credential = vec![format!("JTI={id}")];
        identity.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), credential);
    }
    Ok(authenticated(identity))
}

fn username_prefix(options: &Options) -> String {
    match options.username_prefix.as_deref() {
        Some("-") => String::new(),
        Some(prefix) => prefix.to_owned(),
        None if options.username_claim == "email" => String::new(),
        None => format!("{}#", options.issuer),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn options() -> Options {
        Options {
            issuer: "https://id.example.com".into(),
            client_id: "k".into(),
            username_claim: "sub".into(),
            username_prefix: None,
            groups_claim: Some("groups".into()),
            groups_prefix: "oidc:".into(),
            required_claims: vec![("hd".into(), "example.com".into())],
            algorithms: vec![Algorithm::RS256],
            authority: None,
        }
    }

    fn check(change: impl FnOnce(&mut Options, &mut Value), expected: Expect) {
        let mut claims =
            json!({"sub": "1", "email": "a@b", "email_verified": false, "groups": ["dev"], "hd": "example.com"});
        let mut options = options();
        change(&mut options, &mut claims);
        let found = identity(&options, claims.as_object().unwrap());
        expected.assert_eq(&found.map_or_else(|why| why, |one| format!("{} {}", one.user, one.groups.join(" "))));
    }

    #[test]
    fn claims_become_a_user_with_prefixes() {
        check(|_, _| {}, expect!["https://id.example.com#1 oidc:dev system:authenticated"]);
        check(|options, _| options.username_prefix = Some("-".into()), expect!["1 oidc:dev system:authenticated"]);
        check(|options, _| options.username_prefix = Some("x:".into()), expect!["x:1 oidc:dev system:authenticated"]);
        check(
            |_, claims| claims["groups"] = json!("ops"),
            expect!["https://id.example.com#1 oidc:ops system:authenticated"],
        );
        check(
            |_, claims| claims["hd"] = json!("other"),
            expect!["required claim hd value does not match. Got = other, want = example.com"],
        );
        check(|options, _| options.username_claim = "email".into(), expect!["email not verified"]);
        check(
            |options, claims| {
                options.username_claim = "email".into();
                claims["email_verified"] = json!(true);
            },
            expect!["a@b oidc:dev system:authenticated"],
        );
        check(
            |options, _| options.username_claim = "none".into(),
            expect![[r#"could not parse username claims "none": no such claim"#]],
        );
    }

    #[test]
    fn a_provider_is_reached_by_https_only() {
        let options = Options { issuer: "http://id.example.com".into(), ..options() };
        assert!(matches!(Oidc::new(options), Err(OidcError::Issuer(_))));
    }
}
