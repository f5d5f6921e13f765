//! Who set which field: `metadata.managedFields`, tracked from the first write, kept apart from the body.

use jiff::Timestamp;
use serde_json::Value;

use crate::call::{Call, WriteOptions};
use crate::stamp;

/// Who writes, and when.
pub struct Writer<'a> {
    pub call: &'a Call,
    pub options: &'a WriteOptions,
    pub now: Timestamp,
}

impl Writer<'_> {
    /// The entries of a new object; the client's own are taken out of `value`.
    pub fn created(&self, value: &mut Value) -> Value {
        take(value);
        Value::Null
    }

    /// The entries after a change from `old` to `new`, both without theirs.
    pub fn updated(&self, _old: &Value, _new: &Value, entries: Value) -> Value {
        entries
    }
}

pub fn take(value: &mut Value) -> Value {
    stamp::metadata(value).remove("managedFields").unwrap_or(Value::Null)
}

pub fn put_back(value: &mut Value, entries: Value) {
    if entries.as_array().is_some_and(|entries| !entries.is_empty()) {
        stamp::metadata(value).insert("managedFields".to_owned(), entries);
    }
}
