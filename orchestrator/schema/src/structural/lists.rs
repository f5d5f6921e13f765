//! Lists that are sets or maps may not hold one thing twice.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Fault, Structural, child};
use crate::table::ListType;

/// Elements that stand twice in lists declared to be sets or maps, with upstream's path and text.
pub fn check_lists(value: &Value, schema: &Structural) -> Vec<Fault> {
    let mut faults = Vec::new();
    walk(value, schema, "", &mut faults);
    faults
}

fn walk(value: &Value, schema: &Structural, path: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let at = match schema.properties.contains_key(name) {
                    true => child(path, name),
                    false => format!("{path}[{name}]"),
                };
                if let Some(below) = schema.member(name) {
                    walk(member, below, &at, faults);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            let mut seen = BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                let at = format!("{path}[{index}]");
                let name = match schema.list_type {
                    Some(ListType::Set) => Some(item.clone()),
                    Some(ListType::Map) => Some(keys(item, items, &schema.list_map_keys)),
                    _ => None,
                };
                if let Some(name) = name
                    && !seen.insert(name.to_string())
                {
                    let shown = match &name {
                        Value::String(text) => format!("{text:?}"),
                        other => other.to_string(),
                    };
                    let message = format!("Duplicate value: {shown}");
                    faults.push(Fault { reason: "FieldValueDuplicate", path: at.clone(), message });
                }
                walk(item, items, &at, faults);
            }
        }
        _ => {}
    }
}

fn keys(item: &Value, items: &Structural, keys: &[String]) -> Value {
    let value = |key: &String| {
        let default = || items.properties.get(key).and_then(|schema| schema.default.clone());
        Some((key.clone(), item.get(key).cloned().or_else(default)?))
    };
    Value::Object(keys.iter().filter_map(value).collect::<Map<_, _>>())
}

/// Whether a schema's list type and keys fit what it is the schema of.
pub(super) fn check_list_type(schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, ty) = (text(&schema["x-kubernetes-list-type"]), text(&schema["type"]));
    let (at_kind, at_keys) = (format!("{path}.x-kubernetes-list-type"), format!("{path}.x-kubernetes-list-map-keys"));
    let mut say = |reason, path: String, message: String| faults.push(Fault { reason, path, message });
    if !kind.is_empty() && ty != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        match ty.as_str() {
            "" => say("FieldValueRequired", format!("{path}.type"), format!("Required value: {why}")),
            _ => say("FieldValueInvalid", format!("{path}.type"), format!("Invalid value: {ty:?}: {why}")),
        }
    }
    if !matches!(kind.as_str(), "" | "atomic" | "set" | "map") {
        let message = format!("Unsupported value: {kind:?}: supported values: \"atomic\", \"map\", \"set\"");
        say("FieldValueNotSupported", at_kind.clone(), message);
    }
    let map_type = text(&schema["x-kubernetes-map-type"]);
    if !matches!(map_type.as_str(), "" | "atomic" | "granular") {
        let message = format!("Unsupported value: {map_type:?}: supported values: \"atomic\", \"granular\"");
        say("FieldValueNotSupported", format!("{path}.x-kubernetes-map-type"), message);
    }
    let keys = super::texts(&schema["x-kubernetes-list-map-keys"]);
    if !keys.is_empty() && kind != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        match kind.as_str() {
            "" => say("FieldValueRequired", at_kind, format!("Required value: {why}")),
            _ => say("FieldValueInvalid", at_kind, format!("Invalid value: {kind:?}: {why}")),
        }
    }
    if kind != "map" {
        return;
    }
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        say("FieldValueRequired", at_keys.clone(), format!("Required value: {why}"));
    }
    check_keys(schema, &keys, path, &mut say);
}

/// The keys of a map are scalars of its items that are always there.
fn check_keys(schema: &Value, keys: &[String], path: &str, say: &mut dyn FnMut(&'static str, String, String)) {
    let at_keys = format!("{path}.x-kubernetes-list-map-keys");
    let items = &schema["items"];
    if !items.is_object() {
        let why = "must have a schema if x-kubernetes-list-type is map";
        return say("FieldValueRequired", format!("{path}.items"), format!("Required value: {why}"));
    }
    if items["type"] != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        say("FieldValueInvalid", format!("{path}.items.type"), format!("Invalid value: {}: {why}", items["type"]));
    }
    let required = super::texts(&items["required"]);
    for (index, key) in keys.iter().enumerate() {
        let Some(property) = items["properties"].get(key) else {
            let why = "entries must all be names of item properties";
            say(
                "FieldValueInvalid",
                at_keys.clone(),
                format!("Invalid value: {}: {why}", schema["x-kubernetes-list-map-keys"]),
            );
            continue;
        };
        if matches!(property["type"].as_str(), Some("object" | "array")) {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let message = format!("Invalid value: {}: {why}", property["type"]);
            say("FieldValueInvalid", format!("{path}.items.properties[{key}].type"), message);
        }
        if keys[..index].contains(key) {
            let message = format!("Invalid value: {key:?}: must not contain duplicate entries");
            say("FieldValueInvalid", format!("{at_keys}[{index}]"), message);
        }
        if !required.contains(key) && property["default"].is_null() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            say(
                "FieldValueRequired",
                format!("{path}.items.properties[{key}].default"),
                format!("Required value: {why}"),
            );
        }
    }
}
