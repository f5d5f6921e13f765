//! Validation of `metadata`, the same for every kind but for the rule of its names. Texts: apimachinery's.

use serde_json::Value;

use super::json::{entries, is_empty, is_set, items, text};
use super::problem::{immutable, invalid_each};
use super::{Problem, Scope, labels, names};

const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// What is wrong with an object's metadata. Every kind's `validate` calls it first, or [`validate_plain`].
pub fn validate(object: &Value, scope: Scope, rule: names::Rule) -> Vec<Problem> {
    let mut problems = validate_plain(object, scope, rule);
    problems.extend(unqualified(&object["metadata"]["finalizers"], "metadata.finalizers"));
    problems
}

/// The same for groups outside upstream's core: a finalizer of theirs may have any name.
pub fn validate_plain(object: &Value, scope: Scope, rule: names::Rule) -> Vec<Problem> {
    let metadata = &object["metadata"];
    let mut problems = validate_name(metadata, rule);
    problems.extend(validate_namespace(text(&metadata["namespace"]), scope));
    problems.extend(labels::validate(&metadata["labels"], "metadata.labels"));
    problems.extend(validate_annotations(&metadata["annotations"], "metadata.annotations"));
    problems.extend(validate_owners(&metadata["ownerReferences"]));
    problems.extend(well_formed(&metadata["finalizers"], "metadata.finalizers"));
    problems
}

/// What may not change in metadata. Fields that the client left out have been put back before.
pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    let mut problems = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if is_set(&new[field]) {
            problems.extend(immutable(&format!("metadata.{field}"), &new[field], &old[field]));
        }
    }
    if is_set(&old["deletionTimestamp"]) {
        let known = items(&old["finalizers"]);
        let added: Vec<&Value> = items(&new["finalizers"]).iter().filter(|one| !known.contains(one)).collect();
        if !added.is_empty() {
            let added: Vec<String> = added.iter().map(|one| one.to_string()).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            problems.push(Problem::forbidden("metadata.finalizers", &detail));
        }
    }
    problems
}

pub fn validate_annotations(annotations: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut bytes = 0;
    for (key, value) in entries(annotations) {
        problems.extend(invalid_each(path, key, names::qualified(&key.to_lowercase())));
        bytes += key.len() + text(value).len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        problems.push(Problem::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    problems
}

fn validate_name(metadata: &Value, rule: names::Rule) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (name, prefix) = (text(&metadata["name"]), text(&metadata["generateName"]));
    if !prefix.is_empty() {
        problems.extend(invalid_each("metadata.generateName", prefix, rule(&masked(prefix))));
    }
    if name.is_empty() {
        problems.push(Problem::required("metadata.name", "name or generateName is required"));
    } else {
        problems.extend(invalid_each("metadata.name", name, rule(name)));
    }
    problems
}

/// A prefix may end with a dash, since letters will follow it.
fn masked(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(stem) if !stem.is_empty() => format!("{stem}a"),
        _ => prefix.to_owned(),
    }
}

fn validate_namespace(namespace: &str, scope: Scope) -> Vec<Problem> {
    match (scope, namespace) {
        (Scope::Namespaced, "") => vec![Problem::required("metadata.namespace", "")],
        (Scope::Namespaced, name) => invalid_each("metadata.namespace", name, names::label(name)),
        (Scope::Cluster, "") => Vec::new(),
        (Scope::Cluster, _) => vec![Problem::forbidden("metadata.namespace", "not allowed on this type")],
    }
}

fn validate_owners(owners: &Value) -> Vec<Problem> {
    let path = "metadata.ownerReferences";
    let mut problems = Vec::new();
    let mut controller: Option<&str> = None;
    for owner in items(owners) {
        let (api_version, kind) = (text(&owner["apiVersion"]), text(&owner["kind"]));
        if api_version.rsplit('/').next().is_none_or(str::is_empty) {
            problems.push(Problem::invalid(format!("{path}.apiVersion"), api_version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if is_empty(&owner[field]) {
                problems.push(Problem::invalid(format!("{path}.{field}"), "", "must not be empty"));
            }
        }
        if api_version == "v1" && kind == "Event" {
            problems.push(Problem::invalid(path, owner.clone(), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner["controller"] == true {
            let name = text(&owner["name"]);
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                problems.push(Problem::invalid(path, owners.clone(), &detail));
            }
            controller = Some(name);
        }
    }
    problems
}

/// Finalizers of a namespace's content.
pub fn validate_finalizers(finalizers: &Value, path: &str) -> Vec<Problem> {
    let mut problems = well_formed(finalizers, path);
    problems.extend(unqualified(finalizers, path));
    problems
}

fn well_formed(finalizers: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names: Vec<&str> = items(finalizers).iter().map(text).collect();
    for name in &names {
        problems.extend(invalid_each(path, name, names::qualified(name)));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        problems.push(Problem::invalid(path, finalizers.clone(), detail));
    }
    problems
}

/// Names that are neither the cluster's own nor anybody's.
fn unqualified(finalizers: &Value, path: &str) -> Vec<Problem> {
    let names = items(finalizers).iter().map(text).enumerate();
    let odd = names.filter(|(_, name)| !name.contains('/') && !STANDARD_FINALIZERS.contains(name));
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    odd.map(|(index, name)| Problem::invalid(format!("{path}[{index}]"), name, detail)).collect()
}
