//! Twin APIs: one stored object, several versions of it on the wire. The hub is what lies in the store.

use bytes::Bytes;
use serde_json::Value;

use crate::kinds::Kind;
use crate::kinds::event::reported::{self, REPORTED_EVENT};
use crate::kinds::horizontal_pod_autoscaler::{AUTOSCALER_V1, versions};
use crate::registry::{Entry, api_version};

fn is_hub(entry: &Entry) -> bool {
    std::ptr::eq(&*entry.kind, &*entry.hub)
}

/// From what the client sent to what is stored.
pub fn to_hub(entry: &Entry, mut value: Value) -> Value {
    if !is_hub(entry) {
        value = converted(value, conversion(&entry.kind).map(|conversion| conversion.to_hub), &entry.hub);
    }
    value
}

/// From what is stored to what the client asked for.
pub fn from_hub(entry: &Entry, mut value: Value) -> Value {
    if !is_hub(entry) {
        value = converted(value, conversion(&entry.kind).map(|conversion| conversion.from_hub), &entry.kind);
    }
    value
}

/// The name of a field label in the store; custom kinds keep the fields of each version apart.
pub fn hub_label(kind: &Kind, label: &str) -> String {
    let is_metadata = label.starts_with("metadata.");
    match kind.is_custom {
        true if !is_metadata => format!("{}:{label}", kind.version),
        _ if std::ptr::eq(kind, &REPORTED_EVENT) => reported::core_label(label).to_owned(),
        _ => label.to_owned(),
    }
}

/// How a twin and its hub become each other, for twins that differ in more than their name.
struct Conversion {
    twin: &'static Kind,
    to_hub: fn(Value) -> Value,
    from_hub: fn(Value) -> Value,
}

static CONVERSIONS: &[Conversion] = &[
    Conversion { twin: &AUTOSCALER_V1, to_hub: versions::to_v2, from_hub: versions::to_v1 },
    Conversion { twin: &REPORTED_EVENT, to_hub: reported::to_core, from_hub: reported::from_core },
];

fn conversion(kind: &Kind) -> Option<&'static Conversion> {
    CONVERSIONS.iter().find(|conversion| std::ptr::eq(conversion.twin, kind))
}

/// The object as another kind's, in the shape that its type prints. Twins that differ in name alone need no more than that.
fn converted(mut value: Value, conversion: Option<fn(Value) -> Value>, kind: &Kind) -> Value {
    if let Some(conversion) = conversion {
        value = conversion(value);
        if let Some(ty) = amphipod_schema::table().by_name(kind.schema) {
            amphipod_schema::prune_empty(&mut value, ty);
        }
    }
    value["apiVersion"] = api_version(kind).into();
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
