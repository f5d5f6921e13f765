//! LimitRange: least, most and usual amounts for what is created in a namespace.

use std::collections::BTreeSet;

use amphipod_api::quantity;
use serde_json::{Map, Value};

use super::json::{child, entries, fill, is_empty, items, items_mut, map, present, scalar, text};
use super::problem::invalid_each;
use super::resource_names::{overcommits, validate_limit_name};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, metadata, names};

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

pub static LIMIT_RANGE: Kind = Kind {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    schema: "io.k8s.api.core.v1.LimitRange",
    storage: "limitranges",
    update: UpdateRules { unconditional: true, creates: true, generation: false },
    defaults: |range| {
        if let Some(spec) = present(range, "spec") {
            items_mut(spec, "limits").filter(|limit| limit["type"] == "Container").for_each(fill_limit);
        }
    },
    validate,
    ..PLAIN
};

/// The usual limit is the most, the usual request the usual limit, else the least.
fn fill_limit(limit: &mut Value) {
    fill_from(limit, "default", "max");
    fill_from(limit, "defaultRequest", "default");
    fill_from(limit, "defaultRequest", "min");
}

fn fill_from(limit: &mut Value, list: &str, from: &str) {
    let from: Map<String, Value> = map(&limit[from]);
    if from.is_empty() {
        return;
    }
    if let Some(amounts) = child(limit, list) {
        from.into_iter().for_each(|(resource, amount)| fill(amounts, &resource, amount));
    }
}

fn validate(range: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(range, Scope::Namespaced, names::subdomain);
    let mut seen = BTreeSet::new();
    for (index, limit) in items(&range["spec"]["limits"]).iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = text(&limit["type"]);
        problems.extend(validate_type(kind, &format!("{path}.type")));
        if !seen.insert(kind) {
            problems.push(Problem::duplicate(format!("{path}.type"), kind));
        }
        problems.extend(validate_lists(limit, kind, &path));
        if kind == "PersistentVolumeClaim" && limit["min"].get("storage").or(limit["max"].get("storage")).is_none() {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            problems.push(Problem::required(format!("{path}.limits"), detail));
        }
        let resources: BTreeSet<&String> =
            LISTS.iter().flat_map(|list| entries(&limit[*list]).map(|(resource, _)| resource)).collect();
        for resource in resources {
            problems.extend(validate_amounts(limit, resource, &path));
        }
    }
    problems
}

fn validate_type(kind: &str, path: &str) -> Vec<Problem> {
    let complaints = names::qualified(kind);
    if complaints.is_empty() && !kind.contains('/') && !TYPES.contains(&kind) {
        return vec![Problem::invalid(path, kind, "must be a standard limit type or fully qualified")];
    }
    invalid_each(path, kind, complaints)
}

fn validate_lists(limit: &Value, kind: &str, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for list in LISTS {
        if kind == "Pod" && list.starts_with("default") {
            if !is_empty(&limit[list]) {
                let detail = "may not be specified when `type` is 'Pod'";
                problems.push(Problem::forbidden(format!("{path}.{list}"), detail));
            }
            continue;
        }
        for (resource, _) in entries(&limit[list]) {
            problems.extend(validate_limit_name(kind, resource, &format!("{path}.{list}[{resource}]")));
        }
    }
    problems
}

/// The amounts of one resource among each other.
fn validate_amounts(limit: &Value, resource: &str, path: &str) -> Vec<Problem> {
    let shown = |list: &str| limit[list].get(resource).map(scalar);
    let (min, max, ratio) = (shown("min"), shown("max"), shown("maxLimitRequestRatio"));
    let (usual, request) = (shown("default"), shown("defaultRequest"));
    let at = |list: &str| format!("{path}.{list}[{resource}]");
    let mut problems = Vec::new();
    // (the smaller one and its word, the greater one and its word, where, which of them is shown)
    let pairs = [
        ((&min, "min value"), (&max, "max value"), "min", &min),
        ((&min, "min value"), (&request, "default request value"), "defaultRequest", &request),
        ((&request, "default request value"), (&max, "max value"), "defaultRequest", &request),
        ((&request, "default request value"), (&usual, "default limit value"), "defaultRequest", &request),
        ((&min, "min value"), (&usual, "default value"), "default", &min),
        ((&usual, "default value"), (&max, "max value"), "default", &max),
    ];
    for ((small, word), (large, other), list, value) in pairs {
        if let (Some(small), Some(large), Some(value)) = (small, large, value)
            && quantity::milli(small) > quantity::milli(large)
        {
            let detail = format!("{word} {small} is greater than {other} {large}");
            problems.push(Problem::invalid(at(list), value.as_str(), &detail));
        }
    }
    if let Some(ratio) = &ratio {
        problems.extend(validate_ratio(ratio, (&min, &max), &at("maxLimitRequestRatio")));
    }
    if let (Some(usual), Some(request)) = (&usual, &request)
        && !overcommits(resource)
        && quantity::milli(usual) != quantity::milli(request)
    {
        let detail = format!("default value {usual} must equal to defaultRequest value {request} in {resource}");
        problems.push(Problem::invalid(at("defaultRequest"), request.as_str(), &detail));
    }
    problems
}

fn validate_ratio(ratio: &str, (min, max): (&Option<String>, &Option<String>), path: &str) -> Vec<Problem> {
    let milli = |text: &str| quantity::milli(text).unwrap_or(0) as f64;
    let mut problems = Vec::new();
    if milli(ratio) < 1_000.0 {
        problems.push(Problem::invalid(path, ratio, &format!("ratio {ratio} is less than 1")));
    }
    if let (Some(min), Some(max)) = (min, max) {
        let most = milli(max) / milli(min);
        if milli(ratio) / 1_000.0 > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            problems.push(Problem::invalid(path, ratio, &detail));
        }
    }
    problems
}
