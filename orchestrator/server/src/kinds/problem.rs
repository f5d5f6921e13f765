//! Makes [`Problem`]s in the words of upstream's `field.Error`, one constructor per reason.

use serde_json::Value;

use super::Problem;
use super::json::{entries, is_empty, is_set};

pub const IMMUTABLE: &str = "field is immutable";

impl Problem {
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value".to_owned(), detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden".to_owned(), detail)
    }

    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {}", shown(&value.into())), detail)
    }

    /// An invalid value that is too large or too odd to show.
    pub fn invalid_unshown(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, "Invalid value".to_owned(), detail)
    }

    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new("FieldValueDuplicate", field, format!("Duplicate value: {}", shown(&value.into())), "")
    }

    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new("FieldValueNotFound", field, format!("Not found: {}", shown(&value.into())), "")
    }

    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        Self::not_supported_shown(field, &value.into(), supported)
    }

    /// As [`Self::not_supported`], for values that are no text.
    pub fn not_supported_shown(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::new("FieldValueNotSupported", field, format!("Unsupported value: {}", shown(value)), &detail)
    }

    pub fn too_long(field: impl Into<String>, bytes_max: usize) -> Self {
        let detail = format!("may not be more than {bytes_max} bytes");
        Self::new("FieldValueTooLong", field, "Too long".to_owned(), &detail)
    }

    pub fn too_many(field: impl Into<String>, actual: usize, items_max: usize) -> Self {
        let detail = format!("must have at most {items_max} items");
        Self::new("FieldValueTooMany", field, format!("Too many: {actual}"), &detail)
    }

    fn new(reason: &'static str, field: impl Into<String>, message: String, detail: &str) -> Self {
        let message = if detail.is_empty() { message } else { format!("{message}: {detail}") };
        Self { reason, field: field.into(), message }
    }
}

impl From<amphipod_schema::Fault> for Problem {
    fn from(fault: amphipod_schema::Fault) -> Self {
        let field = if fault.path.is_empty() { "<nil>".to_owned() } else { fault.path };
        Self { reason: fault.reason, field, message: fault.message }
    }
}

/// `Invalid value` once for each message that a name check gave.
pub fn invalid_each(field: &str, value: &str, messages: Vec<String>) -> Vec<Problem> {
    messages.iter().map(|message| Problem::invalid(field, value, message)).collect()
}

/// A field that may never change: compares as Kubernetes does, absent like null.
pub fn immutable(field: &str, new: &Value, old: &Value) -> Vec<Problem> {
    if new == old { Vec::new() } else { vec![Problem::invalid(field, new.clone(), IMMUTABLE)] }
}

/// Fields that differ between two specs, as lines of a diff; nothing and emptiness are the same.
pub fn changes(spec: &Value, before: &Value) -> String {
    let mut fields: Vec<&String> = entries(spec).chain(entries(before)).map(|(field, _)| field).collect();
    fields.sort();
    fields.dedup();
    let mut lines = Vec::new();
    for field in fields {
        let (new, old) = (&spec[field], &before[field]);
        if new == old || (is_empty(new) && is_empty(old)) {
            continue;
        }
        for (sign, value) in [('-', old), ('+', new)].into_iter().filter(|(_, value)| is_set(value)) {
            lines.push(format!("{sign} {field}: {value}"));
        }
    }
    lines.join("\n")
}

/// Strings quoted, a missing value as the quoted word, all else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        other => other.to_string(),
    }
}
