//! What may change in a pod's spec once it exists: images, deadlines, added tolerations, fewer gates.

use serde_json::Value;

use crate::kinds::json::{entries, is_empty, is_set, items, items_mut, keep, set, text};
use crate::kinds::names::between;
use crate::kinds::problem::changes;
use crate::kinds::{Problem, metadata};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn validate(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    for list in ["containers", "initContainers"] {
        if items(&spec[list]).len() != items(&before[list]).len() {
            let detail = "pod updates may not add or remove containers";
            problems.push(Problem::forbidden(format!("spec.{list}"), detail));
            return problems;
        }
    }
    problems.extend(validate_deadline(&spec["activeDeadlineSeconds"], &before["activeDeadlineSeconds"]));
    problems.extend(validate_gates(spec, before));
    problems.extend(validate_tolerations(spec, before));
    let munged = munged(spec, before);
    let changed = changes(&munged, before);
    if !changed.is_empty() {
        problems.push(Problem::forbidden("spec", &format!("{UPDATABLE}\n{changed}")));
    }
    problems
}

/// The new spec with everything that may change put back.
fn munged(spec: &Value, before: &Value) -> Value {
    let mut munged = spec.clone();
    for list in ["containers", "initContainers"] {
        for (container, old) in items_mut(&mut munged, list).zip(items(&before[list])) {
            keep(container, "image", old);
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        keep(&mut munged, field, before);
    }
    let grace = |spec: &Value| spec["terminationGracePeriodSeconds"].as_i64();
    if grace(before).is_some_and(|seconds| seconds < 0) && grace(spec) == Some(1) {
        keep(&mut munged, "terminationGracePeriodSeconds", before);
    }
    if !is_empty(&before["schedulingGates"]) {
        if entries(&before["nodeSelector"]).all(|(key, value)| spec["nodeSelector"].get(key) == Some(value)) {
            keep(&mut munged, "nodeSelector", before);
        }
        if !is_set(&before["affinity"]) {
            set(&mut munged, "affinity", Value::Null);
        }
    }
    munged
}

fn validate_deadline(new: &Value, old: &Value) -> Vec<Problem> {
    let path = "spec.activeDeadlineSeconds";
    match (new.as_i64(), old.as_i64()) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            between(new, 0, i64::from(i32::MAX)).iter().map(|text| Problem::invalid(path, new, text)).collect()
        }
        (Some(new), Some(old)) if old < new => {
            vec![Problem::invalid(path, new, "must be less than or equal to previous value")]
        }
        (None, Some(_)) => {
            vec![Problem::invalid(path, Value::Null, "must not update from a positive integer to nil value")]
        }
        _ => Vec::new(),
    }
}

fn validate_gates(spec: &Value, before: &Value) -> Vec<Problem> {
    let known = items(&before["schedulingGates"]);
    let added = items(&spec["schedulingGates"]).iter().enumerate().filter(|(_, gate)| !known.contains(gate));
    added
        .map(|(index, gate)| {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", text(&gate["name"]));
            Problem::forbidden(format!("spec.schedulingGates[{index}].name"), &detail)
        })
        .collect()
}

fn validate_tolerations(spec: &Value, before: &Value) -> Option<Problem> {
    let timeless = |toleration: &Value| {
        let mut toleration = toleration.clone();
        set(&mut toleration, "tolerationSeconds", Value::Null);
        toleration
    };
    let now: Vec<Value> = items(&spec["tolerations"]).iter().map(timeless).collect();
    if items(&before["tolerations"]).iter().all(|old| now.contains(&timeless(old))) {
        return None;
    }
    let detail = "existing toleration can not be modified except its tolerationSeconds";
    Some(Problem::forbidden("spec.tolerations", detail))
}
