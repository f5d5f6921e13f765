//! Who set which field: `metadata.managedFields`, tracked from the first write, kept apart from the body. Writers own what they
//! sent and what was defaulted for them; what admission adds after that is nobody's, so that no applier ever takes it away.

use amphipod_schema::managed_fields::{self, Manager};
use jiff::Timestamp;
use serde_json::Value;

use crate::call::{Call, Tracking, WriteOptions};
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
        let given = take(value);
        if self.options.tracking == Tracking::Given {
            return given;
        }
        self.track(None, value, &Value::Null)
    }

    /// The entries after a change from `old` to `new`, both without theirs.
    pub fn updated(&self, old: &Value, new: &Value, entries: &Value) -> Value {
        if self.options.tracking == Tracking::Given || old == new {
            return entries.clone();
        }
        self.track(Some(old), new, entries)
    }

    fn track(&self, old: Option<&Value>, new: &Value, entries: &Value) -> Value {
        let time = stamp::time(self.now);
        let api_version = self.call.entry.api_version();
        let manager = Manager {
            name: &self.options.manager,
            api_version: &api_version,
            subresource: self.call.subresource(),
            time: &time,
        };
        managed_fields::track_update(old, new, entries, manager, self.call.entry.shape())
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
