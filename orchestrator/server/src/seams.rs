//! The seams of the API: who asks ([`Authenticate`]), whether they may ([`Authorize`]), what the cluster has to say
//! about an object ([`Admit`]), how secrets are sealed, tokens issued, and nodes reached. `pipeline.rs` walks them in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphipod_schema::TypeRef;
use amphipod_store::{Error, Guard, Key, Op, Snapshot, Store};
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::codec::Codec;
use crate::kinds::Kind;
use crate::registry::{Entry, Registry};
use crate::reply::Status;
use crate::webhook_client::Lines;

/// Who asks. In-process callers put it into the request's extensions; then authentication is skipped, nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    pub uid: Option<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { user: user.into(), groups, uid: None, extra: BTreeMap::new() }
    }

    /// The program itself: it may do everything.
    pub fn system_masters() -> Self {
        Self::new("system:apiserver", &["system:masters", "system:authenticated"])
    }

    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }
}

/// Credentials were shown and are wrong (HTTP 401). The text is for the log, clients learn only "Unauthorized".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub String);

/// One way to learn who asks. `Ok(None)`: no credentials of this way; the next is asked, at last the caller is anonymous.
#[async_trait]
pub trait Authenticate: Send + Sync {
    async fn authenticate(&self, parts: &http::request::Parts) -> Result<Option<Identity>, Unauthenticated>;

    /// Whom a bearer token stands for, and which of the wanted audiences (empty: the API's own) it is for; what
    /// TokenReview answers. `Ok(None)`: this way knows no such token.
    async fn review(&self, _token: &str, _audiences: &[String]) -> Result<Option<Reviewed>, Unauthenticated> {
        Ok(None)
    }
}

/// An identity and the audiences met.
pub type Reviewed = (Identity, Vec<String>);

/// What a request wants, in RBAC's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get list watch create update patch delete deletecollection`, or for a path the method in lower case.
    pub verb: String,
    pub group: String,
    pub version: String,
    /// Empty for a non-resource path.
    pub resource: String,
    pub subresource: String,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub namespace: String,
    /// Empty when the request names no single object.
    pub name: String,
    /// Set for non-resource requests only.
    pub path: Option<String>,
    /// What a list, watch or deletion of many is narrowed to: `(field, value)` of each equality.
    pub field_selector: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allowed {
        reason: String,
    },
    /// `reason` may be empty; it is shown to the client behind the standard text.
    Denied {
        reason: String,
    },
}

/// What an identity may do in a namespace, for SelfSubjectRulesReview: RBAC's rule objects as JSON.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub resource: Vec<Value>,
    pub non_resource: Vec<Value>,
    pub incomplete: bool,
    pub error: String,
}

/// Whether an identity may do something. Pure and quick: it reads from its own copy of the policy.
pub trait Authorize: Send + Sync {
    fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Decision;

    fn rules(&self, _identity: &Identity, _namespace: &str) -> Rules {
        Rules { incomplete: true, error: "the authorizer cannot list rules".to_owned(), ..Rules::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// Turns a refusal of the store's into words of the plug-in that asked for the guard or op; `None`: not mine.
pub type Explain = Box<dyn Fn(&Error) -> Option<Status> + Send + Sync>;

/// One write on its way to the store. `guards` and `ops` join the transaction of the write itself.
pub struct AdmissionRequest<'a> {
    pub kind: &'a Kind,
    /// The same as the registry has it.
    pub entry: &'a Entry,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub operation: Operation,
    /// Empty for a cluster-scoped object.
    pub namespace: &'a str,
    pub name: &'a str,
    /// The object as it will be stored; `None` for Delete. For a subresource with a kind of its own: that body.
    pub object: Option<Value>,
    /// The stored object; `None` for Create.
    pub old: Option<&'a Value>,
    pub identity: &'a Identity,
    pub dry_run: bool,
    /// Seconds since the epoch.
    pub now: i64,
    pub cluster: &'a Cluster,
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
    pub explain: Vec<Explain>,
    /// Each becomes a `Warning` header.
    pub warnings: Vec<String>,
    pub notes: &'a Notes,
}

/// What plug-ins tell the auditors of one request; the first word under a key stays.
#[derive(Default)]
pub struct Notes(Mutex<BTreeMap<String, String>>);

impl Notes {
    pub fn add(&self, key: String, value: String) {
        self.0.lock().entry(key).or_insert(value);
    }

    /// In place of what was said before.
    pub fn set(&self, key: &str, value: String) {
        self.0.lock().insert(key.to_owned(), value);
    }

    pub fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl AdmissionRequest<'_> {
    /// Group, version and kind of its body, where the subresource has one of its own: Scale, Eviction, PodExecOptions.
    pub fn own_kind(&self) -> Option<(&'static str, &'static str, &'static str)> {
        self.kind.subresources.iter().find(|one| one.name == self.subresource)?.kind
    }

    /// The body's type in the schema table; `None` for custom kinds.
    pub fn body_type(&self) -> Option<TypeRef> {
        match self.own_kind() {
            Some((group, version, kind)) => amphipod_schema::table().by_kind(&api_version(group, version), kind),
            None => self.entry.ty,
        }
    }
}

/// `group/version`, or `version` alone.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// One admission plug-in. The order is the order of `Options::admission`.
#[async_trait]
pub trait Admit: Send + Sync {
    /// As metrics name it: the type's own name.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default()
    }

    /// Before validation: may change `request.object`.
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status>;

    /// After validation: must leave the object alone; quota is charged here.
    async fn confirm(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// The object leaves the store with this transaction (deleted, or its last finalizer went): what it held is released.
    fn removed(&self, _request: &mut AdmissionRequest<'_>) {}
}

/// What plug-ins may read: the picture of the cluster taken when the request was decoded.
pub struct Cluster {
    pub store: Arc<dyn Store>,
    pub snapshot: Arc<dyn Snapshot>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) codec: Codec,
    pub(crate) authorizer: Arc<dyn Authorize>,
    pub(crate) lines: Arc<Lines>,
}

impl Cluster {
    /// The key of an object; `storage` as in [`Kind::storage`]. `None` for an unknown resource.
    pub fn key(&self, storage: &str, namespace: &str, name: &str) -> Option<Key> {
        Some(Key::new(self.registry.id(storage)?, namespace, name))
    }

    pub fn get(&self, storage: &str, namespace: &str, name: &str) -> Option<Value> {
        let object = self.snapshot.get(&self.key(storage, namespace, name)?)?;
        Some(self.codec.value(&object))
    }

    /// All objects of a resource (in a namespace). Decodes each: keep it off the path of common writes.
    pub fn list(&self, storage: &str, namespace: Option<&str>) -> Vec<Value> {
        let Some(resource) = self.registry.id(storage) else { return Vec::new() };
        let objects = self.snapshot.list(resource, namespace, None, 0);
        objects.iter().map(|object| self.codec.value(object)).collect()
    }

    /// Those of a namespace that carry a label; only they are decoded.
    pub fn labelled(&self, storage: &str, namespace: &str, (label, value): (&str, &str)) -> Vec<Value> {
        let Some(resource) = self.registry.id(storage) else { return Vec::new() };
        let objects = self.snapshot.list(resource, Some(namespace), None, 0);
        let carry = objects.iter().filter(|object| object.meta.label(label) == Some(value));
        carry.map(|object| self.codec.value(object)).collect()
    }

    /// How many there are; costs nothing, so that a plug-in can pass by when there is none.
    pub fn count(&self, storage: &str, namespace: Option<&str>) -> usize {
        self.registry.id(storage).map_or(0, |resource| self.snapshot.count(resource, namespace))
    }
}

/// Encrypts what may not lie readable on disk. `context` is the object's key: a body moved to another key does not open.
pub trait Sealer: Send + Sync {
    /// Key id, nonce and ciphertext in one.
    fn seal(&self, plain: &[u8], context: &[u8]) -> Bytes;
    /// `None` when the key is unknown or the bytes were changed.
    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Bytes>;
}

/// One of the keys behind a [`Sealer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    pub id: u32,
    pub created: Timestamp,
    /// Since when it seals nothing.
    pub retired: Option<Timestamp>,
}

/// The keys behind a [`Sealer`], kept outside the store.
pub trait Keys: Send + Sync {
    /// The one that seals is the first.
    fn list(&self) -> Vec<KeyFacts>;
    /// Makes a key that seals from now on, and gives its id; it is durable when this returns.
    fn rotate(&self, now: Timestamp) -> Result<u32, KeysError>;
    /// These seal nothing any more. The first one is never retired.
    fn retire(&self, ids: &[u32], now: Timestamp) -> Result<(), KeysError>;
}

/// The keys could not be kept; those from before go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(pub String);

/// Answers `serviceaccounts/token`: the TokenRequest with its status filled.
#[async_trait]
pub trait IssueToken: Send + Sync {
    async fn issue(&self, service_account: &Value, request: Value) -> Result<Issued, Status>;
}

/// The TokenRequest with its status, and what is to be said about it.
pub struct Issued {
    pub request: Value,
    pub warnings: Vec<String>,
}

/// The way to a node's agent.
#[async_trait]
pub trait Relay: Send + Sync {
    /// `request`'s path is the kubelet's: `/containerLogs/{ns}/{pod}/{container}?…`. The error text is for the client.
    async fn request(&self, node: &str, request: http::Request<Body>) -> Result<http::Response<Body>, RelayError>;
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RelayError(pub String);
