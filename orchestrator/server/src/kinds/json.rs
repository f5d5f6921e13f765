//! Short ways into JSON objects, for functions of kinds that read and fill many optional fields.
//! Absent and null are the same, as they are for Kubernetes.

use serde_json::{Map, Value, json};

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Entries of an object, in key order; none when it is something else.
pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub fn items_mut<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

pub fn is_set(value: &Value) -> bool {
    !value.is_null()
}

/// Absent, null, or of no length, which Kubernetes' `omitempty` makes the same.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Sets a field of an object that is absent or null.
pub fn fill(object: &mut Value, field: &str, default: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        let slot = map.entry(field).or_insert(Value::Null);
        if slot.is_null() {
            *slot = default.into();
        }
    }
}

/// As [`fill`], but for strings whose empty value counts as absent.
pub fn fill_text(object: &mut Value, field: &str, default: &str) {
    if object.get(field).is_some_and(|value| value.as_str() == Some("")) {
        remove(object, field);
    }
    fill(object, field, default);
}

/// A nested object, made when absent. `None` when something else lies there.
pub fn child<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    fill(object, field, json!({}));
    object.get_mut(field).filter(|value| value.is_object())
}

/// A nested object that is there already.
pub fn present<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.remove(field))
}

pub fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

/// Gives `object` the field that `from` has, or none.
pub fn keep(object: &mut Value, field: &str, from: &Value) {
    match from.get(field) {
        Some(value) => set(object, field, value.clone()),
        None => drop(remove(object, field)),
    }
}

/// Text of a quantity or of an int-or-string, which clients also send as numbers.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
