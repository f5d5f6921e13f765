//! A request for an aggregated API on its way: who asks is told in headers that only this server's certificate makes
//! believable, everything else goes through as it came, answers too. Source: kube-aggregator's handler_proxy and
//! client-go's round_trippers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Remote;
use super::backend::SendError;
use crate::forward::{self, Relayed};
use crate::seams::Identity;
use crate::server::Server;

pub const USER: HeaderName = HeaderName::from_static("x-remote-user");
pub const UID: HeaderName = HeaderName::from_static("x-remote-uid");
pub const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";
/// What an extra's key may not have in a header's name; these are all that a token may have besides letters and digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

pub async fn relay(server: &Server, remote: &Remote, identity: &Identity, request: Request<Body>) -> Response {
    if !remote.is_available {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let mut request = request;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some(address) = remote.backend.address(path) else {
        return plain(StatusCode::BAD_REQUEST, "the address behind the proxy is not a path");
    };
    *request.uri_mut() = address;
    *request.version_mut() = http::Version::HTTP_11;
    let client = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    request.extensions_mut().clear();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    forward::drop_hops(request.headers_mut(), upgrade.as_ref());
    forward::drop_credentials(request.headers_mut());
    request.headers_mut().remove(header::HOST);
    name_caller(request.headers_mut(), identity);
    let mut response = match remote.backend.send(request).await {
        Ok(response) => response,
        Err(error @ SendError::Unusable(_)) => return plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => return plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    response.extensions_mut().insert(Relayed);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = client {
            let behind = hyper::upgrade::on(&mut response);
            server.tunnel(forward::tunnel(client, behind));
        }
        return response.map(|_| Body::empty());
    }
    forward::drop_hops(response.headers_mut(), None);
    response.map(Body::new)
}

/// Says for whom the request is; what a client wrote there itself is gone.
pub fn name_caller(headers: &mut HeaderMap, identity: &Identity) {
    let given: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    given.iter().for_each(|name| drop(headers.remove(name)));
    let mut add = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.append(name, value);
        }
    };
    add(USER, &identity.user);
    identity.uid.iter().for_each(|uid| add(UID, uid));
    identity.groups.iter().for_each(|group| add(GROUP, group));
    for (key, values) in &identity.extra {
        let name = format!("{EXTRA}{}", utf8_percent_encode(&key.to_ascii_lowercase(), ESCAPED)).to_ascii_lowercase();
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        values.iter().for_each(|value| add(name.clone(), value));
    }
}

fn is_ours(name: &HeaderName) -> bool {
    [USER, UID, GROUP].contains(name) || name.as_str().starts_with(EXTRA)
}

/// As Go's `http.Error` writes it.
fn plain(code: StatusCode, text: &str) -> Response {
    let mut response = (code, format!("{text}\n")).into_response();
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response.extensions_mut().insert(Relayed);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_caller_and_nobody_else() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", "mallory".parse().unwrap());
        headers.insert("x-remote-extra-own", "x".parse().unwrap());
        let mut identity = Identity::new("alice", &["a", "b"]);
        identity.uid = Some("7".to_owned());
        identity.extra.insert("example.com/Key".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        name_caller(&mut headers, &identity);
        let mut shown: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        shown.sort();
        let expected = [
            "x-remote-extra-example.com%2fkey: 1",
            "x-remote-extra-example.com%2fkey: 2",
            "x-remote-group: a",
            "x-remote-group: b",
            "x-remote-uid: 7",
            "x-remote-user: alice",
        ];
        assert_eq!(shown, expected);
    }
}
