//! A guest that serves HTTP/1 and HTTP/2: connections are accepted here, requests go to instances.rs. Neighbour:
//! command.rs.
//!
//! ```text
//! serving ─ stop(grace) ─► draining: nothing is accepted, requests in flight finish ─► 0, or 137 after the grace
//!    └───── out of memory ─► 137 OOMKilled
//! ```

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use amphipod_runtime::Exit;
use futures::future::{Either, select};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::guest::Blueprint;
use crate::instances::Instances;
use crate::start::{Deadline, asked, overdue};
use crate::{Program, exit};

/// After a failed accept (no file descriptors left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For a client to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How instances serve requests; the defaults are those of `wasmtime serve`.
#[derive(Debug, Clone, Copy)]
pub struct HttpOptions {
    /// Requests in flight per container; more wait.
    pub requests_max: usize,
    /// Requests that one instance of a 0.2 component serves, one after the other.
    pub p2_requests_per_instance: usize,
    pub p3_requests_per_instance: usize,
    /// How long an instance waits for its next request.
    pub idle: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            requests_max: 1_000,
            p2_requests_per_instance: 1,
            p3_requests_per_instance: 128,
            idle: Duration::from_secs(1),
        }
    }
}

/// Where connections come from.
pub(crate) struct Sockets {
    listeners: Vec<TcpListener>,
    delivered: mpsc::Receiver<OwnedFd>,
}

impl Sockets {
    pub(crate) fn new(
        listeners: Vec<std::net::TcpListener>,
        delivered: mpsc::Receiver<OwnedFd>,
    ) -> crate::Result<Self> {
        let listen = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listeners = listeners
            .into_iter()
            .map(listen)
            .collect::<io::Result<_>>()
            .map_err(|error| crate::Error::Host(format!("cannot listen: {error}")))?;
        Ok(Self { listeners, delivered })
    }

    /// The next connection; an accept that fails is an error that passes.
    async fn next(&mut self) -> io::Result<Connection> {
        let Self { listeners, delivered } = self;
        let accepted = poll_fn(|cx| {
            for listener in listeners.iter() {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        });
        tokio::select! {
            accepted = accepted => Ok(Connection::Tcp(accepted?.0)),
            Some(socket) = delivered.recv() => Connection::from_socket(socket),
        }
    }
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn from_socket(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let domain = rustix::net::sockopt::socket_domain(&socket)?;
        if domain == rustix::net::AddressFamily::UNIX {
            return UnixStream::from_std(socket.into()).map(Self::Unix);
        }
        TcpStream::from_std(socket.into()).map(Self::Tcp)
    }
}

pub(crate) struct Server {
    blueprint: Arc<Blueprint>,
    instances: Arc<Instances>,
}

impl Server {
    pub(crate) fn new(program: Arc<Program>, blueprint: Arc<Blueprint>, options: HttpOptions) -> Self {
        Self { instances: Instances::new(program, blueprint.clone(), options), blueprint }
    }

    pub(crate) async fn serve(
        self,
        mut sockets: Sockets,
        mut stopped: watch::Receiver<Deadline>,
        started_at: Timestamp,
    ) -> Exit {
        let mut connections = JoinSet::new();
        let closing = stopped.clone();
        loop {
            tokio::select! {
                biased;
                () = self.blueprint.budget.exceeded() => return exit::out_of_memory(started_at),
                () = asked(&mut stopped) => break,
                Some(_) = connections.join_next() => {}
                next = sockets.next() => match next {
                    Ok(connection) => {
                        connections.spawn(self.connection(connection, closing.clone()));
                    }
                    Err(error) => {
                        tracing::debug!("cannot accept: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(sockets);
        let drained = async { while connections.join_next().await.is_some() {} };
        let exit = tokio::select! {
            biased;
            () = drained => exit::code(started_at, 0),
            () = overdue(&mut stopped) => exit::killed(started_at),
        };
        self.instances.end();
        exit
    }

    fn connection(
        &self,
        connection: Connection,
        stopped: watch::Receiver<Deadline>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (instances, blueprint) = (self.instances.clone(), self.blueprint.clone());
        async move {
            match connection {
                Connection::Tcp(stream) => {
                    // Only latency is lost without it.
                    let _ = stream.set_nodelay(true);
                    converse(TokioIo::new(stream), instances, blueprint, stopped).await;
                }
                Connection::Unix(stream) => converse(TokioIo::new(stream), instances, blueprint, stopped).await,
            }
        }
    }
}

/// Serves one connection until the client closes it or, after its request, the container is asked to end.
async fn converse<I>(
    io: I,
    instances: Arc<Instances>,
    blueprint: Arc<Blueprint>,
    mut stopped: watch::Receiver<Deadline>,
) where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (instances, blueprint) = (instances.clone(), blueprint.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&instances, &blueprint, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).pipeline_flush(true);
    builder.http2().timer(TokioTimer::new());
    let connection = std::pin::pin!(builder.serve_connection(io, service));
    let closing = std::pin::pin!(asked(&mut stopped));
    let ended = match select(connection, closing).await {
        Either::Left((ended, _)) => ended,
        Either::Right((_, mut connection)) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection: {error}");
    }
}

async fn answer(
    instances: &Arc<Instances>,
    blueprint: &Blueprint,
    request: hyper::Request<Incoming>,
) -> http::Response<WasiBody> {
    let Some(request) = for_guest(request) else {
        return plain(StatusCode::BAD_REQUEST, "the Host header is no authority\n");
    };
    match instances.handle(request).await {
        Ok(response) => response,
        Err(error) if blueprint.budget.is_exceeded() => {
            tracing::debug!("out of memory: {error:#}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the container ran out of memory\n")
        }
        Err(error) => {
            blueprint.log.note(&format!("amphipod: a request failed: {error:?}\n"));
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed; its log says why\n")
        }
    }
}

/// A guest sees scheme and authority in the request's target, clients send them in the Host header.
pub(crate) fn for_guest(request: hyper::Request<Incoming>) -> Option<http::Request<WasiBody>> {
    let (mut head, body) = request.into_parts();
    if head.uri.authority().is_none() {
        let authority = head.headers.get(http::header::HOST).map_or(b"localhost".as_slice(), |host| host.as_bytes());
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority = Some(authority.try_into().ok()?);
        uri.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
        head.uri = http::Uri::from_parts(uri).ok()?;
    }
    Some(http::Request::from_parts(head, body.map_err(Error::from).boxed_unsync()))
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> http::Response<WasiBody> {
    let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    response
}
