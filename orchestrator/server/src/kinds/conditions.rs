//! `status.conditions` of the common shape: type, status, reason, message, since when.

use std::collections::HashMap;

use serde_json::Value;

use super::json::{is_empty, is_set, items, text};
use super::problem::invalid_each;
use super::{Problem, names};

pub(super) const STATUSES: &[&str] = &["False", "True", "Unknown"];
const REASON_BYTES_MAX: usize = 1_024;
const MESSAGE_BYTES_MAX: usize = 32 * 1_024;
const REASON_TEXT: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
    alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  \
    or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
    '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

pub(super) fn validate(conditions: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for (index, condition) in items(conditions).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let kind = text(&condition["type"]);
        if seen.insert(kind, index).is_some() {
            problems.push(Problem::duplicate(format!("{path}.type"), kind));
        }
        problems.extend(validate_one(condition, &path));
    }
    problems
}

/// Whether a condition of this type holds.
pub(super) fn is_true(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).iter().any(|one| one["type"] == kind && one["status"] == "True")
}

fn validate_one(condition: &Value, path: &str) -> Vec<Problem> {
    let kind = text(&condition["type"]);
    let mut problems = invalid_each(&format!("{path}.type"), kind, names::qualified(kind));
    let status = text(&condition["status"]);
    if !STATUSES.contains(&status) {
        problems.push(Problem::not_supported(format!("{path}.status"), status, STATUSES));
    }
    if let Some(generation) = condition["observedGeneration"].as_i64().filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        problems.push(Problem::invalid(format!("{path}.observedGeneration"), generation, detail));
    }
    if !is_set(&condition["lastTransitionTime"]) {
        problems.push(Problem::required(format!("{path}.lastTransitionTime"), "must be set"));
    }
    let reason = text(&condition["reason"]);
    if is_empty(&condition["reason"]) {
        problems.push(Problem::required(format!("{path}.reason"), "must be set"));
    } else if !is_reason(reason) {
        problems.push(Problem::invalid(format!("{path}.reason"), reason, REASON_TEXT));
    }
    if reason.len() > REASON_BYTES_MAX {
        problems.push(Problem::too_long(format!("{path}.reason"), REASON_BYTES_MAX));
    }
    if text(&condition["message"]).len() > MESSAGE_BYTES_MAX {
        problems.push(Problem::too_long(format!("{path}.message"), MESSAGE_BYTES_MAX));
    }
    problems
}

fn is_reason(reason: &str) -> bool {
    let inner = reason.bytes().all(|b| b.is_ascii_alphanumeric() || b"_,:".contains(&b));
    let starts = reason.starts_with(|c: char| c.is_ascii_alphabetic());
    inner && starts && reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}
