//! What types and fields say of themselves, put into schemas. The texts lie deflated in the program, gathered by
//! `build.rs`, and are read in one pass, so that none of them stays in memory but in the documents that hold them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use flate2::read::DeflateDecoder;
use serde_json::{Value, json};

static TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.deflate"));

/// Describes every schema that is known, and its properties.
pub(super) fn describe(schemas: &mut BTreeMap<String, Value>) {
    let mut lines = BufReader::new(DeflateDecoder::new(TEXTS));
    let mut line = String::new();
    let mut current: Option<&mut Value> = None;
    while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let (name, text) = line.trim_end_matches('\n').split_once('\t').unwrap_or((&line, ""));
        if let Some(name) = name.strip_prefix('>') {
            current = schemas.get_mut(name);
            if let Some(schema) = current.as_deref_mut().filter(|_| !text.is_empty()) {
                schema["description"] = unescaped(text).into();
            }
        } else if let Some(property) = current.as_deref_mut().and_then(|schema| schema["properties"].get_mut(name)) {
            describe_property(property, &unescaped(text));
        }
        line.clear();
    }
}

/// A `$ref` must stand alone: beside a description it moves into an `allOf`.
fn describe_property(property: &mut Value, text: &str) {
    if let Some(target) = property.as_object_mut().and_then(|property| property.remove("$ref")) {
        property["allOf"] = json!([{ "$ref": target }]);
    }
    property["description"] = text.into();
}

/// The escapes that Rust's literals use.
fn unescaped(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(other) => text.push(other),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::table;

    #[test]
    fn nearly_every_field_of_the_api_is_described() {
        // Lists are one generic type in the sources, and inlined structs none at all.
        let types = table().types().filter(|ty| ty.name().starts_with("io.k8s.api.") && !ty.name().ends_with("List"));
        let property = |field: &crate::Field| (field.name.to_owned(), json!({}));
        let schema = |ty: crate::TypeRef| {
            let properties: serde_json::Map<_, _> = ty.fields().iter().map(property).collect();
            (ty.name().to_owned(), json!({ "properties": properties }))
        };
        let mut schemas: BTreeMap<String, Value> = types.map(schema).collect();
        describe(&mut schemas);
        let properties = || schemas.values().flat_map(|schema| schema["properties"].as_object().unwrap().values());
        let described = properties().filter(|property| property["description"].is_string()).count();
        assert!(described * 100 > properties().count() * 88, "{described} of {}", properties().count());
        let replicas = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["replicas"]["description"];
        assert!(replicas.as_str().unwrap().contains("desired pods"), "{replicas}");
        assert!(schemas["io.k8s.api.core.v1.Pod"]["description"].as_str().unwrap().starts_with("Pod is"));
    }

    #[test]
    fn references_make_room() {
        let mut property = json!({ "$ref": "#/x" });
        describe_property(&mut property, &unescaped(r#"a \"b\"\nc"#));
        assert_eq!(property, json!({ "allOf": [{ "$ref": "#/x" }], "description": "a \"b\"\nc" }));
    }
}
