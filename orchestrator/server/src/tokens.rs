//! Service account tokens: ES256 JWTs with upstream's claims. Issued here for the `token` subresource, verified in
//! `authn/service_account.rs`; the key lies with the `certificates.rs`.

mod legacy;

use std::sync::Arc;

use amphipod_store::{Key, Meta, ResourceId, Store};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::codec::Codec;
use crate::kinds::Problem;
use crate::reply::Status;
use crate::seams::{IssueToken, Issued, Sealer};
use crate::server::Page;

pub use legacy::{LEGACY_ISSUER, LegacyClaims, LegacyGrant};

/// The issuer unless the operator names another; also the default audience.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Shortest life of a token that may be asked for.
pub const SECONDS_MIN: i64 = 600;
/// Longest life of a token that may be asked for.
pub const SECONDS_MAX: i64 = 1 << 32;
const SECONDS_DEFAULT: i64 = 3600;
/// What pods get mounted asks for this much. Programs that never read their token again would fail then, so such a
/// token really holds for [`SECONDS_EXTENDED`] and says since when it should have been renewed.
pub const SECONDS_OF_PODS: i64 = 3607;
const SECONDS_EXTENDED: i64 = 365 * 86_400;

/// Why a token was not accepted. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the signing key is not a P-256 key: {0}")]
    Key(String),
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    #[error("the token does not verify: {0}")]
    Verify(jsonwebtoken::errors::Error),
    #[error("the token is used outside of its time")]
    Time,
    #[error("the token is for other audiences: {0:?}")]
    Audience(Vec<String>),
    #[error("{what} {name} is gone or was made anew")]
    Gone { what: &'static str, name: String },
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    /// Seconds since the epoch, as `iat` and `nbf`.
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bindings,
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`
    pub sub: String,
}

/// The objects without which the token is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    pub serviceaccount: Reference,
    /// Seconds since the epoch; using the token after that is worth a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

/// What tokens are bound to, as the cluster has it now.
pub trait Bound: Send + Sync {
    /// `storage` is `serviceaccounts`, `pods`, `nodes` or `secrets`.
    fn meta(&self, storage: &str, namespace: &str, name: &str) -> Option<Arc<Meta>>;

    /// What a Secret of type `kubernetes.io/service-account-token` carries as its token.
    fn secret_token(&self, namespace: &str, name: &str) -> Option<String>;
}

/// [`Bound`] over the store.
pub struct BoundInStore {
    store: Arc<dyn Store>,
    codec: Codec,
    resources: Vec<(&'static str, ResourceId)>,
}

impl BoundInStore {
    /// `sealer` as the server has it.
    pub async fn new(store: Arc<dyn Store>, sealer: Option<Arc<dyn Sealer>>) -> Result<Self, amphipod_store::Error> {
        let mut resources = Vec::new();
        for storage in ["serviceaccounts", "pods", "nodes", "secrets"] {
            resources.push((storage, store.resource(storage).await?));
        }
        Ok(Self { store, codec: Codec { sealer }, resources })
    }

    fn key(&self, storage: &str, namespace: &str, name: &str) -> Option<Key> {
        let (_, resource) = self.resources.iter().find(|(known, _)| *known == storage)?;
        Some(Key::new(*resource, namespace, name))
    }

    /// A Secret, opened.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Value> {
        let object = self.store.snapshot().get(&self.key("secrets", namespace, name)?)?;
        Some(self.codec.value(&object))
    }
}

impl Bound for BoundInStore {
    fn meta(&self, storage: &str, namespace: &str, name: &str) -> Option<Arc<Meta>> {
        self.store.snapshot().get(&self.key(storage, namespace, name)?).map(|object| object.meta.clone())
    }

    fn secret_token(&self, namespace: &str, name: &str) -> Option<String> {
        let secret = self.secret(namespace, name)?;
        let is_token = secret["type"] == "kubernetes.io/service-account-token";
        let alive = secret["metadata"]["deletionTimestamp"].is_null();
        let bytes = STANDARD.decode(secret["data"]["token"].as_str()?).ok()?;
        String::from_utf8(bytes).ok().filter(|_| is_token && alive)
    }
}

/// Signs and verifies the tokens of one issuer.
pub struct TokenIssuer {
    issuer: String,
    /// What a token without audiences is for; what the API itself accepts.
    audiences: Vec<String>,
    /// Longer lives are cut to this.
    seconds_max: i64,
    /// Where the key set is fetched, if not below the issuer's own address.
    key_set_address: Option<String>,
    bound: Arc<dyn Bound>,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: PublicKey,
}

struct PublicKey {
    id: String,
    x: String,
    y: String,
}

/// One token to be signed.
#[derive(Debug, Clone)]
pub struct Grant {
    pub bindings: Bindings,
    /// Empty: the API's own.
    pub audiences: Vec<String>,
    pub seconds: i64,
}

impl TokenIssuer {
    /// `key` is PKCS#8 PEM of a P-256 key; `audiences` empty means the issuer.
    pub fn new(key: &str, issuer: &str, audiences: Vec<String>, bound: Arc<dyn Bound>) -> Result<Self, TokenError> {
        let pair = KeyPair::from_pem(key).map_err(|error| TokenError::Key(error.to_string()))?;
        let point = match pair.public_key_raw() {
            [4, point @ ..] if point.len() == 64 => point,
            _ => return Err(TokenError::Key("its public key is no P-256 point".to_owned())),
        };
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = PublicKey {
            id: encode(&Sha256::digest(pair.subject_public_key_info())),
            x: encode(&point[..32]),
            y: encode(&point[32..]),
        };
        let unusable = |error: jsonwebtoken::errors::Error| TokenError::Key(error.to_string());
        Ok(Self {
            issuer: issuer.to_owned(),
            audiences: if audiences.is_empty() { vec![issuer.to_owned()] } else { audiences },
            seconds_max: SECONDS_MAX,
            key_set_address: None,
            bound,
            signing: EncodingKey::from_ec_pem(key.as_bytes()).map_err(unusable)?,
            verifying: DecodingKey::from_ec_components(&public.x, &public.y).map_err(unusable)?,
            public,
        })
    }

    /// Nothing that is asked for lives longer.
    #[must_use]
    pub fn limited_to(self, seconds_max: i64) -> Self {
        Self { seconds_max, ..self }
    }

    /// The discovery document names this `https://…` address of the key set.
    #[must_use]
    pub fn with_key_set_at(self, address: String) -> Self {
        Self { key_set_address: Some(address), ..self }
    }

    /// What the API itself accepts.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The signed token, and what it says.
    pub fn sign(&self, grant: Grant, now: Timestamp) -> Result<(String, Claims), TokenError> {
        let account = &grant.bindings.serviceaccount.name;
        let issued = now.as_second();
        let claims = Claims {
            aud: if grant.audiences.is_empty() { self.audiences.clone() } else { grant.audiences },
            exp: issued + grant.seconds,
            iat: issued,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: issued,
            sub: format!("system:serviceaccount:{}:{account}", grant.bindings.namespace),
            kubernetes: grant.bindings,
        };
        let header = Header { typ: None, kid: Some(self.public.id.clone()), ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing).map_err(TokenError::Sign)?;
        Ok((token, claims))
    }

    /// The claims of a token of ours with a good signature; `Ok(None)` when another issued it (or it is no JWT).
    pub fn verify(&self, token: &str) -> Result<Option<Claims>, TokenError> {
        if issuer_of(token).as_deref() != Some(self.issuer.as_str()) {
            return Ok(None);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Time and audience are judged by `check`, on every use, with the caller's clock.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let data = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation).map_err(TokenError::Verify)?;
        Ok(Some(data.claims))
    }

    /// Whether verified claims hold now: time, and everything they are bound to still exists as it was.
    pub fn check(&self, claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
        if claims.exp <= now.as_second() || claims.nbf > now.as_second() + 10 {
            return Err(TokenError::Time);
        }
        let bindings = &claims.kubernetes;
        self.exists("serviceaccounts", &bindings.namespace, Some(&bindings.serviceaccount))?;
        self.exists("pods", &bindings.namespace, bindings.pod.as_ref())?;
        self.exists("secrets", &bindings.namespace, bindings.secret.as_ref())?;
        if bindings.pod.is_none() {
            self.exists("nodes", "", bindings.node.as_ref())?; // beside a pod the node is only told, not bound
        }
        Ok(())
    }

    /// Which of the wanted audiences the claims are for; an error when it is none.
    pub fn audience(&self, claims: &Claims, wanted: &[String]) -> Result<Vec<String>, TokenError> {
        let wanted = if wanted.is_empty() { &self.audiences } else { wanted };
        let met: Vec<String> = wanted.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if met.is_empty() { Err(TokenError::Audience(claims.aud.clone())) } else { Ok(met) }
    }

    /// Both documents at their addresses.
    pub fn pages(&self) -> Vec<Page> {
        let body = |value: Value| Bytes::from(value.to_string());
        vec![
            Page {
                path: "/.well-known/openid-configuration",
                content_type: "application/json",
                body: body(self.discovery()),
            },
            Page { path: "/openid/v1/jwks", content_type: "application/jwk-set+json", body: body(self.key_set()) },
        ]
    }

    /// Body of `/.well-known/openid-configuration`.
    pub fn discovery(&self) -> Value {
        let below = || format!("{}/openid/v1/jwks", self.issuer.trim_end_matches('/'));
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.key_set_address.clone().unwrap_or_else(below),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// Body of `/openid/v1/jwks`.
    pub fn key_set(&self) -> Value {
        let PublicKey { id, x, y } = &self.public;
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256", "x": x, "y": y}]})
    }

    fn exists(&self, storage: &'static str, namespace: &str, reference: Option<&Reference>) -> Result<(), TokenError> {
        let Some(reference) = reference else { return Ok(()) };
        let found = self.bound.meta(storage, namespace, &reference.name);
        if found.is_some_and(|meta| meta.uid == reference.uid) {
            return Ok(());
        }
        Err(TokenError::Gone { what: storage, name: reference.name.clone() })
    }

    /// The pod, node or secret that a TokenRequest binds to.
    fn bind(&self, bindings: &mut Bindings, reference: &Value) -> Result<(), Status> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let (storage, namespace) = match (version, kind) {
            ("v1", "Pod") => ("pods", bindings.namespace.as_str()),
            ("v1", "Secret") => ("secrets", bindings.namespace.as_str()),
            ("v1", "Node") => ("nodes", ""),
            _ => {
                return Err(Status::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}")));
            }
        };
        let meta =
            self.bound.meta(storage, namespace, name).ok_or_else(|| Status::not_found_resource(("", storage), name))?;
        if !text("uid").is_empty() && text("uid") != meta.uid {
            return Err(other_uid(storage, name, text("uid")));
        }
        let bound = Some(Reference { name: name.to_owned(), uid: meta.uid.clone() });
        match kind {
            "Pod" => {
                let account = meta.field("spec.serviceAccountName").unwrap_or_default();
                if account != bindings.serviceaccount.name {
                    let wanted = &bindings.serviceaccount.name;
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount \"{wanted}\" to pod running with different serviceaccount name."
                    )));
                }
                bindings.pod = bound;
                let node = meta.field("spec.nodeName").filter(|node| !node.is_empty());
                bindings.node = node.and_then(|node| {
                    Some(Reference { name: node.to_owned(), uid: self.bound.meta("nodes", "", node)?.uid.clone() })
                });
            }
            "Secret" => bindings.secret = bound,
            _ => bindings.node = bound,
        }
        Ok(())
    }
}

#[async_trait]
impl IssueToken for TokenIssuer {
    async fn issue(&self, service_account: &Value, mut request: Value) -> Result<Issued, Status> {
        let metadata = |field: &str| service_account["metadata"][field].as_str().unwrap_or_default().to_owned();
        let asked = lifetime(&request["spec"])?;
        let seconds = asked.min(self.seconds_max);
        let mut bindings = Bindings {
            namespace: metadata("namespace"),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: Reference { name: metadata("name"), uid: metadata("uid") },
            warnafter: None,
        };
        if request["spec"]["boundObjectRef"].is_object() {
            self.bind(&mut bindings, &request["spec"]["boundObjectRef"])?;
        }
        let audiences = request["spec"]["audiences"].as_array();
        let audiences: Vec<String> = audiences
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let now = Timestamp::now();
        let is_ours = audiences.is_empty() || audiences == self.audiences;
        let mut grant = Grant { bindings, audiences, seconds };
        if grant.bindings.pod.is_some() && is_ours && seconds == SECONDS_OF_PODS {
            grant.bindings.warnafter = Some(now.as_second() + seconds);
            grant.seconds = SECONDS_EXTENDED.min(self.seconds_max);
        }
        let (token, claims) = self.sign(grant, now).map_err(|error| Status::internal(error.to_string()))?;
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        request["metadata"]["name"] = json!(metadata("name"));
        request["metadata"]["namespace"] = json!(metadata("namespace"));
        request["metadata"]["creationTimestamp"] = json!(seconds_text(claims.iat));
        request["spec"]["audiences"] = json!(claims.aud);
        request["spec"]["expirationSeconds"] = json!(seconds);
        request["status"] = json!({"token": token, "expirationTimestamp": seconds_text(claims.iat + seconds)});
        let shortened = || format!("requested expiration of {asked} seconds shortened to {seconds} seconds");
        Ok(Issued { request, warnings: (seconds < asked).then(shortened).into_iter().collect() })
    }
}

/// Who a token says issued it, before anything is verified.
fn issuer_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issued {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Issued>(token).ok().map(|issued| issued.iss)
}

fn lifetime(spec: &Value) -> Result<i64, Status> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT);
    let problem = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let message = format!("Invalid value: {seconds}: {problem}");
    let problem = Problem { reason: "FieldValueInvalid", field: "spec.expirationSeconds".to_owned(), message };
    Err(Status::invalid_kind(("authentication.k8s.io", "TokenRequest"), "", &[problem]))
}

fn other_uid(storage: &str, name: &str, uid: &str) -> Status {
    let why = format!(
        "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
    );
    let message = format!("Operation cannot be fulfilled on {storage} \"{name}\": {why}");
    Status {
        code: 409,
        reason: "Conflict".into(),
        warnings: Vec::new(),
        message,
        details: Some(json!({"name": name, "kind": storage})),
        proceed: None,
        retry_after_seconds: None,
    }
}

fn seconds_text(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
