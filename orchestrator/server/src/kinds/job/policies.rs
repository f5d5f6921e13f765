//! The rules of a Job's failure, success and replacement policies.

use std::collections::HashSet;

use serde_json::Value;

use super::container_names;
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

pub fn validate(spec: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_set(&spec["podFailurePolicy"]) {
        problems.extend(validate_failure(spec, &format!("{path}.podFailurePolicy.rules")));
    }
    if is_set(&spec["successPolicy"]) {
        let path = format!("{path}.successPolicy");
        match spec["completionMode"] == "Indexed" {
            true => problems.extend(validate_success(spec, &format!("{path}.rules"))),
            false => {
                let detail = "requires indexed completion mode";
                problems.push(Problem::invalid(path, spec["successPolicy"].clone(), detail));
            }
        }
    }
    let supported: &[&str] =
        if is_set(&spec["podFailurePolicy"]) { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    let replacement = text(&spec["podReplacementPolicy"]);
    if is_set(&spec["podReplacementPolicy"]) && !supported.contains(&replacement) {
        problems.push(Problem::not_supported(format!("{path}.podReplacementPolicy"), replacement, supported));
    }
    problems
}

/// One of the supported words; the complaint lists them as Go prints a slice.
fn chosen(value: &Value, path: &str, supported: &[&str]) -> Option<Problem> {
    match text(value) {
        "" => {
            let listed: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
            Some(Problem::required(path, &format!("valid values: [{}]", listed.join(" "))))
        }
        known if supported.contains(&known) => None,
        other => Some(Problem::not_supported(path, other, supported)),
    }
}

fn validate_failure(spec: &Value, path: &str) -> Vec<Problem> {
    let rules = items(&spec["podFailurePolicy"]["rules"]);
    let mut problems = Vec::new();
    if rules.len() > RULES_MAX {
        problems.push(Problem::too_many(path, rules.len(), RULES_MAX));
    }
    let names = container_names(spec);
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let action = format!("{path}.action");
        if rule["action"] == "FailIndex" && !is_set(&spec["backoffLimitPerIndex"]) {
            problems.push(Problem::invalid(action, "FailIndex", "requires the backoffLimitPerIndex to be set"));
        } else {
            problems.extend(chosen(&rule["action"], &action, &ACTIONS));
        }
        let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
        if is_set(codes) {
            problems.extend(validate_codes(codes, &names, &format!("{path}.onExitCodes")));
        }
        problems.extend(validate_conditions(conditions, &format!("{path}.onPodConditions")));
        match (is_set(codes), !is_empty(conditions)) {
            (true, true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                problems.push(Problem::invalid_unshown(path, detail));
            }
            (false, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                problems.push(Problem::invalid_unshown(path, detail));
            }
            _ => {}
        }
    }
    problems
}

fn validate_conditions(patterns: &Value, path: &str) -> Vec<Problem> {
    let patterns = items(patterns);
    let mut problems = Vec::new();
    if patterns.len() > CONDITIONS_MAX {
        problems.push(Problem::too_many(path, patterns.len(), CONDITIONS_MAX));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let kind = text(&pattern["type"]);
        problems.extend(invalid_each(&format!("{path}[{index}].type"), kind, names::qualified(kind)));
        problems.extend(chosen(&pattern["status"], &format!("{path}[{index}].status"), &STATUSES));
    }
    problems
}

fn validate_codes(codes: &Value, names: &[&str], path: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        chosen(&codes["operator"], &format!("{path}.operator"), &OPERATORS).into_iter().collect();
    if let Some(name) = codes["containerName"].as_str().filter(|name| !names.contains(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        problems.push(Problem::invalid(format!("{path}.containerName"), name, detail));
    }
    let (values, path) = (items(&codes["values"]), format!("{path}.values"));
    if values.is_empty() {
        problems.push(Problem::invalid(path.clone(), values.to_vec(), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
        problems.push(Problem::too_many(path.clone(), values.len(), EXIT_CODES_MAX));
    }
    let mut seen = HashSet::new();
    for (index, code) in values.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if codes["operator"] == "In" && *code == 0 {
            problems.push(Problem::invalid(path.clone(), 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(code.as_i64()) {
            problems.push(Problem::duplicate(path, code.clone()));
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        problems.push(Problem::invalid(path, values.to_vec(), "must be ordered"));
    }
    problems
}

fn validate_success(spec: &Value, path: &str) -> Vec<Problem> {
    let rules = items(&spec["successPolicy"]["rules"]);
    let mut problems = Vec::new();
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        problems.push(Problem::required(path, detail));
    }
    if rules.len() > RULES_MAX {
        problems.push(Problem::too_many(path, rules.len(), RULES_MAX));
    }
    let completions = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        problems.extend(validate_success_rule(rule, completions, &format!("{path}[{index}]")));
    }
    problems
}

fn validate_success_rule(rule: &Value, completions: i64, path: &str) -> Vec<Problem> {
    let (count, indexes) = (rule["succeededCount"].as_i64(), rule["succeededIndexes"].as_str());
    let mut problems = Vec::new();
    if count.is_none() && indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        problems.push(Problem::required(path, detail));
    }
    let mut listed = None;
    if let Some(indexes) = indexes {
        let path = format!("{path}.succeededIndexes");
        if indexes.len() > INDEXES_BYTES_MAX {
            problems.push(Problem::too_long(path.clone(), INDEXES_BYTES_MAX));
        }
        let total = count_indexes(indexes, completions);
        listed = Some(*total.as_ref().unwrap_or(&0));
        if let Err(why) = total {
            problems.push(Problem::invalid(path, indexes, &format!("error parsing succeededIndexes: {why}")));
        }
    }
    let Some(count) = count else { return problems };
    let path = format!("{path}.succeededCount");
    if count < 0 {
        problems.push(Problem::invalid(path.clone(), count, "must be greater than or equal to 0"));
    }
    let at_most = "must be less than or equal to";
    if count > completions {
        let detail = format!("{at_most} {completions} (the number of specified completions)");
        problems.push(Problem::invalid(path.clone(), count, &detail));
    }
    if let Some(listed) = listed.filter(|listed| count > *listed) {
        let detail = format!("{at_most} {listed} (the number of indexes in the specified succeededIndexes field)");
        problems.push(Problem::invalid(path, count, &detail));
    }
    problems
}

/// How many indexes `1,3-5` names; they grow and stay below `completions`.
pub fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut last, mut total) = (None, 0);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let limits: Vec<&str> = interval.split('-').collect();
        if limits.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let number = |text: &str| match text.parse::<i64>() {
            Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
            Ok(number) if number >= completions => Err(format!("too large index: {text:?}")),
            Ok(number) => Ok(number),
        };
        let first = number(limits[0])?;
        let end = limits.get(1).map_or(Ok(first), |text| number(text))?;
        if limits.len() == 2 && first >= end {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
