//! Which requests a webhook or an admission policy is asked about: rules, selectors, conditions. Used by
//! `webhook_configuration.rs`, `admission_policy.rs` and `admission_policy_binding.rs`. Expressions must
//! compile.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::expressions::{Expression, Variables};

use super::json::{fill, fill_text, is_empty, is_set, items, items_mut, text};
use super::problem::invalid_each;
use super::{Problem, labels, names};

pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(super) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const CONDITIONS_MAX: usize = 64;

/// The defaults of `rules`, `resourceRules`, `excludeResourceRules`.
pub(super) fn default_rules(holder: &mut Value, field: &str) {
    items_mut(holder, field).for_each(|rule| fill_text(rule, "scope", "*"));
}

/// The defaults of a policy's `matchConstraints` and a binding's `matchResources`.
pub(super) fn default_match_resources(resources: &mut Value) {
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", json!({}));
    fill(resources, "objectSelector", json!({}));
    default_rules(resources, "resourceRules");
    default_rules(resources, "excludeResourceRules");
}

/// A field that may be left out but not misspelt.
pub(super) fn known(value: &Value, path: &str, supported: &[&str]) -> Vec<Problem> {
    match value.as_str() {
        Some(one) if !supported.contains(&one) => vec![Problem::not_supported(path, one, supported)],
        _ => Vec::new(),
    }
}

/// An expression that the engine takes, or what it says of it.
pub(super) fn compiles(expression: &Value, path: &str, variables: &Variables<'_>) -> Option<Problem> {
    let why = Expression::compile(text(expression), variables).err()?;
    Some(Problem::invalid(path, expression.clone(), &format!("compilation failed: {why}")))
}

pub(super) fn validate_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let operations = items(&rule["operations"]);
    let mut problems = Vec::new();
    if operations.is_empty() {
        problems.push(Problem::required(format!("{path}.operations"), ""));
    }
    problems.extend(lone_star(rule, (path, "operations"), "operations"));
    for (index, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(&text(operation)) {
            let field = format!("{path}.operations[{index}]");
            problems.push(Problem::not_supported(field, text(operation), OPERATIONS));
        }
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        if items(&rule[field]).is_empty() {
            problems.push(Problem::required(format!("{path}.{field}"), ""));
        }
        problems.extend(lone_star(rule, (path, field), what));
    }
    for (index, version) in items(&rule["apiVersions"]).iter().enumerate() {
        if text(version).is_empty() {
            problems.push(Problem::required(format!("{path}.apiVersions[{index}]"), ""));
        }
    }
    problems.extend(validate_resources(&rule["resources"], &format!("{path}.resources")));
    problems.extend(known(&rule["scope"], &format!("{path}.scope"), SCOPES));
    problems
}

fn lone_star(rule: &Value, (path, field): (&str, &str), what: &str) -> Option<Problem> {
    let list = items(&rule[field]);
    let crowded = list.len() > 1 && list.iter().any(|one| one == "*");
    let detail = format!("if '*' is present, must not specify other {what}");
    crowded.then(|| Problem::invalid(format!("{path}.{field}"), rule[field].clone(), &detail))
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`, `*/*`, and no two that say the same.
fn validate_resources(list: &Value, path: &str) -> Vec<Problem> {
    let resources: Vec<&str> = items(list).iter().map(text).collect();
    let mut problems = Vec::new();
    if resources.is_empty() {
        problems.push(Problem::required(path, ""));
    }
    let (mut whole, mut everywhere) = (HashSet::new(), HashSet::new());
    let mut plain = false;
    for (index, resource) in resources.iter().enumerate() {
        let field = format!("{path}[{index}]");
        if resource.is_empty() {
            problems.push(Problem::required(field, ""));
            continue;
        }
        let Some((name, sub)) = resource.split_once('/') else {
            plain = *resource != "*";
            continue;
        };
        if whole.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {resource}");
            problems.push(Problem::invalid(field.clone(), *resource, &detail));
        }
        if everywhere.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {resource}");
            problems.push(Problem::invalid(field, *resource, &detail));
        }
        if sub == "*" {
            whole.insert(name);
        }
        if name == "*" {
            everywhere.insert(sub);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        problems.push(Problem::invalid(path, list.clone(), detail));
    }
    if plain && resources.contains(&"*") {
        let detail = "if '*' is present, must not specify other resources without subresources";
        problems.push(Problem::invalid(path, list.clone(), detail));
    }
    problems
}

pub(super) fn validate_match_resources(resources: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    match is_set(&resources["matchPolicy"]) {
        true => problems.extend(known(&resources["matchPolicy"], &format!("{path}.matchPolicy"), MATCH_POLICIES)),
        false => problems.push(Problem::required(format!("{path}.matchPolicy"), "")),
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        let field = format!("{path}.{selector}");
        match is_set(&resources[selector]) {
            true => problems.extend(labels::validate_selector(&resources[selector], &field)),
            false => problems.push(Problem::required(field, "")),
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in items(&resources[list]).iter().enumerate() {
            problems.extend(validate_named_rule(rule, &format!("{path}.{list}[{index}]")));
        }
    }
    problems
}

fn validate_named_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (index, name) in items(&rule["resourceNames"]).iter().map(text).enumerate() {
        let field = format!("{path}.resourceNames[{index}]");
        problems.extend(invalid_each(&field, name, names::path_segment(name)));
        if !seen.insert(name) {
            problems.push(Problem::duplicate(field, name));
        }
    }
    problems.extend(validate_rule(rule, path));
    problems
}

pub(super) fn validate_conditions(conditions: &Value, path: &str, variables: &Variables<'_>) -> Vec<Problem> {
    let conditions = items(conditions);
    let mut problems = Vec::new();
    if conditions.len() > CONDITIONS_MAX {
        problems.push(Problem::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    let mut seen = HashSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = text(&condition["name"]);
        if text(&condition["expression"]).trim().is_empty() {
            problems.push(Problem::required(format!("{path}.expression"), ""));
        } else {
            problems.extend(compiles(&condition["expression"], &format!("{path}.expression"), variables));
        }
        let field = format!("{path}.name");
        if is_empty(&condition["name"]) {
            problems.push(Problem::required(field, ""));
            continue;
        }
        problems.extend(invalid_each(&field, name, names::qualified(name)));
        if !seen.insert(name) {
            problems.push(Problem::duplicate(field, name));
        }
    }
    problems
}
