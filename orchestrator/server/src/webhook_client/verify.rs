//! Whether a server is who it should be.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// By the given authorities, by the public ones where none are given, or not at all.
#[derive(Debug)]
pub struct Verifier {
    /// `None` for who asked for it by `insecureSkipTLSVerify`.
    by_roots: Option<Arc<WebPkiServerVerifier>>,
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub fn new(authorities: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(authorities).collect();
        let authorities = authorities.map_err(|error| error.to_string())?;
        let mut roots = RootCertStore::empty();
        if authorities.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|error| error.to_string())?;
        }
        let by_roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Ok(Self { by_roots: Some(by_roots.map_err(|error| error.to_string())?), authorities, provider })
    }

    pub fn of_anyone(provider: Arc<CryptoProvider>) -> Self {
        Self { by_roots: None, authorities: Vec::new(), provider }
    }

    /// Go, and so upstream, takes a certificate that is trusted itself, even one that may sign others: what
    /// `openssl req -x509` makes. webpki does not.
    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>) -> bool {
        self.authorities.iter().any(|authority| authority == certificate)
    }
}

fn check_alone(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
    let now = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).map_err(|_| bad())?).map_err(|_| bad())?;
    match parsed.validity().is_valid_at(now) {
        true => Ok(()),
        false => Err(rustls::Error::InvalidCertificate(CertificateError::Expired)),
    }
}

impl ServerCertVerifier for Verifier {
    // tidy: wide because rustls asks so
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(by_roots) = &self.by_roots else { return Ok(ServerCertVerified::assertion()) };
        if self.is_trusted_itself(end_entity) {
            return check_alone(end_entity, server_name, now).map(|()| ServerCertVerified::assertion());
        }
        by_roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_its_own_authority_is_taken_for_its_names() {
        let mut params = rcgen::CertificateParams::new(vec!["hook.example".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(made.pem().as_bytes(), provider).unwrap();
        let ask = |name: &'static str, at| {
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
            verifier.verify_server_cert(made.der(), &[], &ServerName::try_from(name).unwrap(), &[], at).is_ok()
        };
        let now = 1_790_000_000;
        assert!(ask("hook.example", now));
        assert!(!ask("other.example", now), "another name");
        assert!(!ask("hook.example", 0), "before its time");
    }
}
