//! Carries one request over a connection of its own: dialled, sealed with TLS where asked (whose certificate nobody can
//! check here, as upstream does not), sent, and held open both ways when the protocol changes.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::target::Target;
use crate::forward::{self, drop_hops};
use crate::reply::Status;
use crate::server::Server;

const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub async fn carry(server: &Server, target: &Target, request: http::Request<Body>) -> Result<Response, Status> {
    let failed = |why: String| Status::unavailable(format!("error trying to reach service: {why}"));
    let mut request = request;
    let client = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    drop_hops(request.headers_mut(), upgrade.as_ref());
    let stream = dial(target).await.map_err(failed)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(error.to_string()))?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let mut response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = client {
            let behind = hyper::upgrade::on(&mut response);
            server.tunnel(tunnel(client, behind, driver));
        }
        return Ok(response.map(|_| Body::empty()));
    }
    drop_hops(response.headers_mut(), None);
    Ok(response.map(|body| Body::new(Carried { body, _driver: driver })))
}

/// `Err` is said as Go's clients say it.
async fn dial(target: &Target) -> Result<Box<dyn Stream>, String> {
    let Target::Address { is_tls, ip, port } = target else { return Err("the agent is not dialled".to_owned()) };
    let address = SocketAddr::new(*ip, *port);
    let said = |why: &str| format!("dial tcp {address}: {why}");
    let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| said("i/o timeout"))?.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => said("connect: connection refused"),
        ErrorKind::HostUnreachable => said("connect: no route to host"),
        ErrorKind::NetworkUnreachable => said("connect: network is unreachable"),
        _ => said(&error.to_string()),
    })?;
    _ = stream.set_nodelay(true);
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::IpAddress((*ip).into());
    let stream = tokio_rustls::TlsConnector::from(Arc::new(open_tls()?)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| error.to_string())?))
}

async fn tunnel(client: OnUpgrade, behind: OnUpgrade, _driver: JoinSet<()>) {
    forward::tunnel(client, behind).await;
}

/// A body whose connection lives as long as it.
struct Carried {
    body: Incoming,
    _driver: JoinSet<()>,
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// TLS without a question who it is: certificates of pods are their own affair.
fn open_tls() -> Result<rustls::ClientConfig, String> {
    let mut config = kube::Config::new(http::Uri::from_static("https://pod"));
    config.accept_invalid_certs = true;
    config.rustls_client_config().map_err(|error| error.to_string())
}
