//! Finds the bearer token of a request: the Authorization header, or for browsers' WebSockets a subprotocol.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};

const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// `None` when the request shows no bearer token (another scheme counts as none, as upstream has it).
pub fn token(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    from_authorization(headers).map(Cow::Borrowed).or_else(|| from_websocket(headers).map(Cow::Owned))
}

fn from_authorization(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn from_websocket(headers: &HeaderMap) -> Option<String> {
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded =
        protocols.flat_map(|value| value.split(',')).find_map(|protocol| protocol.trim().strip_prefix(SUBPROTOCOL))?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()?;
    (!token.is_empty()).then_some(token)
}
