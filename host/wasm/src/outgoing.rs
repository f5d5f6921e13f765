//! Outgoing HTTP of guests. They may not make sockets: each connection comes from [`Connect`], which resolves names
//! and checks policy; TLS happens here, against the web's roots.

use std::future::Future;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amphipod_runtime::{Connect, PodName};
use futures::future::{Either, select};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// As `wasi:http` leaves it to the host: what a guest gets that sets no timeouts.
const TIMEOUT: Duration = Duration::from_secs(600);

type Result<T> = std::result::Result<T, Error>;
type Io = Box<dyn Future<Output = Result<()>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io)>> + Send>;

pub(crate) struct Outgoing {
    pod: PodName,
    connect: Arc<dyn Connect>,
}

impl Outgoing {
    pub(crate) fn new(pod: PodName, connect: Arc<dyn Connect>) -> Self {
        Self { pod, connect }
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _body: Io) -> Sent {
        let (pod, connect) = (self.pod.clone(), self.connect.clone());
        Box::new(async move {
            let options = options.unwrap_or_default();
            let opened = open(&*connect, &pod, request.uri());
            let stream = timeout(options.connect_timeout.unwrap_or(TIMEOUT), opened)
                .await
                .map_err(|_| Error::ConnectionTimeout)??;
            send(stream, request, options.first_byte_timeout.unwrap_or(TIMEOUT)).await
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn open(connect: &dyn Connect, pod: &PodName, uri: &http::Uri) -> Result<Box<dyn Stream>> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let socket = connect.connect(pod, host, port).await.map_err(refused)?;
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(true).map_err(Error::Connect)?;
    let socket = tokio::net::TcpStream::from_std(socket).map_err(Error::Connect)?;
    // Only latency is lost without it.
    let _ = socket.set_nodelay(true);
    if !secure {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = tokio_rustls::TlsConnector::from(tls());
    Ok(Box::new(connector.connect(name, socket).await.map_err(Error::Tls)?))
}

/// The guest sees which of these it was.
fn refused(error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None },
        ErrorKind::PermissionDenied => Error::HttpRequestDenied,
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::Connect(error),
    }
}

fn tls() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring has the default protocol versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Arc::new(config)
        })
        .clone()
}

/// The connection is driven by whoever awaits the response and, after it, by the returned future.
async fn send(
    stream: Box<dyn Stream>,
    mut request: http::Request<WasiBody>,
    first_byte: Duration,
) -> Result<(http::Response<WasiBody>, Io)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    let mut connection = Some(Box::pin(connection));
    let answered = pin!(timeout(first_byte, sender.send_request(request)));
    let response = match select(answered, connection.as_mut().expect("just made")).await {
        Either::Left((response, _)) => response,
        Either::Right((ended, answered)) => {
            ended?;
            connection = None;
            answered.await
        }
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let io: Pin<Box<dyn Future<Output = Result<()>> + Send>> = Box::pin(async move {
        match connection {
            Some(connection) => connection.await.map_err(Error::from),
            None => Ok(()),
        }
    });
    Ok((response.map(|body| body.map_err(Error::from).boxed_unsync()), Box::new(io)))
}
