//! The rules of environment variables and of the fields that they and downward API volumes may name.

use serde_json::Value;

use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
pub const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

pub fn validate(variables: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, variable) in items(variables).iter().enumerate() {
        let path = format!("{path}[{index}]");
        match text(&variable["name"]) {
            "" => problems.push(Problem::required(format!("{path}.name"), "")),
            name => problems.extend(invalid_each(&format!("{path}.name"), name, names::env(name))),
        }
        if is_set(&variable["valueFrom"]) {
            problems.extend(validate_source(variable, &format!("{path}.valueFrom")));
        }
    }
    problems
}

pub fn validate_from(sources: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, source) in items(sources).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let prefix = text(&source["prefix"]);
        problems.extend(invalid_each(&format!("{path}.prefix"), prefix, names::env(prefix)));
        let given: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|f| is_set(&source[*f])).collect();
        match given.as_slice() {
            [] => problems.push(Problem::invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")),
            [one] => {
                if is_empty(&source[*one]["name"]) {
                    problems.push(Problem::required(format!("{path}.{one}.name"), ""));
                }
            }
            _ => problems.push(Problem::invalid(path, "", "may not have more than one field specified at a time")),
        }
    }
    problems
}

/// A `fieldRef`; `plain` are the paths that it may name besides single labels and annotations.
pub fn validate_field_ref(reference: &Value, plain: &[&str], path: &str) -> Vec<Problem> {
    if is_empty(&reference["apiVersion"]) {
        return vec![Problem::required(format!("{path}.apiVersion"), "")];
    }
    let field = text(&reference["fieldPath"]);
    if field.is_empty() {
        return vec![Problem::required(format!("{path}.fieldPath"), "")];
    }
    let path = format!("{path}.fieldPath");
    if let Some((map, key)) = subscript(field) {
        return match map {
            "metadata.annotations" => invalid_each(&path, key, names::qualified(&key.to_lowercase())),
            "metadata.labels" => invalid_each(&path, key, names::qualified(key)),
            _ => vec![Problem::invalid(path, map, "does not support subscript")],
        };
    }
    if plain.contains(&field) { Vec::new() } else { vec![Problem::not_supported(path, field, plain)] }
}

pub fn validate_resource_ref(reference: &Value, path: &str) -> Vec<Problem> {
    let resource = text(&reference["resource"]);
    let path = format!("{path}.resource");
    if resource.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if huge || RESOURCES.contains(&resource) {
        Vec::new()
    } else {
        vec![Problem::not_supported(path, resource, &RESOURCES)]
    }
}

fn validate_source(variable: &Value, path: &str) -> Vec<Problem> {
    let source = &variable["valueFrom"];
    let given: Vec<&str> = SOURCES.into_iter().filter(|field| is_set(&source[*field])).collect();
    let mut problems = Vec::new();
    for field in &given {
        let (value, path) = (&source[*field], format!("{path}.{field}"));
        problems.extend(match *field {
            "fieldRef" => validate_field_ref(value, &ENV_FIELDS, &path),
            "resourceFieldRef" => validate_resource_ref(value, &path),
            "fileKeyRef" => Vec::new(),
            _ => validate_key_ref(value, &path),
        });
    }
    let choice =
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
    match given.len() {
        0 => problems.push(Problem::invalid(path, "", choice)),
        _ if !is_empty(&variable["value"]) => {
            problems.push(Problem::invalid(path, "", "may not be specified when `value` is not empty"));
        }
        1 => {}
        _ => problems.push(Problem::invalid(path, "", "may not have more than one field specified at a time")),
    }
    problems
}

fn validate_key_ref(reference: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_empty(&reference["name"]) {
        problems.push(Problem::required(format!("{path}.name"), ""));
    }
    match text(&reference["key"]) {
        "" => problems.push(Problem::required(format!("{path}.key"), "")),
        key => problems.extend(invalid_each(&format!("{path}.key"), key, names::config_key(key))),
    }
    problems
}

/// `metadata.labels['a']` as its map and key.
fn subscript(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix("']")?.split_once("['")
}
