//! What leads away from the proxy is turned back to it: redirects, links in pages (`html.rs`) and `X-Forwarded` headers
//! carry the prefix that the client came in by.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::html::Page;

const SCHEME: &str = "https";
/// Other origins must not be let in by who is behind.
const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];
/// `/api/v1/nodes/NAME/proxy`, `/api/v1/namespaces/NS/pods/NAME/proxy`
const CLUSTER_SEGMENTS: usize = 5;
const NAMESPACED_SEGMENTS: usize = 7;

/// The part of the address before what is passed on, and the host that the client asked.
#[derive(Clone)]
pub struct Prefix {
    path: String,
    host: String,
}

impl Prefix {
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let segments =
            if uri.path().starts_with("/api/v1/namespaces/") { NAMESPACED_SEGMENTS } else { CLUSTER_SEGMENTS };
        let end = uri.path().match_indices('/').nth(segments).map_or(uri.path().len(), |(at, _)| at);
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        Self { path: uri.path()[..end].to_owned(), host: host.to_owned() }
    }

    /// What is passed on, as it came: `/a/b%20c`, or nothing.
    pub fn rest<'a>(&self, uri: &'a Uri) -> &'a str {
        &uri.path()[self.path.len()..]
    }

    pub fn with_slash(&self, uri: &Uri) -> String {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{query}", self.path)
    }

    /// Tells the other side where the client thinks it is.
    pub fn tell(&self, headers: &mut HeaderMap, address: &str) {
        let path = address.split('?').next().unwrap_or_default();
        for (name, value) in [
            ("x-forwarded-uri", format!("{}{path}", self.path)),
            ("x-forwarded-host", self.host.clone()),
            ("x-forwarded-proto", SCHEME.to_owned()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    /// Turns what leads away. `authority` is who answered.
    pub fn rewrite(&self, response: Response, authority: &str) -> Response {
        let mut response = response;
        CORS.iter().for_each(|name| drop(response.headers_mut().remove(name)));
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location.map(|location| self.location(location, authority)) {
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return response;
        }
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_page =
            content_type.is_some_and(|value| value.split(';').next().unwrap_or_default().trim() == "text/html");
        if !is_page || response.headers().contains_key(header::CONTENT_ENCODING) {
            return response;
        }
        self.page(response, authority.to_owned())
    }

    fn page(&self, response: Response, authority: String) -> Response {
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        let (prefix, page) = (self.clone(), Page::default());
        let pieces = futures::stream::unfold(Some((body.into_data_stream(), page)), move |state| {
            let (prefix, authority) = (prefix.clone(), authority.clone());
            async move {
                let (mut pieces, mut page) = state?;
                match pieces.next().await {
                    Some(Ok(piece)) => {
                        let turned = page.push(&piece, &|url| prefix.location(url, &authority));
                        Some((Ok(Bytes::from(turned)), Some((pieces, page))))
                    }
                    Some(Err(error)) => Some((Err(error), None)),
                    None => Some((Ok(Bytes::from(page.end())), None)),
                }
            }
        });
        Response::from_parts(parts, Body::from_stream(pieces))
    }

    fn location(&self, location: &str, authority: &str) -> String {
        let Ok(uri) = location.parse::<Uri>() else { return location.to_owned() };
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let is_elsewhere = !host.is_empty() && host != authority && host != self.host;
        let is_relative = host.is_empty() && !location.starts_with('/');
        if is_elsewhere || is_relative || location.starts_with("//") {
            return location.to_owned();
        }
        // What is behind the path stays as it is written, a fragment too.
        let start = if host.is_empty() { 0 } else { location.find(host).map_or(0, |at| at + host.len()) };
        let (base, path) = location.split_at(start);
        let base = if host == self.host { base } else { "" };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let is_here = uri.path() == self.path || uri.path().starts_with(&format!("{}/", self.path));
        let prefix = if is_here { "" } else { self.path.as_str() };
        format!("{base}{prefix}{path}")
    }
}
