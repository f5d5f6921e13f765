//! The way to a registry: references, which of them may go without TLS, and its errors in our words.

use std::net::IpAddr;
use std::time::Duration;

use amphipod_runtime::{Credentials, ImageError};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn parse(reference: &str) -> Result<Reference, ImageError> {
    let invalid = |reason: String| ImageError::InvalidName { reference: reference.into(), reason };
    let parsed: Reference = reference.parse().map_err(|error: oci_client::ParseError| invalid(error.to_string()))?;
    let repository = parsed.repository();
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(invalid(format!("invalid reference format: repository name ({repository}) must be lowercase")));
    }
    Ok(parsed)
}

/// A client for one operation, so that tokens of different credentials never mix.
pub(crate) fn client(reference: &Reference) -> Client {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = reference.resolve_registry();
    let protocol = if is_loopback(registry) {
        ClientProtocol::HttpsExcept(vec![registry.to_owned()])
    } else {
        ClientProtocol::Https
    };
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: "amphipod",
        ..ClientConfig::default()
    })
}

/// As container tools do: a registry on this machine is spoken to in plain HTTP.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(crate) fn auth(credentials: &Credentials) -> RegistryAuth {
    match credentials {
        Credentials::Anonymous => RegistryAuth::Anonymous,
        Credentials::Basic { username, password } => RegistryAuth::Basic(username.clone(), password.clone()),
        Credentials::Bearer(token) => RegistryAuth::Bearer(token.clone()),
    }
}

pub(crate) fn failed(reference: &str, error: &OciDistributionError) -> ImageError {
    let reference = reference.to_owned();
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => ImageError::NotFound { reference },
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            ImageError::Denied { reference, reason: "the registry wants other credentials".into() }
        }
        OciDistributionError::RegistryError { envelope, .. } => envelope_failed(reference, envelope),
        OciDistributionError::ServerError { code: 404, .. } => ImageError::NotFound { reference },
        OciDistributionError::ServerError { code: 401 | 403, message, .. } => {
            ImageError::Denied { reference, reason: message.clone() }
        }
        OciDistributionError::DigestError(error) => {
            ImageError::Invalid { reference, reason: format!("what the registry sent is corrupt: {error}") }
        }
        other => ImageError::Registry { reference, reason: chain(other) },
    }
}

fn envelope_failed(reference: String, envelope: &oci_client::errors::OciEnvelope) -> ImageError {
    let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
    if has(&[
        OciErrorCode::ManifestUnknown,
        OciErrorCode::NameUnknown,
        OciErrorCode::NotFound,
        OciErrorCode::BlobUnknown,
    ]) {
        ImageError::NotFound { reference }
    } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
        ImageError::Denied { reference, reason: envelope.to_string() }
    } else {
        ImageError::Registry { reference, reason: envelope.to_string() }
    }
}

/// An error with its causes: "error sending request" alone helps nobody.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_written_in_lower_case() {
        for (reference, valid) in [
            ("UPPER/x:1", false),
            ("localhost:5000/a/B:1", false),
            ("LOCALHOST:5000/a:V1", true),
            ("hello", true),
            ("ghcr.io/a/b@sha256:7cc53b43704ba1f25e9ed297fd1b46db2fa5b9e920ea5bf0995fd892af5eab87", true),
        ] {
            assert_eq!(parse(reference).is_ok(), valid, "{reference}");
        }
    }

    #[test]
    fn only_registries_on_this_machine_go_without_tls() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.42.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("ghcr.io", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }
}
