//! A real handshake over loopback.

use axum::Extension;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;
use crate::certificates::{Certificates, Pair, Sans, Subject};

async fn whoami(Extension(peer): Extension<Peer>) -> String {
    peer.identity.map_or("nobody".to_owned(), |identity| format!("{} {}", identity.user, identity.groups.join(" ")))
}

fn client_config(authority: &str, client: Option<&Pair>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn ask(address: SocketAddr, config: rustls::ClientConfig) -> String {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = connector.connect(ServerName::try_from("kubernetes.default.svc").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get("https://kubernetes/whoami").body(Empty::<bytes::Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_has_the_identity_of_its_certificate_and_ends_on_stop() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(directory.path(), Sans::new("box", [10, 43, 0, 1].into(), &[])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let transport = Transport::Tls(certificates.server_config().unwrap());
    let router = Router::new().route("/whoami", get(whoami));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, transport, router, (Limits::default(), stop.clone())));
    let authority = certificates.authority_pem();
    let admin = certificates.clients().client(&Subject::new("admin", &["system:masters"]), Timestamp::now()).unwrap();
    assert_eq!(ask(address, client_config(authority, Some(&admin))).await, "admin system:masters system:authenticated");
    assert_eq!(ask(address, client_config(authority, None)).await, "nobody");
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn what_is_under_way_finishes_after_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, arrived) = (CancellationToken::new(), CancellationToken::new());
    let (told, ended) = (arrived.clone(), stop.clone());
    let slow = move || async move {
        told.cancel();
        ended.cancelled().await;
        tokio::task::yield_now().await;
        "done"
    };
    let router = Router::new().route("/slow", get(slow));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, Transport::Plain, router, (Limits::default(), stop.clone())));
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut client = JoinSet::new();
    client.spawn(connection);
    let request = Request::get("/slow").header("host", "x").body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = sender.send_request(request);
    client.spawn(async move {
        arrived.cancelled().await;
        stop.cancel();
        Ok(())
    });
    let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"done");
    tasks.join_next().await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}
