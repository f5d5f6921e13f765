//! What ReplicaSets and Deployments have in common: a count, a selector, a template.

use serde_json::Value;

use super::json::{child, is_empty, is_set, present};
use super::{Problem, Scope, labels, metadata, names, pod_spec};

pub fn fill_template(workload: &mut Value) {
    let template = child(workload, "spec").and_then(|spec| present(spec, "template"));
    if let Some(spec) = template.and_then(|template| present(template, "spec")) {
        pod_spec::fill_spec(spec);
    }
}

/// Metadata, replicas, minReadySeconds and the selector.
pub fn validate(workload: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(workload, Scope::Namespaced, names::subdomain);
    let spec = &workload["spec"];
    problems.extend(["replicas", "minReadySeconds"].iter().filter_map(|field| not_negative(spec, field)));
    let selector = &spec["selector"];
    if !is_set(selector) {
        problems.push(Problem::required("spec.selector", ""));
    } else {
        problems.extend(labels::validate_selector(selector, "spec.selector"));
        if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
            let detail = "empty selector is invalid for deployment";
            problems.push(Problem::invalid("spec.selector", selector.clone(), detail));
        }
    }
    problems
}

pub fn not_negative(spec: &Value, field: &str) -> Option<Problem> {
    let number = spec[field].as_i64().filter(|number| *number < 0)?;
    Some(Problem::invalid(format!("spec.{field}"), number, "must be greater than or equal to 0"))
}

/// Metadata, and the selector, which may never change.
pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    problems.extend(super::problem::immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"]));
    problems
}
