//! Turns the certificates into rustls' words. The listener that uses them is `serve.rs`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateError, Pair};

/// TLS 1.3 tickets sent after each handshake; one is enough, clients multiplex.
const TICKETS: usize = 1;

/// The first certificate of a PEM text.
pub(super) fn der(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

pub(super) fn certified(pair: &Pair) -> Result<CertifiedKey, CertificateError> {
    let broken = |_| CertificateError::Tls(rustls::Error::General("a certificate or key is not PEM".into()));
    let chain =
        CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(broken)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(broken)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(CertificateError::Tls)
}

pub(super) fn server_config(
    authority: &str,
    serving: Arc<ArcSwap<CertifiedKey>>,
) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
    let mut roots = RootCertStore::empty();
    let (accepted, _) = roots.add_parsable_certificates(der(authority));
    if accepted == 0 {
        return Err(CertificateError::Tls(rustls::Error::General("the authority is not a certificate".into())));
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| CertificateError::Tls(rustls::Error::General(error.to_string())))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Serving(serving)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(CertificateError::Tls)?;
    config.send_tls13_tickets = TICKETS;
    Ok(Arc::new(config))
}

/// Hands out the current serving certificate, whatever name was asked for.
#[derive(Debug)]
struct Serving(Arc<ArcSwap<CertifiedKey>>);

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
