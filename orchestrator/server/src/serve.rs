//! The listener: TLS with optional client certificates, HTTP/2 and 1.1 by ALPN, one identity per connection.
//! What a request meets next is `pipeline.rs`; the TLS configuration comes from `certificates.rs`.
//!
//! ```text
//!  accept ─► (a permit of connections_max) ─► handshake ≤ 10 s ─► Peer ─► HTTP ─► done
//!  stop: no more accepts, connections finish their requests, after `grace` they are cut
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::authn::certificate::{Peer, identity};

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HEADERS_MAX: Duration = Duration::from_secs(30);
/// Accepting failed for want of descriptors or memory: try again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const STREAMS_MAX: u32 = 1_000;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What one listener allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How long running requests may go on after the stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 20_000, grace: Duration::from_secs(10) }
    }
}

/// How bytes become requests.
#[derive(Clone)]
pub enum Transport {
    Tls(Arc<rustls::ServerConfig>),
    /// Loopback services of our own only (probes, the registry).
    Plain,
}

/// Serves until `stop`, then ends gracefully. Run one for each bound address, in the owner's `JoinSet`.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    router: Router,
    (limits, stop): (Limits, CancellationToken),
) {
    let graceful = GracefulShutdown::new();
    let server = Arc::new(Server { builder: builder(), transport, router });
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let (server, watcher) = (server.clone(), graceful.watcher());
                connections.spawn(async move {
                    server.connection(stream, address, watcher).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    if tokio::time::timeout(limits.grace, finished).await.is_err() {
        tracing::info!(connections = permits_taken(&permits, &limits), "connections are cut after the grace period");
    }
}

struct Server {
    builder: Builder<TokioExecutor>,
    transport: Transport,
    router: Router,
}

impl Server {
    async fn connection(&self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        _ = stream.set_nodelay(true);
        match &self.transport {
            Transport::Plain => self.requests(stream, Peer { address, identity: None }, watcher).await,
            Transport::Tls(config) => {
                let handshake = TlsAcceptor::from(config.clone()).accept(stream);
                match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
                    Ok(Ok(stream)) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let now = Timestamp::now().as_second();
                        let identity = certificate.and_then(|certificate| identity(certificate, now)).map(Arc::new);
                        self.requests(stream, Peer { address, identity }, watcher).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
                }
            }
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        watcher: Watcher,
    ) {
        let address = peer.address;
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request.map(Body::new))
        });
        let connection = self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%address, %error, "connection ended");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_MAX).pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .enable_connect_protocol(); // WebSockets over HTTP/2
    builder
}

fn permits_taken(permits: &Semaphore, limits: &Limits) -> usize {
    limits.connections_max - permits.available_permits()
}

#[cfg(test)]
mod tests;
