//! The three patches that send changes: JSON patch, merge patch, strategic merge (`strategic`).
//! Server-side apply, the fourth, is `crate::apply`. Results still need `crate::check`.

mod json;
mod strategic;

use serde_json::Value;

use crate::table::TypeRef;

/// More operations than this in one JSON patch are refused.
pub const OPERATIONS_MAX: usize = 10_000;
/// What all `copy` operations of one JSON patch may add, in bytes of JSON.
pub const COPIED_BYTES_MAX: usize = 3 << 20;

/// Why a patch was not applied; `code` is the HTTP code upstream gives it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// No patch of its kind: 400 BadRequest.
    #[error("{0}")]
    BadRequest(String),
    /// Too many operations: 413 RequestEntityTooLarge.
    #[error("{0}")]
    TooLarge(String),
    /// A patch, but not for this object: 422.
    #[error("{0}")]
    Unprocessable(String),
    /// A strategic patch that the type's lists and fields cannot take: 500, as upstream has no better code for it.
    #[error("{0}")]
    Unmergeable(String),
}

impl PatchError {
    pub fn code(&self) -> u16 {
        match self {
            PatchError::BadRequest(_) => 400,
            PatchError::TooLarge(_) => 413,
            PatchError::Unprocessable(_) => 422,
            PatchError::Unmergeable(_) => 500,
        }
    }
}

/// RFC 6902.
pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    json::apply(object, patch)
}

/// RFC 7396.
pub fn merge_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let patch = read_object(patch)?;
    let mut merged = object.clone();
    json_patch::merge(&mut merged, &patch);
    Ok(merged)
}

/// Kubernetes' own: lists with a merge key are merged by it, `$patch` and its siblings steer.
/// Only types of the table have one; custom resources answer 415.
pub fn strategic_merge(object: &Value, patch: &[u8], ty: TypeRef) -> Result<Value, PatchError> {
    let patch = read_object(patch)?;
    strategic::apply(object, patch, ty)
}

/// `map[a:1 b:[x y]]`, as upstream's texts show values.
pub fn as_go_prints(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(as_go_prints).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| format!("{name}:{}", as_go_prints(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

fn read_object(bytes: &[u8]) -> Result<Value, PatchError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| PatchError::BadRequest(format!("error decoding patch: {error}")))?;
    if value.is_object() {
        return Ok(value);
    }
    let got = type_name(&value);
    Err(PatchError::BadRequest(format!(
        "error decoding patch: json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
    )))
}

/// What JSON calls it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Object(_) => "object",
        Value::Null => "null",
    }
}

#[cfg(test)]
mod tests;
