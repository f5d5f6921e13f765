//! Issues certificates with rcgen and judges those on disk with x509-parser. ECDSA P-256 throughout. The subjects of
//! clients are in `certificates/subject.rs`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{AUTHORITY_LIFE, CertificateError, LEAF_LIFE, Leaf, Pair, RENEW_BEFORE, Sans, Subject, subject, tls};

/// Clocks of other machines may be behind by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// What a signed request may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
}

/// A new P-256 key as PKCS#8 PEM.
pub(super) fn key() -> Result<String, CertificateError> {
    Ok(KeyPair::generate().map_err(failed("a key"))?.serialize_pem())
}

pub(super) fn authority(name: &str, now: Timestamp) -> Result<Pair, CertificateError> {
    let key = KeyPair::generate().map_err(failed(name))?;
    let mut params = lasting(now, AUTHORITY_LIFE);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(failed(name))?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

pub(super) fn leaf(issuer: &Issuer<'_, KeyPair>, leaf: Leaf<'_>, now: Timestamp) -> Result<Pair, CertificateError> {
    let mut params = lasting(now, LEAF_LIFE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    match leaf {
        Leaf::Client(_) => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        Leaf::Server(sans) => {
            params.distinguished_name.push(DnType::CommonName, "kubernetes");
            params.subject_alt_names = alternative_names(sans)?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }
    }
    let key = KeyPair::generate().map_err(failed("a leaf"))?;
    let certificate = params.signed_by(&key, issuer).map_err(failed("a leaf"))?;
    let certificate = match leaf {
        Leaf::Client(subject) => subject::named(&certificate, subject, issuer)?,
        Leaf::Server(_) => certificate.pem(),
    };
    Ok(Pair { certificate, key: key.serialize_pem() })
}

pub(super) fn request(
    issuer: &Issuer<'_, KeyPair>,
    request: &str,
    usage: Usage,
    (now, life): (Timestamp, Duration),
) -> Result<String, CertificateError> {
    let refused = |error: rcgen::Error| CertificateError::Request(error.to_string());
    let asked = CertificateSigningRequestParams::from_pem(request).map_err(refused)?;
    let mut params = lasting(now, life);
    params.subject_alt_names = asked.params.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![match usage {
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    let certificate = params.signed_by(&asked.public_key, issuer).map_err(refused)?;
    subject::named(&certificate, &request_subject(request)?, issuer)
}

/// Whom a PEM certificate request asks to stand for.
pub fn request_subject(request: &str) -> Result<Subject, CertificateError> {
    let refused = |problem: &str| CertificateError::Request(problem.to_owned());
    let (_, pem) = x509_parser::pem::parse_x509_pem(request.as_bytes()).map_err(|_| refused("it is not PEM"))?;
    let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
        .map_err(|_| refused("it is not a PKCS#10 request"))?;
    subject::read(&request.certification_request_info.subject).ok_or_else(|| refused("it has no common name"))
}

/// The pair can still be used for `leaf`: same authority, names and key, and not about to end.
pub(super) fn still_good(pair: &Pair, authority: &str, leaf: Leaf<'_>, now: Timestamp) -> bool {
    let (Some(der), Some(authority)) = (tls::der(&pair.certificate), tls::der(authority)) else { return false };
    let (Ok((_, certificate)), Ok((_, authority))) =
        (X509Certificate::from_der(&der), X509Certificate::from_der(&authority))
    else {
        return false;
    };
    let left = certificate.validity().not_after.timestamp() - now.as_second();
    let named = match leaf {
        Leaf::Client(wanted) => subject::read(certificate.subject()).as_ref() == Some(wanted),
        Leaf::Server(wanted) => sans(&certificate) == *wanted,
    };
    named
        && left > RENEW_BEFORE.as_secs() as i64
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
        && belongs(pair)
}

/// The key is the certificate's.
pub(super) fn belongs(pair: &Pair) -> bool {
    let (Some(der), Ok(key)) = (tls::der(&pair.certificate), KeyPair::from_pem(&pair.key)) else { return false };
    X509Certificate::from_der(&der)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

fn sans(certificate: &X509Certificate<'_>) -> Sans {
    let mut sans = Sans { names: BTreeSet::new(), addresses: BTreeSet::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return sans };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => _ = sans.names.insert((*name).to_owned()),
            GeneralName::IPAddress(bytes) => _ = address(bytes).map(|address| sans.addresses.insert(address)),
            _ => {}
        }
    }
    sans
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn alternative_names(sans: &Sans) -> Result<Vec<SanType>, CertificateError> {
    let names = sans.names.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into().map_err(failed(name))?)));
    names.chain(sans.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)))).collect()
}

fn lasting(now: Timestamp, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_second().unsigned_abs());
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + life;
    params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes()));
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(
    subject: &str,
) -> impl FnOnce(E) -> CertificateError + use<E> {
    let subject = subject.to_owned();
    move |source| CertificateError::Issue { subject, source: Box::new(source) }
}
