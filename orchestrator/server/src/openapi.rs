//! `/openapi/v3`: the index, and one document for each group-version, made from the registry when first asked for.
//! `/openapi/v2`, one document of all, is in `openapi/version_two.rs`.

mod version_two;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use amphipod_schema::openapi::{self, KindSchema, OpenApiKind, OpenApiSubresource};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use version_two::VersionTwo;

use crate::aggregation::Remotes;
use crate::discovery::hash;
use crate::kinds::{Kind, Scope, Subresource};
use crate::registry::{Entry, Registry, api_version};
use crate::reply::{self, Status};

/// How long a document that is addressed by its hash may be kept.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Documents by group-version; a clone shares them. Making all of them costs too much for a start that nobody asks them of.
#[derive(Clone)]
pub struct OpenApi {
    registry: Arc<Registry>,
    /// Made once in the life of the program.
    built_in: Arc<OnceLock<Made>>,
    /// Made anew for each set of custom kinds.
    custom: Arc<OnceLock<Made>>,
    version_two: VersionTwo,
}

type Made = BTreeMap<String, Document>;

struct Document {
    body: Bytes,
    hash: String,
}

impl OpenApi {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, built_in: Arc::default(), custom: Arc::default(), version_two: VersionTwo::default() }
    }

    /// For the next set of custom kinds; what is known of the others stays.
    pub fn next(&self, registry: Arc<Registry>) -> Self {
        let version_two = self.version_two.next();
        Self { registry, built_in: self.built_in.clone(), custom: Arc::default(), version_two }
    }

    fn documents(&self) -> impl Iterator<Item = (&String, &Document)> {
        let built_in = self.built_in.get_or_init(|| made(self.registry.built_in()));
        let custom = self.custom.get_or_init(|| made(self.registry.custom()));
        built_in.iter().chain(custom.iter().filter(|(version, _)| !built_in.contains_key(*version)))
    }

    pub fn serve_version_two(&self, headers: &HeaderMap) -> Result<Response, Status> {
        self.version_two.serve(&self.registry, headers)
    }

    /// `path` is what follows `/openapi/v3`: nothing, or `api/v1`, `apis/apps/v1`. Documents of aggregated APIs are
    /// named in the index and relayed before they come here.
    pub fn serve(&self, path: &[&str], headers: &HeaderMap, remotes: &Remotes) -> Result<Response, Status> {
        if path.is_empty() {
            let hashes = self.documents().map(|(version, document)| (version.as_str(), document.hash.as_str()));
            let mut index = openapi::index(hashes);
            for remote in remotes.iter() {
                let path = format!("apis/{}/{}", remote.group, remote.version);
                match &remote.served.document {
                    Some(address) => index["paths"][path] = json!({ "serverRelativeURL": address }),
                    None => drop(index["paths"].as_object_mut().and_then(|paths| paths.remove(&path))),
                }
            }
            return Ok(reply::ok(index.to_string().into()));
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
    let document = |(version, document): (String, Value)| {
        let text = document.to_string();
        let hash = hash(text.as_bytes());
        (version, Document { body: text.into(), hash })
    };
    documents(entries).map(document).collect()
}

/// Each group-version with its document.
fn documents(entries: &[Arc<Entry>]) -> impl Iterator<Item = (String, Value)> {
    let mut versions: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        versions.entry(entry.api_version()).or_default().push(entry);
    }
    versions.into_iter().map(|(version, entries)| {
        let names: Vec<_> = entries.iter().map(|entry| subresource_versions(&entry.kind)).collect();
        let kinds: Vec<_> = entries.iter().zip(&names).filter_map(|(entry, names)| described(entry, names)).collect();
        let document = openapi::group_version_document(&version, &kinds);
        (version, document)
    })
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
