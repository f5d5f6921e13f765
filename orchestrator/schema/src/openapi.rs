//! OpenAPI v3 from the table: the index at `/openapi/v3` and one document per group and version, with what
//! kubectl looks for (`fieldValidation` on PATCH, its content types, merge keys). `schemas` has the types,
//! `descriptions` what they say of themselves, `operations` the paths; `version_two` says the same in OpenAPI v2.

mod descriptions;
mod operations;
mod schemas;
pub mod version_two;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::table::{TypeRef, table};

/// The Kubernetes release that the documents speak of.
pub const RELEASE: &str = "v1.37.0";

/// A kind as one group and version serves it.
#[derive(Clone, Debug)]
pub struct OpenApiKind<'a> {
    pub kind: &'a str,
    /// `deployments`
    pub plural: &'a str,
    pub namespaced: bool,
    /// API verbs: `get list watch create update patch delete deletecollection`.
    pub verbs: Vec<&'a str>,
    pub schema: KindSchema<'a>,
    pub subresources: Vec<OpenApiSubresource<'a>>,
}

/// Where the shape of a kind comes from.
#[derive(Clone, Copy, Debug)]
pub enum KindSchema<'a> {
    Table(TypeRef),
    /// The `openAPIV3Schema` of a CustomResourceDefinition's version.
    Custom(&'a Value),
}

/// `pods/eviction` and its siblings.
#[derive(Clone, Debug)]
pub struct OpenApiSubresource<'a> {
    /// `scale`
    pub name: &'a str,
    /// Of the object that travels there, which is often of another group: `autoscaling/v1`, `Scale`.
    pub api_version: &'a str,
    pub kind: &'a str,
    pub verbs: Vec<&'a str>,
}

/// The document of one group and version: `v1`, `apps/v1`.
pub fn group_version_document(api_version: &str, kinds: &[OpenApiKind<'_>]) -> Value {
    let mut schemas = schemas::Schemas::default();
    let mut paths = Map::new();
    for kind in kinds {
        let names = match kind.schema {
            KindSchema::Table(ty) => schemas.add_kind(ty, api_version, kind.plural),
            KindSchema::Custom(schema) => schemas.add_custom(api_version, kind, schema),
        };
        operations::add_paths(&mut paths, api_version, kind, &names);
        for sub in &kind.subresources {
            if let Some(ty) = table().by_kind(sub.api_version, sub.kind) {
                schemas.add_kind(ty, sub.api_version, sub.name);
            }
        }
    }
    for shared in ["DeleteOptions", "Status"] {
        if let Some(ty) = table().by_kind("v1", shared) {
            schemas.add_kind(ty, "v1", "");
        }
    }
    schemas.add_patch();
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": RELEASE },
        "paths": paths,
        "components": { "schemas": schemas.finish() },
    })
}

/// The index: for each group and version the address of its document. `hash` changes when the document does;
/// clients cache what they got under one for good.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let paths: BTreeMap<String, Value> = documents
        .into_iter()
        .map(|(api_version, hash)| {
            let path = document_path(api_version);
            let address = format!("/openapi/v3/{path}?hash={hash}");
            (path, json!({ "serverRelativeURL": address }))
        })
        .collect();
    json!({ "paths": paths })
}

/// `api/v1`, `apis/apps/v1`: below `/openapi/v3/`.
pub fn document_path(api_version: &str) -> String {
    if api_version.contains('/') { format!("apis/{api_version}") } else { format!("api/{api_version}") }
}

fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

fn group_version_kind(api_version: &str, kind: &str) -> Value {
    let (group, version) = group_and_version(api_version);
    json!({ "group": group, "version": version, "kind": kind })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests;
