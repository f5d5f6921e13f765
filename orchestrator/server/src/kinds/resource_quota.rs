//! ResourceQuota: how much of everything a namespace may have.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::json::{child, entries, is_empty, items, scalar, set, text};
use super::resource_names::{is_quota, validate_amount, validate_quota_name};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, keep_status, metadata, names, problem};

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const COMPUTE: [&str; 7] = ["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const CONFLICTING: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]];

pub static RESOURCE_QUOTA: Kind = Kind {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[STATUS],
    schema: "io.k8s.api.core.v1.ResourceQuota",
    storage: "resourcequotas",
    defaults: |quota| {
        child(quota, "spec");
        child(quota, "status");
    },
    prepare_create: |quota| set(quota, "status", json!({})),
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let (scopes, before) = (&new["spec"]["scopes"], &old["spec"]["scopes"]);
        let set = |scopes: &'_ Value| -> BTreeSet<String> { items(scopes).iter().map(scalar).collect() };
        if set(scopes) != set(before) {
            let shown = items(scopes).to_vec();
            problems.push(Problem::invalid("spec.scopes", shown, problem::IMMUTABLE));
        }
        problems
    },
    columns: &[
        NAME,
        string("Request", "Request represents a minimum amount of cpu/memory that a container may consume."),
        string(
            "Limit",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
        ),
        AGE,
    ],
    row: |quota, now| {
        let [requests, limits] = amounts(&quota["status"]);
        vec![name(quota), requests.into(), limits.into(), age(quota, now)]
    },
    ..PLAIN
};

fn validate(quota: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(quota, Scope::Namespaced, names::subdomain);
    let (spec, status) = (&quota["spec"], &quota["status"]);
    problems.extend(validate_list(&spec["hard"], "spec.hard"));
    problems.extend(validate_scopes(spec));
    problems.extend(validate_selector(spec));
    problems.extend(validate_list(&status["hard"], "status.hard"));
    problems.extend(validate_list(&status["used"], "status.used"));
    problems
}

fn validate_list(list: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (resource, amount) in entries(list) {
        let path = format!("{path}[{resource}]");
        problems.extend(validate_quota_name(resource, &path));
        problems.extend(validate_amount(resource, amount, &path));
    }
    problems
}

/// Resources that a quota of this scope cannot count.
fn unfit<'a>(scope: &str, spec: &'a Value) -> Vec<&'a String> {
    let fits = |resource: &str| match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => COMPUTE.contains(&resource),
    };
    entries(&spec["hard"])
        .map(|(resource, _)| resource)
        .filter(|resource| is_quota(resource) && !fits(resource) && SCOPES.contains(&scope))
        .collect()
}

fn conflicts(scopes: &BTreeSet<&str>) -> usize {
    CONFLICTING.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn validate_scopes(spec: &Value) -> Vec<Problem> {
    let scopes = items(&spec["scopes"]);
    let wrong = |detail: &str| Problem::invalid("spec.scopes", scopes.to_vec(), detail);
    let mut problems = Vec::new();
    for scope in scopes.iter().map(text) {
        if !SCOPES.contains(&scope) {
            problems.push(wrong("unsupported scope"));
        }
        problems.extend(unfit(scope, spec).iter().map(|_| wrong("unsupported scope applied to resource")));
    }
    let all = scopes.iter().map(text).collect();
    problems.extend((0..conflicts(&all)).map(|_| wrong("conflicting scopes")));
    problems
}

fn validate_selector(spec: &Value) -> Vec<Problem> {
    const EXISTS: &str = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
        ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
        ResourceQuotaScopeCrossNamespacePodAffinity";
    let selector = &spec["scopeSelector"];
    let path = "spec.scopeSelector.matchExpressions";
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    for term in items(&selector["matchExpressions"]) {
        let (scope, operator) = (text(&term["scopeName"]), text(&term["operator"]));
        if !SCOPES.contains(&scope) {
            problems.push(Problem::invalid(at("scopeName"), scope, "unsupported scope"));
        }
        for _ in unfit(scope, spec) {
            problems.push(Problem::invalid(path, selector.clone(), "unsupported scope applied to resource"));
        }
        if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator != "Exists" {
            problems.push(Problem::invalid(at("operator"), operator, EXISTS));
        }
        match (operator, is_empty(&term["values"])) {
            ("In" | "NotIn", true) => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                problems.push(Problem::required(at("values"), detail));
            }
            ("Exists" | "DoesNotExist", false) => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                problems.push(Problem::invalid(at("values"), term["values"].clone(), detail));
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => {
                problems.push(Problem::invalid(at("operator"), other, "not a valid selector operator"));
            }
        }
    }
    let all = items(&selector["matchExpressions"]).iter().map(|term| text(&term["scopeName"])).collect();
    for _ in 0..conflicts(&all) {
        problems.push(Problem::invalid(path, items(&spec["scopes"]).to_vec(), "conflicting scopes"));
    }
    problems
}

/// `resource: used/hard` of everything but limits, and of limits.
fn amounts(status: &Value) -> [String; 2] {
    let mut columns = [Vec::new(), Vec::new()];
    for (resource, hard) in entries(&status["hard"]) {
        let used = match status["used"].get(resource) {
            Some(used) => scalar(used),
            None => "0".to_owned(),
        };
        let column = usize::from(resource.starts_with("limits."));
        columns[column].push(format!("{resource}: {used}/{}", scalar(hard)));
    }
    columns.map(|column| column.join(", "))
}
