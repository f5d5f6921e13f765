//! The annotation in which client-side apply keeps what it said last: kubectl's server-side apply takes over what it
//! names, and keeps it true as long as it is there.

use serde_json::Value;

use crate::field_set::{FieldSet, compare, fields_of};
use crate::managed_fields::Manager;
use crate::parse::check;
use crate::structural::Shape;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields that the annotation names and that still have the value it gives. Nothing when there is none of this version.
pub(super) fn unchanged(live: &Value, manager: Manager<'_>, ty: Shape<'_>) -> FieldSet {
    let said = text(live).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let said = said.filter(|said| said["apiVersion"] == manager.api_version);
    let Some(said) = said.and_then(|said| check(said, ty.table()).ok()) else { return FieldSet::default() };
    let differs = compare(&said.value, live, ty);
    let fields = fields_of(&said.value, ty);
    fields.difference(&differs.modified).difference(&differs.added).difference(&differs.removed)
}

/// An annotation that is there says what was applied now; one that grew too long goes.
pub(super) fn renew(value: &mut Value, config: &Value) {
    if text(value).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let annotations = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let annotations = annotations.expect("the annotation is there");
    annotations.insert(ANNOTATION.to_owned(), format!("{config}\n").into());
    let length = |(name, text): (&String, &Value)| name.len() + text.as_str().map_or(0, str::len);
    if annotations.iter().map(length).sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn text(value: &Value) -> Option<&str> {
    value["metadata"]["annotations"][ANNOTATION].as_str().filter(|text| !text.is_empty())
}
