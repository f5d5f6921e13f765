//! The rules of what steers scheduling: tolerations, gates, node affinity, spread.

use std::collections::HashSet;

use serde_json::Value;

use super::one_of;
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, labels, names};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn validate(spec: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate_affinity(&spec["affinity"], &format!("{path}.affinity"));
    problems.extend(validate_tolerations(&spec["tolerations"], &format!("{path}.tolerations")));
    problems.extend(validate_gates(&spec["schedulingGates"], &format!("{path}.schedulingGates")));
    problems.extend(validate_spread(&spec["topologySpreadConstraints"], &format!("{path}.topologySpreadConstraints")));
    problems
}

pub fn validate_tolerations(tolerations: &Value, path: &str) -> Vec<Problem> {
    let tolerations = items(tolerations).iter().enumerate();
    tolerations.flat_map(|(index, toleration)| validate_toleration(toleration, &format!("{path}[{index}]"))).collect()
}

fn validate_toleration(toleration: &Value, path: &str) -> Vec<Problem> {
    let field = |name: &'static str| text(&toleration[name]);
    let (key, operator, value, effect) = (field("key"), field("operator"), field("value"), field("effect"));
    let at = |name: &str| format!("{path}.{name}");
    let mut problems = Vec::new();
    if !key.is_empty() {
        problems.extend(invalid_each(&at("key"), key, names::qualified(key)));
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        problems.push(Problem::invalid(at("operator"), operator, detail));
    }
    if is_set(&toleration["tolerationSeconds"]) && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        problems.push(Problem::invalid(at("effect"), effect, detail));
    }
    match operator {
        "" | "Equal" => {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                problems.push(Problem::invalid(at("operator"), value, &complaints.join(";")));
            }
        }
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let detail = "value must be empty when `operator` is 'Exists'";
            problems.push(Problem::invalid(at("operator"), toleration.clone(), detail));
        }
        other => problems.push(Problem::not_supported(at("operator"), other, &["Equal", "Exists"])),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        problems.push(Problem::not_supported(at("effect"), effect, &EFFECTS));
    }
    problems
}

fn validate_gates(gates: &Value, path: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, gate) in items(gates).iter().enumerate() {
        let name = text(&gate["name"]);
        problems.extend(invalid_each(&format!("{path}[{index}].name"), name, names::qualified(name)));
        if !seen.insert(name) {
            problems.push(Problem::duplicate(format!("{path}[{index}].name"), name));
        }
    }
    problems
}

fn validate_affinity(affinity: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let required = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let base = format!("{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if is_set(required) && is_empty(&required["nodeSelectorTerms"]) {
        problems.push(Problem::required(base.clone(), "must have at least one node selector term"));
    }
    for (index, term) in items(&required["nodeSelectorTerms"]).iter().enumerate() {
        for (position, expression) in items(&term["matchExpressions"]).iter().enumerate() {
            problems.extend(validate_expression(expression, &format!("{base}[{index}].matchExpressions[{position}]")));
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let field = "requiredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in items(&affinity[kind][field]).iter().enumerate() {
            let path = format!("{path}.{kind}.{field}[{index}]");
            if is_empty(&term["topologyKey"]) {
                problems.push(Problem::required(format!("{path}.topologyKey"), "can not be empty"));
            }
            problems.extend(labels::validate_selector(&term["labelSelector"], &format!("{path}.labelSelector")));
        }
    }
    problems
}

fn validate_expression(expression: &Value, path: &str) -> Vec<Problem> {
    let values = items(&expression["values"]).len();
    let mut problems = Vec::new();
    let field = format!("{path}.values");
    match text(&expression["operator"]) {
        "In" | "NotIn" if values == 0 => {
            problems.push(Problem::required(field, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            problems
                .push(Problem::forbidden(field, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "Gt" | "Lt" if values != 1 => {
            problems.push(Problem::required(field, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => problems.push(Problem::invalid(format!("{path}.operator"), other, "not a valid selector operator")),
    }
    let key = text(&expression["key"]);
    problems.extend(invalid_each(&format!("{path}.key"), key, names::qualified(key)));
    problems
}

fn validate_spread(constraints: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, constraint) in items(constraints).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            problems.push(Problem::invalid(at("maxSkew"), skew, "must be greater than zero"));
        }
        if is_empty(&constraint["topologyKey"]) {
            problems.push(Problem::required(at("topologyKey"), "can not be empty"));
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        problems.extend(one_of(&constraint["whenUnsatisfiable"], &at("whenUnsatisfiable"), &actions));
        problems.extend(labels::validate_selector(&constraint["labelSelector"], &at("labelSelector")));
    }
    problems
}
