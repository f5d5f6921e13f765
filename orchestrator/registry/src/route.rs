//! Which end-point a path means. Names hold slashes, so paths are read from their end.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::name::Name;
use crate::{Refusal, Registry, blobs, manifests};

/// What the path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Base,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Referrers(&'a str, &'a str),
}

/// A target from a name and the last segment of the path.
type Make<'a> = fn(&'a str, &'a str) -> Target<'a>;

pub(crate) async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = answer(&registry, &parts, body).await.unwrap_or_else(IntoResponse::into_response);
    let version = http::HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

async fn answer(registry: &Registry, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let target = target(parts.uri.path()).ok_or(Refusal::NameUnknown)?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        registry.allows(parts)?;
    }
    match (&parts.method, target) {
        (&Method::GET | &Method::HEAD, Target::Base) => {
            Ok((StatusCode::OK, axum::Json(serde_json::json!({}))).into_response())
        }
        (&Method::GET, Target::Catalog) => manifests::catalog(registry, parts).await,
        (&Method::GET, Target::Tags(name)) => manifests::tags(registry, parts, &Name::parse(name)?).await,
        (&Method::GET, Target::Referrers(name, digest)) => {
            manifests::referrers(registry, parts, (&Name::parse(name)?, digest)).await
        }
        (&Method::GET | &Method::HEAD, Target::Manifest(name, reference)) => {
            manifests::get(registry, parts, (&Name::parse(name)?, reference)).await
        }
        (&Method::PUT, Target::Manifest(name, reference)) => {
            manifests::put(registry, parts, (&Name::parse(name)?, reference), body).await
        }
        (&Method::DELETE, Target::Manifest(name, reference)) => {
            manifests::delete(registry, (&Name::parse(name)?, reference)).await
        }
        (&Method::GET | &Method::HEAD, Target::Blob(name, digest)) => {
            blobs::get(registry, parts, (&Name::parse(name)?, digest)).await
        }
        (&Method::DELETE, Target::Blob(name, digest)) => blobs::delete(registry, (&Name::parse(name)?, digest)).await,
        (&Method::POST, Target::Uploads(name)) => blobs::start(registry, parts, &Name::parse(name)?, body).await,
        (&Method::GET, Target::Upload(name, id)) => blobs::status(registry, (&Name::parse(name)?, id)).await,
        (&Method::PATCH, Target::Upload(name, id)) => {
            blobs::append(registry, parts, (&Name::parse(name)?, id), body).await
        }
        (&Method::PUT, Target::Upload(name, id)) => {
            blobs::finish(registry, parts, (&Name::parse(name)?, id), body).await
        }
        (&Method::DELETE, Target::Upload(name, id)) => blobs::cancel(registry, (&Name::parse(name)?, id)).await,
        _ => Err(Refusal::Unsupported),
    }
}

fn target<'a>(path: &'a str) -> Option<Target<'a>> {
    let path = path.strip_prefix("/v2")?;
    let path = match path.strip_prefix('/') {
        None if path.is_empty() => return Some(Target::Base),
        None => return None,
        Some("") => return Some(Target::Base),
        Some("_catalog") => return Some(Target::Catalog),
        Some(path) => path.strip_suffix('/').unwrap_or(path),
    };
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Target::Tags(name));
    }
    if let Some(name) = path.strip_suffix("/blobs/uploads") {
        return Some(Target::Uploads(name));
    }
    let (rest, last) = path.rsplit_once('/')?;
    let ends: [(&str, Make<'a>); 4] = [
        ("/blobs/uploads", Target::Upload),
        ("/manifests", Target::Manifest),
        ("/blobs", Target::Blob),
        ("/referrers", Target::Referrers),
    ];
    ends.into_iter().find_map(|(end, make)| Some(make(rest.strip_suffix(end)?, last)))
}

/// One parameter of the query, percent-decoded.
pub(crate) fn parameter(parts: &Parts, wanted: &str) -> Option<String> {
    let query = parts.uri.query()?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == wanted).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_words_of_the_protocol() {
        assert_eq!(target("/v2/a/blobs/manifests/latest"), Some(Target::Manifest("a/blobs", "latest")));
        assert_eq!(target("/v2/a/b/blobs/uploads/"), Some(Target::Uploads("a/b")));
        assert_eq!(target("/v2/a/blobs/uploads/u"), Some(Target::Upload("a", "u")));
        assert_eq!(target("/v2"), Some(Target::Base));
        assert_eq!(target("/v1/a/tags/list"), None);
    }
}
