//! Twin APIs: one stored object, several versions of it on the wire. The hub is what lies in the store.

use bytes::Bytes;
use serde_json::Value;

use crate::registry::Entry;

fn is_hub(entry: &Entry) -> bool {
    std::ptr::eq(entry.kind, entry.hub)
}

/// From what the client sent to what is stored.
pub fn to_hub(entry: &Entry, value: Value) -> Value {
    value
}

/// From what is stored to what the client asked for.
pub fn from_hub(entry: &Entry, value: Value) -> Value {
    value
}

/// The frame as this kind's version; the hub's own is shared as it is.
pub fn frame(entry: &Entry, frame: Bytes) -> Bytes {
    if is_hub(entry) {
        return frame;
    }
    let value = serde_json::from_slice(&frame).expect("a frame is JSON");
    from_hub(entry, value).to_string().into()
}
