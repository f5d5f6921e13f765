//! The way to the server behind an APIService: TLS connections that are kept while they are used, opened to whatever
//! endpoints its Service has at that moment.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use amphipod_store::Store;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::codec::Codec;
use crate::kinds::api_service::API_SERVICE;
use crate::kinds::json::text;
use crate::registry::Registry;
use crate::seams::{Authorize, Cluster};
use crate::server::Server;
use crate::service_reference::ServiceReference;
use crate::webhook_client::{self, Lines, Trust};

const CONNECT_MAX: Duration = Duration::from_secs(30);
/// A connection that nobody used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_MAX: usize = 16;

/// Where a Service's server is asked from; lives as long as the APIService says the same of it.
pub struct Backend {
    pub service: Service,
    /// What of the APIService it was made from.
    pub made_of: Value,
    /// Why no connection can be made: what the APIService says to trust is no certificate.
    pool: Result<Client<HttpsConnector<Dial>, Body>, String>,
}

/// Which Service, port among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub port: i64,
}

impl Service {
    pub fn reference(&self) -> ServiceReference<'_> {
        ServiceReference { namespace: &self.namespace, name: &self.name, port: self.port }
    }
}

/// What of an APIService decides how its backend is reached; `None` when it is answered here. The group that says who
/// answers is nobody else's.
pub fn made_of(service: &Value) -> Option<Value> {
    let spec = &service["spec"];
    if spec["group"] == API_SERVICE.group {
        return None;
    }
    ServiceReference::of(&spec["service"])?;
    Some(serde_json::json!([spec["service"], spec["caBundle"], spec["insecureSkipTLSVerify"]]))
}

impl Backend {
    /// `made_of` as the function of that name gives it.
    pub fn new(server: &Server, made_of: Value) -> Self {
        let reference = ServiceReference::of(&made_of[0]).expect("it was made of a reference");
        let (namespace, name) = (reference.namespace.to_owned(), reference.name.to_owned());
        let service = Service { namespace, name, port: reference.port };
        let trust = Trust {
            authorities: STANDARD.decode(text(&made_of[1])).unwrap_or_default(),
            skip_verification: made_of[2] == true,
            identity: server.front_proxy.clone(),
        };
        let dial = Dial(Arc::new(Finder::new(server, service.clone())));
        let pool = webhook_client::config(&trust).map(|config| {
            let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_MAX)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .build(connector.wrap_connector(dial))
        });
        Self { service, made_of, pool }
    }

    /// `path` with its query, at this backend.
    pub fn address(&self, path: &str) -> Option<Uri> {
        format!("https://{}:{}{path}", self.service.reference().server_name(), self.service.port).parse().ok()
    }

    /// Sends a request whose address is from [`Backend::address`]. The error is a text for the client.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let pool = self.pool.as_ref().map_err(|why| SendError::Unusable(why.clone()))?;
        pool.request(request).await.map_err(|error| SendError::Unreachable(root(&error)))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The APIService itself must be changed.
    #[error("{0}")]
    Unusable(String),
    /// Later it may be well.
    #[error("error trying to reach service: {0}")]
    Unreachable(String),
}

/// The innermost reason; what lies around it says only where it was met.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What finding a Service needs of the server, without holding it.
struct Finder {
    service: Service,
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    codec: Codec,
    authorizer: Arc<dyn Authorize>,
    lines: Arc<Lines>,
}

impl Finder {
    fn new(server: &Server, service: Service) -> Self {
        let registry = server.catalog.registry();
        let (codec, authorizer, lines) = (server.codec.clone(), server.authorizer.clone(), server.lines.clone());
        Self { service, store: server.store.clone(), registry, codec, authorizer, lines }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let cluster = Cluster {
            store: self.store.clone(),
            snapshot: self.store.snapshot(),
            registry: self.registry.clone(),
            codec: self.codec.clone(),
            authorizer: self.authorizer.clone(),
            lines: self.lines.clone(),
        };
        self.service.reference().addresses(&cluster).await.map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, DialError> {
        let addresses = self.addresses().await.map_err(DialError)?;
        let dialled = tokio::time::timeout(CONNECT_MAX, webhook_client::dial(&addresses)).await;
        dialled.unwrap_or_else(|_| Err("i/o timeout".to_owned())).map(TokioIo::new).map_err(DialError)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(String);

/// Opens connections for the pool, whatever address it asks for.
#[derive(Clone)]
struct Dial(Arc<Finder>);

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let finder = self.0.clone();
        Box::pin(async move { finder.connect().await })
    }
}
