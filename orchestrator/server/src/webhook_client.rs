//! How the server asks others: a POST of JSON over TLS to a URL or a Service, within a time. Used for admission and
//! conversion webhooks; aggregation dials the same way.

mod lines;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kinds::json::{is_set, items, text};
use crate::seams::Cluster;
pub use lines::Lines;

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
    let service = &client["service"];
    let base = if is_set(service) {
        let port = service["port"].as_i64().unwrap_or(443);
        format!(
            "https://{}.{}.svc:{port}{}",
            text(&service["name"]),
            text(&service["namespace"]),
            text(&service["path"])
        )
    } else {
        text(&client["url"]).to_owned()
    };
    let mark = if base.contains('?') { '&' } else { '?' };
    format!("{base}{mark}timeout={}s", within.as_secs())
}

async fn target(cluster: &Cluster, client: &Value, within: Duration) -> Result<Target, CallError> {
    let url = named_url(client, within);
    let failed = |why: String| CallError::Failed { url: url.clone(), why };
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let service = &client["service"];
    if is_set(service) {
        let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
        let port = service["port"].as_i64().unwrap_or(443);
        let addresses = service_addresses(cluster, (namespace, name), port).map_err(&failed)?;
        return Ok(Target { server_name: format!("{name}.{namespace}.svc"), url, addresses, path });
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses = found.map_err(|error| failed(format!("dial tcp: lookup {host}: {error}")))?.collect();
    Ok(Target { url, server_name: host, addresses, path })
}

/// Ready endpoints behind a Service's port, the cluster address behind them. The error is upstream's text.
pub fn service_addresses(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    port: i64,
) -> Result<Vec<SocketAddr>, String> {
    let service = cluster.get("services", namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    let ports = items(&service["spec"]["ports"]);
    let wanted = ports.iter().find(|one| one["port"].as_i64() == Some(port));
    let wanted = wanted.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let mut addresses = Vec::new();
    for slice in cluster.list("discovery.k8s.io/endpointslices", Some(namespace)) {
        if text(&slice["metadata"]["labels"]["kubernetes.io/service-name"]) != name {
            continue;
        }
        let named = |one: &&Value| text(&one["name"]) == text(&wanted["name"]);
        let Some(number) = items(&slice["ports"]).iter().find(named).and_then(|one| one["port"].as_u64()) else {
            continue;
        };
        let ready = items(&slice["endpoints"]).iter().filter(|one| one["conditions"]["ready"] != false);
        let ips = ready.flat_map(|one| items(&one["addresses"])).filter_map(|ip| text(ip).parse::<IpAddr>().ok());
        addresses.extend(ips.map(|ip| SocketAddr::new(ip, u16::try_from(number).unwrap_or(0))));
    }
    let own = text(&service["spec"]["clusterIP"]).parse::<IpAddr>().ok();
    if let (true, Some(ip)) = (addresses.is_empty() && !is_set(&service["spec"]["selector"]), own) {
        addresses.push(SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)));
    }
    if let (true, "ExternalName") = (addresses.is_empty(), text(&service["spec"]["type"])) {
        return Err(format!("service {name:?} of type ExternalName has no address of its own"));
    }
    if addresses.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(addresses)
}

/// A TLS connection to the first address that takes one. The error is a text for the client.
pub async fn connect(target: &Target, trust: &Trust) -> Result<TlsStream<TcpStream>, String> {
    let config = Arc::new(config(trust)?);
    let name = ServerName::try_from(target.server_name.clone()).map_err(|error| error.to_string())?;
    let mut why = "no address".to_owned();
    for address in &target.addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let connected = TlsConnector::from(config.clone()).connect(name.clone(), stream).await;
                return connected.map_err(|error| tls_text(&error, &target.server_name));
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
#[allow(dead_code, reason = "for those who call once only")]
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

fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    if trust.authorities.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for authority in CertificateDer::pem_slice_iter(&trust.authorities) {
        roots.add(authority.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let builder = builder.with_root_certificates(roots);
    let mut config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
            let chain = chain.map_err(|error| error.to_string())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
    };
    if trust.skip_verification {
        config.dangerous().set_certificate_verifier(Arc::new(Unverified(provider)));
    }
    Ok(config)
}

/// For who asked for it by `insecureSkipTLSVerify`.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unverified {
    // tidy: wide because rustls asks so
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
