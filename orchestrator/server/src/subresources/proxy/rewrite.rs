//! What leads away from the proxy is turned back to it: redirects and `X-Forwarded` headers carry the prefix that the
//! client came in by. Bodies are not looked into.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

const SCHEME: &str = "https";
/// `/api/v1/nodes/NAME/proxy`, `/api/v1/namespaces/NS/pods/NAME/proxy`
const CLUSTER_SEGMENTS: usize = 5;
const NAMESPACED_SEGMENTS: usize = 7;

/// The part of the address before what is passed on, and the host that the client asked.
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

    /// `authority` is who answered.
    pub fn rewrite(&self, response: &mut Response, authority: &str) {
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let Some(location) = location.map(|location| self.location(location, authority)) else { return };
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }

    fn location(&self, location: &str, authority: &str) -> String {
        let Ok(uri) = location.parse::<Uri>() else { return location.to_owned() };
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let is_elsewhere = !host.is_empty() && host != authority && host != self.host;
        let is_relative = host.is_empty() && !location.starts_with('/');
        if is_elsewhere || is_relative {
            return location.to_owned();
        }
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let base = if self.host.is_empty() { String::new() } else { format!("{SCHEME}://{}", self.host) };
        let is_here = uri.path() == self.path || uri.path().starts_with(&format!("{}/", self.path));
        let prefix = if is_here { "" } else { self.path.as_str() };
        format!("{base}{prefix}{}{query}", uri.path())
    }
}
