//! Pod specs, alone in Pods and inside the templates of ReplicaSets and Deployments: defaults in
//! `pod_spec/defaults.rs`, the rules here and in its neighbours.

mod containers;
mod defaults;
mod env;
mod handlers;
mod resources;
mod scheduling;
mod sysctls;
mod volumes;

pub use defaults::{fill_pod, fill_spec, pull_policy};
pub use resources::{qos_class, totals};
pub use scheduling::validate_tolerations;

use serde_json::Value;

use super::json::{is_empty, is_set, items, text};
use super::problem::invalid_each;
use super::{Problem, labels, metadata, names};

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const NAMESERVERS_MAX: usize = 3;

/// Problems of a pod spec at `path` (`spec`, `spec.template.spec`).
pub fn validate(spec: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = volumes::validate(&spec["volumes"], &at("volumes"));
    problems.extend(containers::validate(spec, path));
    problems.extend(one_of(&spec["restartPolicy"], &at("restartPolicy"), &RESTART_POLICIES));
    problems.extend(one_of(&spec["dnsPolicy"], &at("dnsPolicy"), &DNS_POLICIES));
    problems.extend(labels::validate(&spec["nodeSelector"], &at("nodeSelector")));
    problems.extend(validate_security(&spec["securityContext"], &at("securityContext")));
    for (index, secret) in items(&spec["imagePullSecrets"]).iter().enumerate() {
        if is_empty(&secret["name"]) {
            problems.push(Problem::required(at(&format!("imagePullSecrets[{index}].name")), ""));
        }
    }
    problems.extend(scheduling::validate(spec, path));
    problems.extend(validate_dns(spec, &at("dnsConfig")));
    problems.extend(validate_names(spec, path));
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        for message in names::between(seconds, 1, i64::from(i32::MAX)) {
            problems.push(Problem::invalid(at("activeDeadlineSeconds"), seconds, &message));
        }
    }
    problems.extend(validate_host_aliases(&spec["hostAliases"], &at("hostAliases")));
    problems
}

/// Problems of a pod template at `path`.
pub fn validate_template(template: &Value, path: &str) -> Vec<Problem> {
    let mut problems = labels::validate(&template["metadata"]["labels"], &format!("{path}.labels"));
    problems
        .extend(metadata::validate_annotations(&template["metadata"]["annotations"], &format!("{path}.annotations")));
    problems.extend(validate(&template["spec"], &format!("{path}.spec")));
    problems
}

/// What a selector-carrying controller (ReplicaSet, Deployment) asks of its template.
pub fn validate_selected_template(spec: &Value, path: &str) -> Vec<Problem> {
    let template = &spec["template"];
    if !is_set(template) {
        return vec![Problem::required(path, "")];
    }
    let mut problems: Vec<Problem> = validate_selected(spec, path).into_iter().collect();
    problems.extend(validate_template(template, path));
    problems.extend(validate_lasting(template, path, "ReplicaSet"));
    problems
}

/// The selector picks the pods that the template makes.
pub fn validate_selected(spec: &Value, path: &str) -> Option<Problem> {
    let labels = &spec["template"]["metadata"]["labels"];
    if is_empty(&spec["selector"]) || labels::matches(&spec["selector"], labels) {
        return None;
    }
    let shown = if is_set(labels) { labels.clone() } else { serde_json::json!({}) };
    let detail = "`selector` does not match template `labels`";
    Some(Problem::invalid(format!("{path}.metadata.labels"), shown, detail))
}

/// Pods of a `kind` that keeps them up restart always and have no deadline.
pub fn validate_lasting(template: &Value, path: &str, kind: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let policy = text(&template["spec"]["restartPolicy"]);
    if policy != "Always" {
        problems.push(Problem::not_supported(format!("{path}.spec.restartPolicy"), policy, &["Always"]));
    }
    if is_set(&template["spec"]["activeDeadlineSeconds"]) {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        problems.push(Problem::forbidden(format!("{path}.spec.activeDeadlineSeconds"), &detail));
    }
    problems
}

/// A required enumeration.
pub(super) fn one_of(value: &Value, path: &str, supported: &[&str]) -> Vec<Problem> {
    match text(value) {
        "" => vec![Problem::required(path, "")],
        known if supported.contains(&known) => Vec::new(),
        other => vec![Problem::not_supported(path, other, supported)],
    }
}

fn validate_names(spec: &Value, path: &str) -> Vec<Problem> {
    let table: [(&str, names::Rule); 6] = [
        ("serviceAccountName", names::subdomain),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
        ("runtimeClassName", names::subdomain),
    ];
    let given = table.into_iter().filter(|(field, _)| !is_empty(&spec[*field]));
    given
        .flat_map(|(field, rule)| {
            let name = text(&spec[field]);
            invalid_each(&format!("{path}.{field}"), name, rule(name))
        })
        .collect()
}

fn validate_security(context: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = context[field].as_i64() {
            for message in names::between(id, 0, i64::from(i32::MAX)) {
                problems.push(Problem::invalid(format!("{path}.{field}"), id, &message));
            }
        }
    }
    problems.extend(sysctls::validate(&context["sysctls"], &format!("{path}.sysctls")));
    problems
}

fn validate_dns(spec: &Value, path: &str) -> Vec<Problem> {
    let servers = items(&spec["dnsConfig"]["nameservers"]);
    let mut problems = Vec::new();
    if text(&spec["dnsPolicy"]) == "None" && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        let field = if is_set(&spec["dnsConfig"]) { format!("{path}.nameservers") } else { path.to_owned() };
        problems.push(Problem::required(field, detail));
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        problems.push(Problem::invalid(format!("{path}.nameservers"), servers.to_vec(), &detail));
    }
    for (index, server) in servers.iter().enumerate() {
        problems.extend(validate_ip(text(server), &format!("{path}.nameservers[{index}]")));
    }
    problems
}

fn validate_host_aliases(aliases: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, alias) in items(aliases).iter().enumerate() {
        problems.extend(validate_ip(text(&alias["ip"]), &format!("{path}[{index}].ip")));
        for (position, name) in items(&alias["hostnames"]).iter().enumerate() {
            let field = format!("{path}[{index}].hostnames[{position}]");
            problems.extend(invalid_each(&field, text(name), names::subdomain(text(name))));
        }
    }
    problems
}

pub(super) fn validate_ip(address: &str, path: &str) -> Vec<Problem> {
    match address.parse::<std::net::IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => {
            vec![Problem::invalid(path, address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
        }
    }
}
