//! `/openapi/v2`: one document of everything, in JSON or in protobuf, made when it is first asked for. Built-in kinds are
//! written once in the life of the program, custom ones anew for each set of them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use amphipod_schema::openapi::version_two::{Part, Written, json_document, protobuf_document};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::documents;
use crate::discovery::hash;
use crate::registry::{Entry, Registry};
use crate::reply::{self, Status};

/// Kubernetes' type of an OpenAPI v2 document in protobuf.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// As a content type it must be without the `@`, which Go's clients cannot read.
const PROTOBUF_SENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const JSON: &str = "application/json";

/// What has been made so far; a clone shares it.
#[derive(Clone, Default)]
pub struct VersionTwo {
    built_in: Arc<Half>,
    custom: Arc<Half>,
}

/// Made of one set of kinds.
#[derive(Default)]
struct Half {
    json: OnceLock<Hashed>,
    protobuf: OnceLock<Hashed>,
    /// What is defined.
    names: OnceLock<BTreeSet<String>>,
}

struct Hashed {
    written: Written,
    hash: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl VersionTwo {
    /// For the next set of custom kinds.
    pub fn next(&self) -> Self {
        Self { built_in: self.built_in.clone(), custom: Arc::default() }
    }

    pub fn serve(&self, registry: &Registry, headers: &HeaderMap) -> Result<Response, Status> {
        let form = form(headers).ok_or_else(|| Status::not_acceptable(&[JSON, PROTOBUF]))?;
        let nothing = BTreeSet::new();
        let built_in = self.built_in.written(form, registry.built_in(), &nothing);
        let known = self.built_in.names.get().unwrap_or(&nothing);
        let custom = self.custom.written(form, registry.custom(), known);
        let etag = format!("\"{}\"", hash(format!("{}{}", built_in.hash, custom.hash).as_bytes()));
        let etag = HeaderValue::from_str(&etag).expect("a hash is made of header characters");
        if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
            return Ok(reply::not_modified());
        }
        let parts = [&built_in.written, &custom.written];
        let (body, content_type) = match form {
            Form::Json => (json_document(&parts), JSON),
            Form::Protobuf => (protobuf_document(&parts), PROTOBUF_SENT),
        };
        let mut response = reply::ok(body.into());
        for (name, value) in [
            (header::ETAG, etag),
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (header::VARY, HeaderValue::from_static("Accept")),
        ] {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}

impl Half {
    fn written(&self, form: Form, entries: &[Arc<Entry>], known: &BTreeSet<String>) -> &Hashed {
        let lock = match form {
            Form::Json => &self.json,
            Form::Protobuf => &self.protobuf,
        };
        lock.get_or_init(|| {
            let mut part = Part::default();
            documents(entries).for_each(|(_, document)| part.add(document, known));
            self.names.get_or_init(|| part.definitions.keys().cloned().collect());
            let written = match form {
                Form::Json => part.json(),
                Form::Protobuf => part.protobuf(),
            };
            Hashed { hash: hash(&written.bytes().concat()), written }
        })
    }
}

/// The first that is served; no header asks for JSON.
fn form(headers: &HeaderMap) -> Option<Form> {
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let served = |range: &&str| match range.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => Some(Form::Protobuf),
        JSON | "application/*" | "*/*" => Some(Form::Json),
        _ => None,
    };
    if ranges.is_empty() { Some(Form::Json) } else { ranges.iter().find_map(served) }
}
