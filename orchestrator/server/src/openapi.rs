//! `/openapi/v3`: the index, and one document for each group-version, made from the registry when first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use amphipod_schema::openapi::{self, KindSchema, OpenApiKind, OpenApiSubresource};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::discovery::hash;
use crate::kinds::{Kind, Scope, Subresource};
use crate::registry::{Entry, Registry, api_version};
use crate::reply::{self, Status};

/// How long a document that is addressed by its hash may be kept.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Documents by group-version; making all of them costs too much for a start that nobody asks them of.
pub struct OpenApi {
    registry: Arc<Registry>,
    /// Made once in the life of the program.
    built_in: Arc<OnceLock<Made>>,
    /// Made anew for each set of custom kinds.
    custom: OnceLock<Made>,
}

type Made = BTreeMap<String, Document>;

struct Document {
    body: Bytes,
    hash: String,
}

impl OpenApi {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, built_in: Arc::default(), custom: OnceLock::new() }
    }

    /// For the next set of custom kinds; what is known of the others stays.
    pub fn next(&self, registry: Arc<Registry>) -> Self {
        Self { registry, built_in: self.built_in.clone(), custom: OnceLock::new() }
    }

    fn documents(&self) -> impl Iterator<Item = (&String, &Document)> {
        let built_in = self.built_in.get_or_init(|| made(self.registry.built_in()));
        let custom = self.custom.get_or_init(|| made(self.registry.custom()));
        built_in.iter().chain(custom.iter().filter(|(version, _)| !built_in.contains_key(*version)))
    }

    /// `path` is what follows `/openapi/v3`: nothing, or `api/v1`, `apis/apps/v1`.
    pub fn serve(&self, path: &[&str], headers: &HeaderMap) -> Result<Response, Status> {
        if path.is_empty() {
            let hashes = self.documents().map(|(version, document)| (version.as_str(), document.hash.as_str()));
            return Ok(reply::ok(openapi::index(hashes).to_string().into()));
        }
        let wanted = path.join("/");
        let found = self.documents().find(|(version, _)| openapi::document_path(version) == wanted);
        let (_, document) = found.ok_or_else(Status::no_such_path)?;
        let etag =
            HeaderValue::from_str(&format!("\"{}\"", document.hash)).expect("a hash is made of header characters");
        if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
            return Ok(reply::not_modified());
        }
        let mut response = reply::ok(document.body.clone());
        response.headers_mut().insert(header::ETAG, etag);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOREVER));
        Ok(response)
    }
}

fn made(entries: &[Arc<Entry>]) -> Made {
    let mut versions: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        versions.entry(entry.api_version()).or_default().push(entry);
    }
    let document = |(version, entries): (String, Vec<&Entry>)| {
        let names: Vec<_> = entries.iter().map(|entry| subresource_versions(&entry.kind)).collect();
        let kinds: Vec<_> = entries.iter().zip(&names).filter_map(|(entry, names)| described(entry, names)).collect();
        let text = openapi::group_version_document(&version, &kinds).to_string();
        let hash = hash(&text);
        (version, Document { body: text.into(), hash })
    };
    versions.into_iter().map(document).collect()
}

fn described<'a>(entry: &'a Entry, versions: &'a [String]) -> Option<OpenApiKind<'a>> {
    let kind: &Kind = &entry.kind;
    let subresources = kind.subresources.iter().zip(versions).map(|(sub, version)| OpenApiSubresource {
        name: sub.name,
        api_version: version,
        kind: sub.kind.map_or(kind.kind, |(_, _, name)| name),
        verbs: sub.verbs.to_vec(),
    });
    Some(OpenApiKind {
        kind: kind.kind,
        plural: kind.plural,
        namespaced: kind.scope == Scope::Namespaced,
        verbs: kind.verbs.to_vec(),
        schema: match entry.kind.custom() {
            Some(custom) => KindSchema::Custom(&custom.published),
            None => KindSchema::Table(entry.ty?),
        },
        subresources: subresources.collect(),
    })
}

/// The group-version of what travels at each subresource.
fn subresource_versions(kind: &Kind) -> Vec<String> {
    let version = |sub: &Subresource| match sub.kind {
        Some(("", version, _)) => version.to_owned(),
        Some((group, version, _)) => format!("{group}/{version}"),
        None => api_version(kind),
    };
    kind.subresources.iter().map(version).collect()
}

/// Kubernetes' type of an OpenAPI v2 document in protobuf.
const VERSION_TWO: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// As a content type it must be without the `@`, which Go's clients cannot read.
const VERSION_TWO_SENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// `swagger: "2.0"`, `info: {title: "Kubernetes", version: "v1.37.0"}`, empty `paths`: all schemas are in version 3.
const VERSION_TWO_BODY: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.37.0\x42\0";

/// The document of version 2, for clients that want it in protobuf. kubectl asks for it to look into a `kind: List`,
/// and checks nothing of kinds that it does not name: the server checks them.
pub fn version_two(headers: &HeaderMap) -> Option<Response> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).find(|range| range.trim() == VERSION_TWO)?;
    let mut response = reply::ok(Bytes::from_static(VERSION_TWO_BODY));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(VERSION_TWO_SENT));
    Some(response)
}
