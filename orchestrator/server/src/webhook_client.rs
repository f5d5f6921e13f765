//! How the server asks others: a POST of JSON over TLS to a URL or a Service, within a time. Used for admission and
//! conversion webhooks; aggregation dials the same way.

mod lines;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kinds::json::text;
use crate::seams::Cluster;
use crate::service_reference::ServiceReference;
pub use lines::Lines;
use verify::Verifier;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer, in the words of Go's client.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("Post {url:?}: {why}")]
    Failed { url: String, why: String },
    #[error("Post {url:?}: context deadline exceeded")]
    TimedOut { url: String },
    /// The other side answered something else than 200.
    #[error("{0}")]
    Answer(String),
}

/// Where somebody is reached: what the request says, and where it goes.
pub struct Target {
    /// `https://name.namespace.svc:443/path`
    pub url: String,
    /// What the certificate must be for.
    pub server_name: String,
    pub addresses: Vec<SocketAddr>,
    pub path: String,
}

/// How the other side is known, and how we show who we are.
#[derive(Default, Clone)]
pub struct Trust {
    /// PEM; empty: the public authorities.
    pub authorities: Vec<u8>,
    pub skip_verification: bool,
    /// Our certificate and key, PEM.
    pub identity: Option<(String, String)>,
}

/// Sends `body` to the `clientConfig` of a webhook and reads its answer as JSON.
pub async fn post(cluster: &Cluster, client: &Value, body: &Value, within: Duration) -> Result<Value, CallError> {
    let asked = async {
        let target = target(cluster, client, within).await?;
        let authorities = STANDARD.decode(text(&client["caBundle"])).unwrap_or_default();
        let failed = |why: String| CallError::Failed { url: target.url.clone(), why };
        let trust = Trust { authorities, ..Trust::default() };
        let body = Bytes::from(body.to_string());
        let request = || {
            let request = Request::post(&target.path)
                .header(header::HOST, host(&target.url))
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json, */*")
                .header(header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(body.clone()));
            request.map_err(|error| error.to_string())
        };
        let response = cluster.lines.send(&target, &trust, request).await.map_err(&failed)?;
        if !response.status().is_success() {
            return Err(CallError::Answer(refusal(response.status(), response.body())));
        }
        serde_json::from_slice(response.body()).map_err(|error| CallError::Answer(error.to_string()))
    };
    let url = named_url(client, within);
    tokio::time::timeout(within, asked).await.unwrap_or(Err(CallError::TimedOut { url }))
}

/// What Go's rest client says of an answer that is no Status.
fn refusal(status: http::StatusCode, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok();
    let message = said.as_ref().map_or("", |said| text(&said["message"]));
    match status {
        _ if !message.is_empty() => message.to_owned(),
        http::StatusCode::NOT_FOUND => "the server could not find the requested resource".to_owned(),
        status if status.is_server_error() => {
            let shown = String::from_utf8_lossy(body);
            format!("an error on the server ({:?}) has prevented the request from succeeding", shown.trim())
        }
        status => {
            format!("the server responded with the status code {} but did not return more information", status.as_u16())
        }
    }
}

fn host(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    rest.split('/').next().unwrap_or(rest)
}

/// The address as errors name it.
fn named_url(client: &Value, within: Duration) -> String {
    let base = match ServiceReference::of(&client["service"]) {
        Some(service) => {
            format!("https://{}:{}{}", service.server_name(), service.port, text(&client["service"]["path"]))
        }
        None => text(&client["url"]).to_owned(),
    };
    let mark = if base.contains('?') { '&' } else { '?' };
    format!("{base}{mark}timeout={}s", within.as_secs())
}

async fn target(cluster: &Cluster, client: &Value, within: Duration) -> Result<Target, CallError> {
    let url = named_url(client, within);
    let failed = |why: String| CallError::Failed { url: url.clone(), why };
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if let Some(service) = ServiceReference::of(&client["service"]) {
        let addresses = service.addresses(cluster).await.map_err(|error| failed(error.to_string()))?;
        return Ok(Target { server_name: service.server_name(), url, addresses, path });
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses = found.map_err(|error| failed(format!("dial tcp: lookup {host}: {error}")))?.collect();
    Ok(Target { url, server_name: host, addresses, path })
}

/// A TLS connection to the first address that takes one. The error is a text for the client.
pub async fn connect(target: &Target, trust: &Trust) -> Result<TlsStream<TcpStream>, String> {
    let config = Arc::new(config(trust)?);
    let name = ServerName::try_from(target.server_name.clone()).map_err(|error| error.to_string())?;
    let stream = dial(&target.addresses).await?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|error| tls_text(&error, &target.server_name))
}

/// A connection to the first address that takes one. The error is a text for the client.
pub async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => why = format!("dial tcp {address}: connect: {}", plain(&error)),
        }
    }
    Err(why)
}

/// What Go's client says of a handshake that failed.
fn tls_text(error: &std::io::Error, name: &str) -> String {
    use rustls::CertificateError as Bad;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(bad)) = inner else { return error.to_string() };
    let why = match bad {
        Bad::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!("certificate is not valid for {name}"),
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// One request over a connection of its own, its answer whole.
pub async fn exchange(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end before its last bytes were read from it.
        _ = &mut connection => answer.await,
    }
}

/// TLS towards whom `trust` describes.
pub fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verifier = match trust.skip_verification {
        true => Verifier::of_anyone(provider),
        false => Verifier::new(&trust.authorities, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match &trust.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
            let chain = chain.map_err(|error| error.to_string())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())
        }
    }
}
