//! What ReplicaSets, Deployments, StatefulSets and DaemonSets have in common: a count, a selector, a template.

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
    problems.extend(validate_selector(spec, "deployment"));
    problems
}

/// The selector of a workload, which upstream calls by `word` in its complaint.
pub fn validate_selector(spec: &Value, word: &str) -> Vec<Problem> {
    let selector = &spec["selector"];
    if !is_set(selector) {
        return vec![Problem::required("spec.selector", "")];
    }
    let mut problems = labels::validate_selector(selector, "spec.selector");
    if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
        let detail = format!("empty selector is invalid for {word}");
        problems.push(Problem::invalid("spec.selector", selector.clone(), &detail));
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
