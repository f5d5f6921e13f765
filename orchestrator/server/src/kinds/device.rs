//! What the kinds of resource.k8s.io share: names of drivers and pools, selectors, requests, taints, configuration.
//! Whether a selector's expression compiles is not asked here.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::json::{fill, fill_text, is_set, items, items_mut, present, remove, text};
use super::match_rules::known;
use super::problem::invalid_each;
use super::{Problem, names};

const DRIVER_BYTES_MAX: usize = 63;
const POOL_BYTES_MAX: usize = 253;
const LIST_ITEMS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const MODES: &[&str] = &["All", "ExactCount"];

/// Names of a claim's requests, each with the names of its alternatives.
pub(super) type RequestNames<'a> = BTreeMap<&'a str, Vec<&'a str>>;

pub(super) fn default_requests(devices: &mut Value) {
    for request in items_mut(devices, "requests") {
        if let Some(exact) = present(request, "exactly") {
            default_count(exact);
        }
        items_mut(request, "firstAvailable").for_each(default_count);
    }
}

fn default_count(request: &mut Value) {
    fill_text(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        if request["count"] == 0 {
            remove(request, "count");
        }
        fill(request, "count", 1);
    }
}

/// A taint says since when it holds; one that does not is as old as its object.
pub(super) fn default_taint(taint: &mut Value, since: &Value) {
    if taint.is_object() && is_set(since) {
        fill(taint, "timeAdded", since.clone());
    }
}

pub(super) fn validate_driver(driver: &str, path: &str) -> Vec<Problem> {
    if driver.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let mut problems = Vec::new();
    if driver.len() > DRIVER_BYTES_MAX {
        problems.push(Problem::too_long(path, DRIVER_BYTES_MAX));
    }
    problems.extend(invalid_each(path, driver, names::subdomain(&driver.to_lowercase())));
    problems
}

pub(super) fn validate_pool(pool: &str, path: &str) -> Vec<Problem> {
    if pool.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let mut problems = Vec::new();
    if pool.len() > POOL_BYTES_MAX {
        problems.push(Problem::too_long(path, POOL_BYTES_MAX));
    }
    problems.extend(pool.split('/').flat_map(|part| invalid_each(path, part, names::subdomain(part))));
    problems
}

fn required_label(name: &str, path: &str) -> Vec<Problem> {
    if name.is_empty() { vec![Problem::required(path, "")] } else { invalid_each(path, name, names::label(name)) }
}

pub(super) fn validate_device_name(name: &str, path: &str) -> Vec<Problem> {
    required_label(name, path)
}

/// A list of at most `most` entries, each looked at on its own.
pub(super) fn each(
    list: &Value,
    path: &str,
    most: usize,
    mut look: impl FnMut(&Value, &str) -> Vec<Problem>,
) -> Vec<Problem> {
    let list = items(list);
    let mut problems = Vec::new();
    if list.len() > most {
        problems.push(Problem::too_many(path, list.len(), most));
    }
    problems.extend(list.iter().enumerate().flat_map(|(index, item)| look(item, &format!("{path}[{index}]"))));
    problems
}

pub(super) fn request_names(devices: &Value) -> RequestNames<'_> {
    let mut names = RequestNames::new();
    for request in items(&devices["requests"]) {
        let alternatives = items(&request["firstAvailable"]).iter().map(|sub| text(&sub["name"]));
        names.insert(text(&request["name"]), alternatives.collect());
    }
    names
}

/// `spec.devices` of a claim.
pub(super) fn validate_claim(devices: &Value, path: &str) -> Vec<Problem> {
    let known_names = request_names(devices);
    let mut seen = HashSet::new();
    let mut problems = each(&devices["requests"], &format!("{path}.requests"), LIST_ITEMS_MAX, |request, path| {
        let mut problems = validate_request(request, path);
        let name = text(&request["name"]);
        if !name.is_empty() && !seen.insert(name.to_owned()) {
            problems.push(Problem::duplicate(path, name));
        }
        problems
    });
    problems.extend(each(&devices["constraints"], &format!("{path}.constraints"), LIST_ITEMS_MAX, |one, path| {
        let mut problems = validate_references(&one["requests"], path, &known_names);
        match (one["matchAttribute"].as_str(), one["distinctAttribute"].as_str()) {
            (Some(name), _) => problems.extend(validate_attribute(name, &format!("{path}.matchAttribute"))),
            (None, Some(name)) => problems.extend(validate_attribute(name, &format!("{path}.distinctAttribute"))),
            (None, None) => problems.push(Problem::required(format!("{path}.matchAttribute"), "")),
        }
        problems
    }));
    problems.extend(each(&devices["config"], &format!("{path}.config"), LIST_ITEMS_MAX, |one, path| {
        let mut problems = validate_references(&one["requests"], path, &known_names);
        problems.extend(validate_configuration(one, path));
        problems
    }));
    problems
}

fn validate_request(request: &Value, path: &str) -> Vec<Problem> {
    let mut problems = required_label(text(&request["name"]), &format!("{path}.name"));
    let (alternatives, exactly) = (!items(&request["firstAvailable"]).is_empty(), is_set(&request["exactly"]));
    match (alternatives, exactly) {
        (false, false) => {
            problems.push(Problem::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (true, true) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            problems.push(Problem::invalid(path, Value::Null, detail));
        }
        (false, true) => problems.extend(validate_exact(&request["exactly"], &format!("{path}.exactly"))),
        (true, false) => {
            let field = format!("{path}.firstAvailable");
            problems.extend(each(&request["firstAvailable"], &field, ALTERNATIVES_MAX, |one, path| {
                let mut problems = required_label(text(&one["name"]), &format!("{path}.name"));
                problems.extend(validate_exact(one, path));
                problems
            }));
        }
    }
    problems
}

fn validate_exact(request: &Value, path: &str) -> Vec<Problem> {
    let field = format!("{path}.deviceClassName");
    let mut problems = match text(&request["deviceClassName"]) {
        "" => vec![Problem::required(field, "")],
        class => invalid_each(&field, class, names::subdomain(class)),
    };
    problems.extend(validate_selectors(&request["selectors"], &format!("{path}.selectors")));
    let (mode, count) = (text(&request["allocationMode"]), request["count"].as_i64().unwrap_or(0));
    let field = format!("{path}.count");
    match mode {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            problems.push(Problem::invalid(field, count, detail));
        }
        "ExactCount" if count <= 0 => problems.push(Problem::invalid(field, count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => problems.push(Problem::not_supported(format!("{path}.allocationMode"), other, MODES)),
    }
    let field = format!("{path}.tolerations");
    problems.extend(each(&request["tolerations"], &field, TOLERATIONS_MAX, validate_toleration));
    problems
}

pub(super) fn validate_selectors(list: &Value, path: &str) -> Vec<Problem> {
    each(list, path, LIST_ITEMS_MAX, |selector, path| {
        if !is_set(&selector["cel"]) {
            return vec![Problem::required(format!("{path}.cel"), "")];
        }
        let long = text(&selector["cel"]["expression"]).len() > EXPRESSION_BYTES_MAX;
        let problem = || Problem::too_long(format!("{path}.cel.expression"), EXPRESSION_BYTES_MAX);
        long.then(problem).into_iter().collect()
    })
}

fn validate_toleration(toleration: &Value, path: &str) -> Vec<Problem> {
    let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
    let mut problems = match key {
        "" => Vec::new(),
        key => invalid_each(&format!("{path}.key"), key, names::qualified(key)),
    };
    let value = format!("{path}.value");
    match operator {
        "Exists" if !text(&toleration["value"]).is_empty() => {
            let detail = "must be empty for operator `Exists`";
            problems.push(Problem::invalid(value, text(&toleration["value"]), detail));
        }
        "Exists" => {}
        "Equal" => problems.extend(invalid_each(
            &value,
            text(&toleration["value"]),
            names::label_value(text(&toleration["value"])),
        )),
        "" => problems.push(Problem::required(format!("{path}.operator"), "")),
        other => {
            problems.push(Problem::not_supported(format!("{path}.operator"), other, &["Equal", "Exists"]));
        }
    }
    if !text(&toleration["effect"]).is_empty() {
        problems.extend(known(&toleration["effect"], &format!("{path}.effect"), EFFECTS));
    }
    problems
}

pub(super) fn validate_taint(taint: &Value, path: &str) -> Vec<Problem> {
    let (key, value) = (text(&taint["key"]), text(&taint["value"]));
    let mut problems = invalid_each(&format!("{path}.key"), key, names::qualified(key));
    problems.extend(invalid_each(&format!("{path}.value"), value, names::label_value(value)));
    match text(&taint["effect"]) {
        "" => problems.push(Problem::required(format!("{path}.effect"), "")),
        _ => problems.extend(known(&taint["effect"], &format!("{path}.effect"), EFFECTS)),
    }
    problems
}

/// Names of requests, `request` or `request/alternative`, that the claim has.
pub(super) fn validate_references(list: &Value, path: &str, known: &RequestNames<'_>) -> Vec<Problem> {
    each(list, &format!("{path}.requests"), LIST_ITEMS_MAX, |name, path| validate_reference(text(name), path, known))
}

pub(super) fn validate_reference(name: &str, path: &str, known: &RequestNames<'_>) -> Vec<Problem> {
    const DETAIL: &str =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let segments: Vec<&str> = name.split('/').collect();
    let mut problems = Vec::new();
    if segments.len() <= 2 {
        problems.extend(segments.iter().flat_map(|segment| required_label(segment, path)));
    }
    let found = match segments.as_slice() {
        [request] => known.contains_key(request),
        [request, sub] => known.get(request).is_some_and(|subs| subs.contains(sub)),
        _ => false,
    };
    if !found {
        problems.push(Problem::invalid(path, name, DETAIL));
    }
    problems
}

fn validate_attribute(name: &str, path: &str) -> Vec<Problem> {
    match name.split_once('/') {
        _ if name.is_empty() => vec![Problem::required(path, "")],
        None => vec![Problem::invalid(path, name, "must include a domain")],
        Some((domain, _)) => invalid_each(path, domain, names::subdomain(domain)),
    }
}

/// `opaque`: the driver that understands the parameters, and these.
pub(super) fn validate_configuration(config: &Value, path: &str) -> Vec<Problem> {
    let opaque = &config["opaque"];
    if !is_set(opaque) {
        return vec![Problem::required(format!("{path}.opaque"), "")];
    }
    let mut problems = validate_driver(text(&opaque["driver"]), &format!("{path}.opaque.driver"));
    let field = format!("{path}.opaque.parameters");
    match &opaque["parameters"] {
        Value::Null => problems.push(Problem::required(field, "")),
        given if given.to_string().len() > PARAMETERS_BYTES_MAX => {
            problems.push(Problem::too_long(field, PARAMETERS_BYTES_MAX));
        }
        Value::Object(_) => {}
        _ => problems.push(Problem::invalid(field, "<value omitted>", "parameters must be a valid JSON object")),
    }
    problems
}
