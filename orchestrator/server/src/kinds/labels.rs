//! Labels and label selectors: their validation, matching and printed form.

use serde_json::Value;

use super::Problem;
use super::json::{entries, is_empty, items, text};
use super::names;
use super::problem::invalid_each;

/// Keys and values of a map of labels (`metadata.labels`, `spec.nodeSelector`, a Service's selector).
pub fn validate(labels: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in entries(labels) {
        problems.extend(invalid_each(path, key, names::qualified(key)));
        problems.extend(invalid_each(path, text(value), names::label_value(text(value))));
    }
    problems
}

/// A LabelSelector object.
pub fn validate_selector(selector: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate(&selector["matchLabels"], &format!("{path}.matchLabels"));
    for (index, requirement) in items(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        problems.extend(validate_requirement(requirement, &path));
    }
    problems
}

fn validate_requirement(requirement: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let values = format!("{path}.values");
    match text(&requirement["operator"]) {
        "In" | "NotIn" if is_empty(&requirement["values"]) => {
            problems.push(Problem::required(values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !is_empty(&requirement["values"]) => {
            problems
                .push(Problem::forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => problems.push(Problem::invalid(format!("{path}.operator"), other, "not a valid selector operator")),
    }
    let key = text(&requirement["key"]);
    problems.extend(invalid_each(&format!("{path}.key"), key, names::qualified(key)));
    for (index, value) in items(&requirement["values"]).iter().enumerate() {
        let field = format!("{path}.values[{index}]");
        problems.extend(invalid_each(&field, text(value), names::label_value(text(value))));
    }
    problems
}

/// Whether a LabelSelector picks these labels. An empty selector picks everything.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let equal = entries(&selector["matchLabels"]).all(|(key, value)| labels.get(key) == Some(value));
    equal && items(&selector["matchExpressions"]).iter().all(|requirement| meets(requirement, labels))
}

fn meets(requirement: &Value, labels: &Value) -> bool {
    let found = labels.get(text(&requirement["key"]));
    let listed = found.is_some_and(|value| items(&requirement["values"]).contains(value));
    match text(&requirement["operator"]) {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

/// `a=b,c in (d,e)`, keys in order; `<none>` for an empty one.
pub fn print_selector(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> =
        entries(&selector["matchLabels"]).map(|(k, v)| (k.clone(), format!("{k}={}", text(v)))).collect();
    for requirement in items(&selector["matchExpressions"]) {
        let key = text(&requirement["key"]);
        let mut values: Vec<&str> = items(&requirement["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(&requirement["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort();
    none_if_empty(parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(","))
}

/// `a=b,c=d`, or `<none>`.
pub fn print(labels: &Value) -> String {
    none_if_empty(entries(labels).map(|(k, v)| format!("{k}={}", text(v))).collect::<Vec<_>>().join(","))
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}
