//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration: who outside is asked about a write.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::json::{fill, fill_text, is_empty, is_set, items, items_mut, present, text};
use super::match_rules::{
    FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, default_rules, known, validate_conditions, validate_rule,
};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, integer, name};
use super::{Column, Kind, PLAIN, Problem, Scope, UpdateRules, labels, metadata, names};

const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// Any change but to metadata is a new generation; who replaces one must have read it.
pub(super) const GUARDED: UpdateRules = UpdateRules { unconditional: false, creates: false, generation: true };

const COLUMNS: &[Column] =
    &[NAME, integer("Webhooks", "Webhooks indicates the number of webhooks defined in this configuration"), AGE];

pub static MUTATING: Kind = Kind {
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    schema: "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    storage: "admissionregistration.k8s.io/mutatingwebhookconfigurations",
    defaults: |configuration| {
        default_webhooks(configuration);
        items_mut(configuration, "webhooks").for_each(|hook| fill(hook, "reinvocationPolicy", "Never"));
    },
    ..CONFIGURATION
};

pub static VALIDATING: Kind = Kind {
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    schema: "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    storage: "admissionregistration.k8s.io/validatingwebhookconfigurations",
    defaults: default_webhooks,
    ..CONFIGURATION
};

const CONFIGURATION: Kind = Kind {
    group: "admissionregistration.k8s.io",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    update: GUARDED,
    validate,
    columns: COLUMNS,
    row: |configuration, now| {
        vec![name(configuration), items(&configuration["webhooks"]).len().into(), age(configuration, now)]
    },
    ..PLAIN
};

fn default_webhooks(configuration: &mut Value) {
    for hook in items_mut(configuration, "webhooks") {
        fill_text(hook, "failurePolicy", "Fail");
        fill_text(hook, "matchPolicy", "Equivalent");
        fill(hook, "namespaceSelector", json!({}));
        fill(hook, "objectSelector", json!({}));
        fill(hook, "timeoutSeconds", 10);
        default_rules(hook, "rules");
        if let Some(service) = present(hook, "clientConfig").and_then(|client| present(client, "service")) {
            fill(service, "port", 443);
        }
    }
}

fn validate(configuration: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_plain(configuration, Scope::Cluster, names::subdomain);
    let mut seen = HashSet::new();
    for (index, hook) in items(&configuration["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{index}]");
        problems.extend(validate_webhook(hook, &path));
        problems
            .extend(validate_versions(&hook["admissionReviewVersions"], &format!("{path}.admissionReviewVersions")));
        let name = text(&hook["name"]);
        if !name.is_empty() && !seen.insert(name) {
            problems.push(Problem::duplicate(format!("{path}.name"), name));
        }
    }
    problems
}

fn validate_webhook(hook: &Value, path: &str) -> Vec<Problem> {
    let mut problems = qualified_domain(text(&hook["name"]), &format!("{path}.name"));
    for (index, rule) in items(&hook["rules"]).iter().enumerate() {
        problems.extend(validate_rule(rule, &format!("{path}.rules[{index}]")));
    }
    problems.extend(known(&hook["failurePolicy"], &format!("{path}.failurePolicy"), FAILURE_POLICIES));
    problems.extend(known(&hook["matchPolicy"], &format!("{path}.matchPolicy"), MATCH_POLICIES));
    match is_set(&hook["sideEffects"]) {
        true => problems.extend(known(&hook["sideEffects"], &format!("{path}.sideEffects"), SIDE_EFFECTS)),
        false => {
            let detail = "must specify one of None, NoneOnDryRun";
            problems.push(Problem::required(format!("{path}.sideEffects"), detail));
        }
    }
    if let Some(seconds) = hook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        problems.push(Problem::invalid(format!("{path}.timeoutSeconds"), seconds, detail));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        problems.extend(labels::validate_selector(&hook[selector], &format!("{path}.{selector}")));
    }
    problems.extend(known(&hook["reinvocationPolicy"], &format!("{path}.reinvocationPolicy"), REINVOCATION_POLICIES));
    problems.extend(validate_client(&hook["clientConfig"], &format!("{path}.clientConfig")));
    problems.extend(validate_conditions(
        &hook["matchConditions"],
        &format!("{path}.matchConditions"),
        &crate::admission::condition_variables(),
    ));
    problems
}

/// A name of at least three parts: `hook.example.com`.
fn qualified_domain(name: &str, path: &str) -> Vec<Problem> {
    if name.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let complaints = names::subdomain(name);
    if !complaints.is_empty() {
        return vec![Problem::invalid(path, name, &complaints.join(","))];
    }
    if name.split('.').count() < 3 {
        return vec![Problem::invalid(path, name, "should be a domain with at least three segments separated by dots")];
    }
    Vec::new()
}

pub(super) fn validate_client(client: &Value, path: &str) -> Vec<Problem> {
    let service = &client["service"];
    match (client["url"].as_str(), is_set(service)) {
        (Some(url), false) => validate_url(url, &format!("{path}.url")),
        (None, true) => validate_service(service, &format!("{path}.service")),
        _ => vec![Problem::required(path, "exactly one of url or service is required")],
    }
}

fn validate_url(url: &str, path: &str) -> Vec<Problem> {
    const FORM: &str = "; desired format: https://host[/path]";
    let Ok(parsed) = url.parse::<http::Uri>() else {
        return vec![Problem::required(
            path,
            &format!("url must be a valid URL: parse \"{url}\": invalid URI for request{FORM}"),
        )];
    };
    let mut problems = Vec::new();
    let scheme = parsed.scheme_str().unwrap_or_default();
    let mut refuse =
        |value: &str, detail: &str| problems.push(Problem::invalid(path, value, &format!("{detail}{FORM}")));
    if scheme != "https" {
        refuse(scheme, "'https' is the only allowed URL scheme");
    }
    if parsed.host().unwrap_or_default().is_empty() {
        refuse(parsed.host().unwrap_or_default(), "host must be specified");
    }
    if let Some((user, _)) = parsed.authority().and_then(|authority| authority.as_str().split_once('@')) {
        refuse(user, "user information is not permitted in the URL");
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL");
    }
    if let Some((_, query)) = rest.split_once('?').filter(|(_, query)| !query.is_empty()) {
        refuse(query, "query parameters are not permitted in the URL");
    }
    problems
}

fn validate_service(service: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (field, detail) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if is_empty(&service[field]) {
            problems.push(Problem::required(format!("{path}.{field}"), detail));
        }
    }
    if let Some(port) = service["port"].as_i64() {
        let complaints = names::port_number(port);
        if !complaints.is_empty() {
            let detail = format!("port is not valid: {}", complaints.join(","));
            problems.push(Problem::invalid(format!("{path}.port"), port, &detail));
        }
    }
    if let Some(request) = service["path"].as_str() {
        problems.extend(validate_request_path(request, &format!("{path}.path")));
    }
    problems
}

fn validate_request_path(request: &str, path: &str) -> Vec<Problem> {
    if request.is_empty() || request == "/" {
        return Vec::new();
    }
    if request == "//" {
        return vec![Problem::invalid(path, request, "segment[0] may not be empty")];
    }
    let mut problems = Vec::new();
    if !request.starts_with('/') {
        problems.push(Problem::invalid(path, request, "must start with a '/'"));
    }
    let inner = request.strip_prefix('/').unwrap_or(request);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for (index, segment) in inner.split('/').enumerate() {
        if segment.is_empty() {
            problems.push(Problem::invalid(path, request, &format!("segment[{index}] may not be empty")));
            continue;
        }
        for complaint in names::subdomain(segment) {
            problems.push(Problem::invalid(path, request, &format!("segment[{index}]: {complaint}")));
        }
    }
    problems
}

fn validate_versions(versions: &Value, path: &str) -> Vec<Problem> {
    let list: Vec<&str> = items(versions).iter().map(text).collect();
    if list.is_empty() {
        return vec![Problem::required(path, "must specify one of v1, v1beta1")];
    }
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (index, version) in list.iter().enumerate() {
        let field = format!("{path}[{index}]");
        if !seen.insert(*version) {
            problems.push(Problem::invalid(field, *version, "duplicate version"));
            continue;
        }
        problems.extend(invalid_each(&field, version, names::dns_1035(version)));
    }
    if !list.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        problems.push(Problem::invalid(path, versions.clone(), "must include at least one of v1, v1beta1"));
    }
    problems
}
