//! The server as its owner sees it: what it is made of ([`Options`]), its router, and its in-process clients.

use std::ops::Deref;
use std::sync::Arc;

use amphipod_store::{Error, Snapshot, Store};
use axum::Router;
use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::catalog::{Catalog, Current};
use crate::codec::Codec;
use crate::kinds::{KINDS, Kind};
use crate::limits::Limits;
use crate::measure::{Admissions, Commits, Requests};
use crate::pipeline;
use crate::registry::Registry;
use crate::seams::{Admit, Authenticate, Authorize, Cluster, Identity, IssueToken, Keys, Relay, Sealer};
use crate::tap::Tap;
use crate::usage::Usage;
use crate::webhook_client::Lines;

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a server is made of. Change the fields that matter after [`Options::new`].
pub struct Options {
    pub store: Arc<dyn Store>,
    pub kinds: Vec<&'static Kind>,
    /// Asked in order; the first identity wins, none makes the caller anonymous.
    pub authenticators: Vec<Arc<dyn Authenticate>>,
    pub authorizer: Arc<dyn Authorize>,
    /// Plug-ins in the order they see an object.
    pub admission: Vec<Arc<dyn Admit>>,
    pub clock: Clock,
    pub sealer: Option<Arc<dyn Sealer>>,
    /// Its keys, when they can be rotated.
    pub keys: Option<Arc<dyn Keys>>,
    pub relay: Option<Arc<dyn Relay>>,
    pub tokens: Option<Arc<dyn IssueToken>>,
    /// What this server shows to aggregated APIs: certificate and key, PEM.
    pub front_proxy: Option<(String, String)>,
    /// What `/metrics` shows.
    pub metrics: Option<PrometheusHandle>,
    /// More JSON at plain paths: the issuer's `/.well-known/openid-configuration` and `/openid/v1/jwks`.
    pub pages: Vec<Page>,
    /// How much is served at once.
    pub limits: Limits,
    /// Where the audit log goes; `None`: there is none.
    pub audit: Option<Arc<Audit>>,
}

/// A document that stays as it is.
#[derive(Debug, Clone)]
pub struct Page {
    pub path: &'static str,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Options {
    pub fn new(store: Arc<dyn Store>, authorizer: Arc<dyn Authorize>) -> Self {
        Self {
            store,
            kinds: KINDS.to_vec(),
            authenticators: Vec::new(),
            authorizer,
            admission: Vec::new(),
            clock: Arc::new(Timestamp::now),
            sealer: None,
            keys: None,
            relay: None,
            tokens: None,
            front_proxy: None,
            metrics: None,
            pages: Vec::new(),
            limits: Limits::default(),
            audit: None,
        }
    }
}

/// The API server; a clone is the same server.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// What every request may use.
pub struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) catalog: Current,
    pub(crate) codec: Codec,
    pub(crate) authenticators: Vec<Arc<dyn Authenticate>>,
    pub(crate) authorizer: Arc<dyn Authorize>,
    pub(crate) admission: Vec<Arc<dyn Admit>>,
    pub(crate) clock: Clock,
    pub(crate) keys: Option<Arc<dyn Keys>>,
    pub(crate) relay: Option<Arc<dyn Relay>>,
    pub(crate) tokens: Option<Arc<dyn IssueToken>>,
    pub(crate) front_proxy: Option<(String, String)>,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) pages: Vec<Page>,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) limits: Limits,
    pub(crate) requests: Requests,
    pub(crate) commits: Commits,
    pub(crate) admissions: Admissions,
    /// Cancelled when the server begins to end: it is not ready any more, and watches close.
    pub(crate) ending: CancellationToken,
    /// Streams that outlive the request that opened them; they end with the server.
    pub(crate) tunnels: Mutex<JoinSet<()>>,
    /// To webhooks.
    pub(crate) lines: Arc<Lines>,
    /// What nodes and pods use.
    pub(crate) usage: Arc<Usage>,
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Server {
    /// Resolves the ids of all kinds in the store and prepares the discovery documents.
    pub async fn new(options: Options) -> Result<Self, Error> {
        let registry = Registry::new(&options.kinds, &*options.store).await?;
        Ok(Self(Arc::new(Shared {
            catalog: Current::new(Catalog::new(registry)),
            store: options.store,
            codec: Codec { sealer: options.sealer },
            authenticators: options.authenticators,
            authorizer: options.authorizer,
            admission: options.admission,
            clock: options.clock,
            keys: options.keys,
            relay: options.relay,
            tokens: options.tokens,
            front_proxy: options.front_proxy,
            metrics: options.metrics,
            pages: options.pages,
            limits: options.limits,
            audit: options.audit,
            requests: Requests::default(),
            commits: Commits::default(),
            admissions: Admissions::default(),
            ending: CancellationToken::new(),
            tunnels: Mutex::default(),
            lines: Arc::default(),
            usage: Arc::default(),
        })))
    }

    /// The whole API as one tower service, for listeners and for callers in this process.
    pub fn router(&self) -> Router {
        pipeline::pipeline(self.clone())
    }

    /// A client in this process: no socket, same road as everyone, already authenticated as `identity`.
    pub fn client(&self, identity: Identity) -> kube::Client {
        let agent = agent(&identity.user);
        let identity = Arc::new(identity);
        let with_identity = move |mut request: http::Request<kube::client::Body>| {
            request.extensions_mut().insert(identity.clone());
            request.headers_mut().entry(http::header::USER_AGENT).or_insert_with(|| agent.clone());
            request
        };
        let service = tower::ServiceBuilder::new().map_request(with_identity).service(self.router());
        kube::Client::new(service, "default")
    }

    /// The store's feed for informers in this process. Access is checked when a kind is asked for.
    pub fn source(&self, identity: Identity) -> Arc<dyn amphipod_api::Source> {
        Arc::new(Tap::new(self.clone(), identity))
    }

    /// An object's whole JSON, opened if it lies sealed; what the authorizer's own copy is decoded from.
    pub fn frame(&self, object: &amphipod_store::Object) -> bytes::Bytes {
        self.codec.frame(object)
    }

    /// Begins the end: `/readyz` says so from now on, and watches close so that their clients go elsewhere. What is
    /// under way goes on; listeners are their owner's to stop.
    pub fn end(&self) {
        self.ending.cancel();
    }

    pub(crate) fn tunnel(&self, stream: impl Future<Output = ()> + Send + 'static) {
        let mut tunnels = self.tunnels.lock();
        while tunnels.try_join_next().is_some() {}
        tunnels.spawn(stream);
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// What plug-ins and subresources read from.
    pub fn cluster(&self, snapshot: Arc<dyn Snapshot>) -> Cluster {
        let (store, registry) = (self.store.clone(), self.catalog.registry());
        let (codec, authorizer, lines) = (self.codec.clone(), self.authorizer.clone(), self.lines.clone());
        Cluster { store, snapshot, registry, codec, authorizer, lines }
    }
}

/// What a part of this program calls itself, as upstream's does: the manager of the fields that it writes.
fn agent(user: &str) -> HeaderValue {
    let component = match user.strip_prefix("system:").unwrap_or(user) {
        "apiserver" => "kube-apiserver",
        node if node.starts_with("node:") => "kubelet",
        component => component,
    };
    HeaderValue::from_str(component).unwrap_or(HeaderValue::from_static("unknown"))
}
