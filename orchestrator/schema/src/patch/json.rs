//! RFC 6902 with bounds: operations are counted, copies are weighed, nothing grows deeper than can be walked.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::{COPIED_BYTES_MAX, OPERATIONS_MAX, PatchError, type_name};
use crate::parse::DEPTH_MAX;

pub(super) fn apply(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations = read(patch)?;
    let count = operations.len();
    if count > OPERATIONS_MAX {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
        )));
    }
    let mut document = object.clone();
    let mut copied = 0;
    for operation in operations {
        let operation = understood(operation)?;
        guard(&document, &operation, &mut copied)?;
        if expects_nothing(&document, &operation) {
            continue;
        }
        let failed = words(&operation);
        let one = Patch(vec![operation]);
        json_patch::patch(&mut document, &one).map_err(|_| PatchError::Unprocessable(failed))?;
    }
    Ok(document)
}

/// The form is judged before anything is done, each operation in its turn.
fn read(patch: &[u8]) -> Result<Vec<Value>, PatchError> {
    let unread = |why: String| PatchError::BadRequest(format!("error decoding patch: {why}"));
    let patch: Value = serde_json::from_slice(patch).map_err(|error| unread(error.to_string()))?;
    let cannot = |what: &Value, into: &str| {
        unread(format!("json: cannot unmarshal {} into Go value of type {into}", type_name(what)))
    };
    let Value::Array(operations) = patch else { return Err(cannot(&patch, "[]handlers.jsonPatchOp")) };
    match operations.iter().find(|operation| !operation.is_object()) {
        Some(other) => Err(cannot(other, "handlers.jsonPatchOp")),
        None => Ok(operations),
    }
}

fn understood(mut operation: Value) -> Result<PatchOperation, PatchError> {
    let refused = |why: String| PatchError::Unprocessable(why);
    let word = operation["op"].as_str().unwrap_or_default().to_owned();
    if !["add", "copy", "move", "remove", "replace", "test"].contains(&word.as_str()) {
        return Err(refused(format!("Unexpected kind: {word}")));
    }
    // Go takes a value that is not said for null.
    if let Some(members) = operation.as_object_mut() {
        members.entry("value").or_insert(Value::Null);
    }
    serde_json::from_value(operation).map_err(|error| refused(error.to_string()))
}

/// A test for null holds where the object has no such key: how clients say "only while there are no finalizers".
fn expects_nothing(document: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let Some((parent, key)) = test.path.split_back().filter(|_| test.value.is_null()) else { return false };
    parent.resolve(document).is_ok_and(|parent| parent.is_object() && parent.get(&*key.decoded()).is_none())
}

/// A copy doubles what it copies and moves what it deepens: both are bounded before they happen.
fn guard(document: &Value, operation: &PatchOperation, copied: &mut usize) -> Result<(), PatchError> {
    if operation.path().tokens().count() > DEPTH_MAX {
        return Err(PatchError::Unprocessable("exceeded max depth".to_owned()));
    }
    let from = match operation {
        PatchOperation::Copy(copy) => &copy.from,
        PatchOperation::Move(moved) => &moved.from,
        _ => return Ok(()),
    };
    let Ok(source) = from.resolve(document) else {
        return Ok(());
    };
    if !shallower(source, DEPTH_MAX) {
        return Err(PatchError::Unprocessable("exceeded max depth".to_owned()));
    }
    if matches!(operation, PatchOperation::Copy(_)) {
        *copied += serde_json::to_vec(source).map_or(0, |bytes| bytes.len());
        if *copied > COPIED_BYTES_MAX {
            return Err(PatchError::Unprocessable(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPIED_BYTES_MAX}"
            )));
        }
    }
    Ok(())
}

fn shallower(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(list) => left > 0 && list.iter().all(|value| shallower(value, left - 1)),
        Value::Object(map) => left > 0 && map.values().all(|value| shallower(value, left - 1)),
        _ => true,
    }
}

/// Upstream's words should the operation fail.
fn words(operation: &PatchOperation) -> String {
    let path = operation.path().to_string();
    let last = path.rsplit('/').next().unwrap_or("");
    match operation {
        PatchOperation::Test(_) => format!("testing value {path} failed: test failed"),
        PatchOperation::Remove(_) => {
            format!("error in remove for path: '{path}': Unable to remove nonexistent key: {last}: missing value")
        }
        PatchOperation::Replace(_) => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        PatchOperation::Add(_) => {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        PatchOperation::Move(moved) => {
            format!("error in move for path: '{}': missing value", moved.from)
        }
        PatchOperation::Copy(copy) => {
            format!("copy operation does not apply: doc is missing from path: {}: missing value", copy.from)
        }
    }
}
