//! The rules of autoscalers, of their v2 form.

use amphipod_api::quantity;
use serde_json::Value;

use crate::kinds::json::{is_empty, is_set, items, scalar, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, Scope, metadata, names};

const WINDOW_SECONDS_MAX: i64 = 3_600;
const PERIOD_SECONDS_MAX: i64 = 1_800;
const SELECT_POLICIES: [&str; 3] = ["Disabled", "Max", "Min"];
const POLICY_TYPES: [&str; 2] = ["Percent", "Pods"];
/// In the order in which upstream looks for them: type and member.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const SOURCE_TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

pub fn validate(autoscaler: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(autoscaler, Scope::Namespaced, names::subdomain);
    let (spec, status) = (&autoscaler["spec"], &autoscaler["status"]);
    let (least, most) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 0) {
        problems.push(Problem::invalid("spec.minReplicas", least, "must be greater than or equal to 0"));
    }
    if most < 1 {
        problems.push(Problem::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        problems.push(Problem::invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"));
    }
    problems.extend(validate_reference(&spec["scaleTargetRef"], "spec.scaleTargetRef"));
    for (index, metric) in items(&spec["metrics"]).iter().enumerate() {
        problems.extend(validate_metric(metric, &format!("spec.metrics[{index}]")));
    }
    let scales_from_zero = |metric: &Value| matches!(text(&metric["type"]), "Object" | "External");
    if least == Some(0) && !items(&spec["metrics"]).iter().any(scales_from_zero) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        problems.push(Problem::forbidden("spec.metrics", detail));
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if is_set(rules) {
            problems.extend(validate_rules(rules, &format!("spec.behavior.{direction}")));
        }
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        if let Some(number) = status[field].as_i64().filter(|number| *number < 0) {
            let detail = "must be greater than or equal to 0";
            problems.push(Problem::invalid(format!("status.{field}"), number, detail));
        }
    }
    problems
}

fn validate_reference(reference: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["kind", "name"] {
        problems.extend(validate_word(&reference[field], &format!("{path}.{field}"), ""));
    }
    problems
}

/// A segment of a path that must be there.
fn validate_word(word: &Value, path: &str, missing: &str) -> Vec<Problem> {
    match text(word) {
        "" => vec![Problem::required(path, missing)],
        word => invalid_each(path, word, names::path_segment(word)),
    }
}

fn validate_rules(rules: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    if let Some(window) = rules["stabilizationWindowSeconds"].as_i64() {
        if window < 0 {
            let detail = "must be greater than or equal to zero";
            problems.push(Problem::invalid(at("stabilizationWindowSeconds"), window, detail));
        }
        if window > WINDOW_SECONDS_MAX {
            let detail = format!("must be less than or equal to {WINDOW_SECONDS_MAX}");
            problems.push(Problem::invalid(at("stabilizationWindowSeconds"), window, &detail));
        }
    }
    if is_set(&rules["tolerance"]) {
        let shown = scalar(&rules["tolerance"]);
        if quantity::milli(&shown).is_some_and(|milli| milli < 0) {
            problems.push(Problem::invalid(at("tolerance"), shown, "must be greater than or equal to 0"));
        }
    }
    let select = text(&rules["selectPolicy"]);
    if is_set(&rules["selectPolicy"]) && !SELECT_POLICIES.contains(&select) {
        problems.push(Problem::not_supported(at("selectPolicy"), select, &SELECT_POLICIES));
    }
    if is_empty(&rules["policies"]) {
        problems.push(Problem::required(at("policies"), "must specify at least one Policy"));
    }
    for (index, policy) in items(&rules["policies"]).iter().enumerate() {
        problems.extend(validate_policy(policy, &at(&format!("policies[{index}]"))));
    }
    problems
}

fn validate_policy(policy: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let kind = text(&policy["type"]);
    if !POLICY_TYPES.contains(&kind) {
        problems.push(Problem::not_supported(format!("{path}.type"), kind, &POLICY_TYPES));
    }
    for field in ["value", "periodSeconds"] {
        let number = policy[field].as_i64().unwrap_or(0);
        if number <= 0 {
            problems.push(Problem::invalid(format!("{path}.{field}"), number, "must be greater than zero"));
        }
    }
    let period = policy["periodSeconds"].as_i64().unwrap_or(0);
    if period > PERIOD_SECONDS_MAX {
        let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
        problems.push(Problem::invalid(format!("{path}.periodSeconds"), period, &detail));
    }
    problems
}

fn validate_metric(metric: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let kind = text(&metric["type"]);
    let mut problems = Vec::new();
    if kind.is_empty() {
        problems.push(Problem::required(at("type"), "must specify a metric source type"));
    }
    let unsupported = || Problem::not_supported(at("type"), kind, &SOURCE_TYPES);
    if !SOURCE_TYPES.contains(&kind) {
        problems.push(unsupported());
    }
    let given: Vec<&str> =
        SOURCES.iter().map(|(_, member)| *member).filter(|member| is_set(&metric[*member])).collect();
    if let Some(first) = given.first() {
        problems.extend(validate_source(first, &metric[*first], &at(first)));
    }
    let expected = SOURCES.iter().find(|(source, _)| *source == kind).map(|(_, member)| *member);
    match expected {
        Some(member) if !is_set(&metric[member]) => {
            let detail = "must populate information for the given metric source";
            problems.push(Problem::required(at(member), detail));
        }
        Some(_) => {}
        None => problems.push(unsupported()),
    }
    if given.len() != 1 {
        for member in given.into_iter().filter(|member| Some(*member) != expected) {
            problems.push(Problem::forbidden(at(member), "must populate the given metric source only"));
        }
    }
    problems
}

fn validate_source(member: &str, source: &Value, path: &str) -> Vec<Problem> {
    let (target, at) = (&source["target"], |field: &str| format!("{path}.{field}"));
    let mut problems = Vec::new();
    if member == "object" {
        problems.extend(validate_reference(&source["describedObject"], &at("describedObject")));
    }
    match member {
        "object" | "external" | "pods" => {
            let missing = "must specify a metric name";
            problems.extend(validate_word(&source["metric"]["name"], &at("metric.name"), missing));
        }
        _ if is_empty(&source["name"]) => {
            problems.push(Problem::required(at("name"), "must specify a resource name"));
        }
        _ => {}
    }
    if member == "containerResource" {
        match text(&source["container"]) {
            "" => problems.push(Problem::required(at("container"), "must specify a container")),
            container => problems.extend(invalid_each(&at("container"), container, names::label(container))),
        }
    }
    problems.extend(validate_target(target, &at("target")));
    let has = |field: &str| is_set(&target[field]);
    let (value, average) = (at("target.value"), at("target.averageValue"));
    match member {
        "object" if !has("value") && !has("averageValue") => {
            problems.push(Problem::required(average, "must set either a target value or averageValue"));
        }
        "external" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value for metric or a per-pod target";
            problems.push(Problem::required(average, detail));
        }
        "external" if has("value") && has("averageValue") => {
            let detail = "may not set both a target value for metric and a per-pod target";
            problems.push(Problem::forbidden(value, detail));
        }
        "pods" if !has("averageValue") => {
            problems.push(Problem::required(average, "must specify a positive target averageValue"));
        }
        "resource" | "containerResource" if !has("averageUtilization") && !has("averageValue") => {
            let detail = "must set either a target raw value or a target utilization";
            problems.push(Problem::required(at("target.averageUtilization"), detail));
        }
        "resource" | "containerResource" if has("averageUtilization") && has("averageValue") => {
            let detail = "may not set both a target raw value and a target utilization";
            problems.push(Problem::forbidden(average, detail));
        }
        _ => {}
    }
    problems
}

fn validate_target(target: &Value, path: &str) -> Vec<Problem> {
    let kind = text(&target["type"]);
    let mut problems = Vec::new();
    if kind.is_empty() {
        problems.push(Problem::required(format!("{path}.type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        problems.push(Problem::invalid(format!("{path}.type"), kind, detail));
    }
    for field in ["value", "averageValue"].into_iter().filter(|field| is_set(&target[*field])) {
        let shown = scalar(&target[field]);
        if quantity::milli(&shown).is_some_and(|milli| milli <= 0) {
            problems.push(Problem::invalid(format!("{path}.{field}"), shown, "must be positive"));
        }
    }
    if let Some(percent) = target["averageUtilization"].as_i64().filter(|percent| *percent < 1) {
        problems.push(Problem::invalid(format!("{path}.averageUtilization"), percent, "must be greater than 0"));
    }
    problems
}
