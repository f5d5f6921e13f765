//! The server's own fields in metadata: given at creation, kept through every change.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::call::{Call, text};
use crate::kinds::{Kind, Scope};
use crate::registry::Entry;
use crate::reply::Status;

/// Letters that make no words.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_PREFIX_MAX: usize = 58;

/// Fields of metadata that no client's update changes.
const KEPT: &[&str] =
    &["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "name", "namespace"];

/// RFC 3339, whole seconds.
pub fn time(now: Timestamp) -> String {
    let seconds = Timestamp::from_second(now.as_second()).expect("seconds of a timestamp are one");
    seconds.to_string()
}

pub fn generated_name(prefix: &str) -> String {
    let mut name: String = prefix.chars().take(GENERATED_PREFIX_MAX).collect();
    for _ in 0..5 {
        let letter = NAME_ALPHABET[rand::random_range(0..NAME_ALPHABET.len())];
        name.push(char::from(letter));
    }
    name
}

/// Puts the object where its address says; refuses one that names another place. `name` may be empty.
pub fn place(value: &mut Value, call: &Call, name: &str) -> Result<(), Status> {
    let kind = call.kind();
    let root = value.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    root.insert("apiVersion".to_owned(), call.entry.api_version().into());
    root.insert("kind".to_owned(), kind.kind.into());
    let metadata = root.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    let metadata = metadata.as_object_mut().ok_or_else(|| Status::bad_request("metadata is not an object"))?;
    metadata.retain(|_, member| !member.is_null());
    let given = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (given_name, given_namespace) = (given("name"), given("namespace"));
    if !name.is_empty() {
        if !given_name.is_empty() && given_name != name {
            let why = format!("the name of the object ({given_name}) does not match the name on the URL ({name})");
            return Err(Status::bad_request(why));
        }
        metadata.insert("name".to_owned(), name.into());
    }
    if kind.scope == Scope::Cluster {
        metadata.remove("namespace");
        return Ok(());
    }
    if !given_namespace.is_empty() && given_namespace != call.namespace() {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    metadata.insert("namespace".to_owned(), call.namespace().into());
    Ok(())
}

/// What replaces an object says its name; a configuration that is applied need not.
pub fn check_named(value: &Value, call: &Call) -> Result<(), Status> {
    if text(value, &["metadata", "name"]).is_empty() {
        let name = call.name();
        let why = format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
        return Err(Status::bad_request(why));
    }
    Ok(())
}

/// A new object's identity: nothing of it comes from the client.
pub fn new(value: &mut Value, kind: &Kind, now: Timestamp) {
    let metadata = metadata(value);
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".to_owned(), time(now).into());
    if kind.update.generation {
        metadata.insert("generation".to_owned(), 1.into());
    }
}

/// An update keeps what is not the client's to change.
pub fn keep(value: &mut Value, old: &Value) {
    let old = &old["metadata"];
    let metadata = metadata(value);
    metadata.remove("selfLink");
    for field in KEPT {
        match old.get(field) {
            Some(member) => drop(metadata.insert((*field).to_owned(), member.clone())),
            None => drop(metadata.remove(*field)),
        }
    }
}

/// Any change outside of metadata and status is a new generation; the status of a custom kind that is not written apart
/// is like any other field.
pub fn count_generation(value: &mut Value, old: &Value, entry: &Entry) {
    let status_counts = entry.kind.custom().is_some_and(|custom| !custom.schema.status_apart);
    let matters = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => status_counts,
        _ => true,
    };
    let members = |value: &Value| {
        let object = value.as_object().cloned().unwrap_or_default();
        object.into_iter().filter(|(key, _)| matters(key)).collect::<Map<_, _>>()
    };
    if members(value) != members(old) {
        bump_generation(value);
    }
}

pub fn bump_generation(value: &mut Value) {
    let generation = value["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
    metadata(value).insert("generation".to_owned(), generation.into());
}

pub fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    value["metadata"].as_object_mut().expect("place made metadata an object")
}

/// `metadata.finalizers`, as texts.
pub fn finalizers(value: &Value) -> Vec<String> {
    let list = value["metadata"]["finalizers"].as_array();
    list.map(|list| list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

pub fn is_terminating(value: &Value) -> bool {
    !text(value, &["metadata", "deletionTimestamp"]).is_empty()
}
