//! The rules of probes and lifecycle hooks: each has exactly one handler.

use serde_json::Value;

use super::one_of;
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const PROBE_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];
const COUNTS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// Lifecycle and the three probes of a container that runs on.
pub fn validate_hooks(container: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for hook in ["postStart", "preStop"] {
        if is_set(&container["lifecycle"][hook]) {
            let path = format!("{path}.lifecycle.{hook}");
            problems.extend(validate_handler(&container["lifecycle"][hook], HOOK_HANDLERS, &path));
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[field];
        if !is_set(probe) {
            continue;
        }
        let path = format!("{path}.{field}");
        problems.extend(validate_probe(probe, &path));
        if field != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
            let value = probe["successThreshold"].clone();
            problems.push(Problem::invalid(format!("{path}.successThreshold"), value, "must be 1"));
        }
        if field == "readinessProbe" && is_set(&probe["terminationGracePeriodSeconds"]) {
            let value = probe["terminationGracePeriodSeconds"].clone();
            let detail = "must not be set for readinessProbes";
            problems.push(Problem::invalid(format!("{path}.terminationGracePeriodSeconds"), value, detail));
        }
    }
    problems
}

fn validate_probe(probe: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate_handler(probe, PROBE_HANDLERS, path);
    for field in COUNTS {
        if let Some(count) = probe[field].as_i64().filter(|count| *count < 0) {
            problems.push(Problem::invalid(format!("{path}.{field}"), count, "must be greater than or equal to 0"));
        }
    }
    if let Some(seconds) = probe["terminationGracePeriodSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        problems.push(Problem::invalid(
            format!("{path}.terminationGracePeriodSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
    problems
}

fn validate_handler(handler: &Value, kinds: &[&str], path: &str) -> Vec<Problem> {
    let given: Vec<&&str> = kinds.iter().filter(|kind| is_set(&handler[**kind])).collect();
    let mut problems = Vec::new();
    if given.is_empty() {
        problems.push(Problem::required(path, "must specify a handler type"));
    }
    for (index, kind) in given.iter().enumerate() {
        let (value, path) = (&handler[**kind], format!("{path}.{kind}"));
        if index > 0 {
            problems.push(Problem::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        problems.extend(match **kind {
            "exec" if is_empty(&value["command"]) => vec![Problem::required(format!("{path}.command"), "")],
            "httpGet" => validate_http(value, &path),
            "tcpSocket" => validate_port(&value["port"], &format!("{path}.port")),
            "grpc" => validate_port(&value["port"], &format!("{path}.port")),
            _ => Vec::new(),
        });
    }
    problems
}

fn validate_http(get: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_empty(&get["path"]) {
        problems.push(Problem::required(format!("{path}.path"), ""));
    }
    problems.extend(validate_port(&get["port"], &format!("{path}.port")));
    problems.extend(one_of(&get["scheme"], &format!("{path}.scheme"), &["HTTP", "HTTPS"]));
    for header in items(&get["httpHeaders"]) {
        let name = text(&header["name"]);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                regex used for validation is '[-A-Za-z0-9]+')";
            problems.push(Problem::invalid(format!("{path}.httpHeaders"), name, detail));
        }
    }
    problems
}

/// A port by number or name.
pub fn validate_port(port: &Value, path: &str) -> Vec<Problem> {
    if let Some(name) = port.as_str() {
        return invalid_each(path, name, names::port(name));
    }
    let number = port.as_i64().unwrap_or(0);
    names::port_number(number).iter().map(|message| Problem::invalid(path, number, message)).collect()
}
