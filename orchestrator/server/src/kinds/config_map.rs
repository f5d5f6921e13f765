//! ConfigMap. Its twin with hidden values is `secret.rs`.

use serde_json::{Value, json};

use super::json::{entries, text};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, descriptions, metadata, names};

pub(super) const BYTES_MAX: usize = 1024 * 1024;

pub static CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    schema: "io.k8s.api.core.v1.ConfigMap",
    storage: "configmaps",
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(frozen(new, old, &["data", "binaryData"]));
        problems
    },
    columns: &[NAME, string("Data", descriptions::CONFIG_MAP_DATA), AGE],
    row: |object, now| {
        let entries = |field: &str| object[field].as_object().map_or(0, |map| map.len());
        vec![name(object), json!(entries("data") + entries("binaryData")), age(object, now)]
    },
    ..PLAIN
};

/// Data of an object that was made immutable; `immutable` itself cannot be taken back.
pub(super) fn frozen(new: &Value, old: &Value, fields: &[&str]) -> Vec<Problem> {
    const DETAIL: &str = "field is immutable when `immutable` is set";
    if old["immutable"] != true {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if new["immutable"] != true {
        problems.push(Problem::forbidden("immutable", DETAIL));
    }
    let changed = fields.iter().filter(|field| new[**field] != old[**field]);
    problems.extend(changed.map(|field| Problem::forbidden(*field, DETAIL)));
    problems
}

/// The bytes that base64 text stands for.
pub(super) fn decoded_bytes(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn validate(object: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(object, Scope::Namespaced, names::subdomain);
    let mut bytes = 0;
    for (field, other) in [("data", "binaryData"), ("binaryData", "data")] {
        for (key, value) in entries(&object[field]) {
            let path = format!("{field}[{key}]");
            problems.extend(invalid_each(&path, key, names::config_key(key)));
            if object[other].get(key).is_some() {
                problems.push(Problem::invalid(path, key.as_str(), &format!("duplicate of key present in {other}")));
            }
            bytes += if field == "data" { text(value).len() } else { decoded_bytes(text(value)) };
        }
    }
    if bytes > BYTES_MAX {
        problems.push(Problem::too_long("[]", BYTES_MAX));
    }
    problems
}
