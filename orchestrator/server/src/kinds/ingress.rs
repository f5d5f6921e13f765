//! Ingress: which service answers for a host and a path.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::json::{child, is_empty, is_set, items, set, text};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, keep_status, metadata, names};

pub(super) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const HOSTS_MAX: usize = 3;
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const WRONG_PARTS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const WRONG_ENDS: [&str; 2] = ["/..", "/."];

pub static INGRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[STATUS],
    schema: "io.k8s.api.networking.v1.Ingress",
    storage: "networking.k8s.io/ingresses",
    update: WITH_SPEC,
    defaults: |ingress| {
        child(ingress, "status");
    },
    prepare_create: |ingress| set(ingress, "status", json!({ "loadBalancer": {} })),
    prepare_update: keep_status,
    validate,
    columns: &[
        NAME,
        string("Class", "The name of the IngressClass resource that should be used for additional configuration"),
        string("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
        string("Address", "Address is a list containing ingress points for the load-balancer"),
        string("Ports", "Ports of TLS configurations that open"),
        AGE,
    ],
    row: |ingress, now| {
        let spec = &ingress["spec"];
        vec![
            name(ingress),
            spec["ingressClassName"].as_str().unwrap_or("<none>").into(),
            hosts(items(&spec["rules"])).into(),
            addresses(&ingress["status"]["loadBalancer"]).into(),
            if is_empty(&spec["tls"]) { "80".into() } else { "80, 443".into() },
            age(ingress, now),
        ]
    },
    ..PLAIN
};

fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|rule| text(&rule["host"])).filter(|host| !host.is_empty()).collect();
    match named.len() {
        0 => "*".to_owned(),
        many if many > HOSTS_MAX => format!("{} + {} more...", named[..HOSTS_MAX].join(","), rules.len() - HOSTS_MAX),
        _ => named.join(","),
    }
}

fn addresses(balancer: &Value) -> String {
    let address = |point: &'_ Value| match text(&point["ip"]) {
        "" => text(&point["hostname"]).to_owned(),
        ip => ip.to_owned(),
    };
    let found: BTreeSet<String> = items(&balancer["ingress"]).iter().map(address).filter(|a| !a.is_empty()).collect();
    found.into_iter().collect::<Vec<_>>().join(",")
}

fn validate(ingress: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(ingress, Scope::Namespaced, names::subdomain);
    let spec = &ingress["spec"];
    let rules = items(&spec["rules"]);
    if rules.is_empty() && !is_set(&spec["defaultBackend"]) {
        let detail = "either `defaultBackend` or `rules` must be specified";
        problems.push(Problem::invalid("spec", spec["rules"].clone(), detail));
    }
    if is_set(&spec["defaultBackend"]) {
        problems.extend(validate_backend(&spec["defaultBackend"], "spec.defaultBackend"));
    }
    for (index, rule) in rules.iter().enumerate() {
        problems.extend(validate_rule(rule, &format!("spec.rules[{index}]")));
    }
    for (index, tls) in items(&spec["tls"]).iter().enumerate() {
        problems.extend(validate_tls(tls, &format!("spec.tls[{index}]")));
    }
    if let Some(class) = spec["ingressClassName"].as_str() {
        problems.extend(invalid_each("spec.ingressClassName", class, names::subdomain(class)));
        let old = &ingress["metadata"]["annotations"][CLASS_ANNOTATION];
        if is_set(old) && old != class {
            let path = format!("annotations.{CLASS_ANNOTATION}");
            let detail = "must match `ingressClassName` when both are specified";
            problems.push(Problem::invalid(path, old.clone(), detail));
        }
    }
    for (index, point) in items(&ingress["status"]["loadBalancer"]["ingress"]).iter().enumerate() {
        problems.extend(validate_point(point, &format!("status.loadBalancer.ingress[{index}]")));
    }
    problems
}

fn validate_point(point: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_empty(&point["ip"]) {
        problems.extend(super::pod_spec::validate_ip(text(&point["ip"]), &format!("{path}.ip")));
    }
    if !is_empty(&point["hostname"]) {
        problems.extend(validate_host(text(&point["hostname"]), &format!("{path}.hostname"), names::subdomain));
    }
    problems
}

fn validate_host(host: &str, path: &str, rule: names::Rule) -> Vec<Problem> {
    let mut problems = Vec::new();
    if host.parse::<std::net::IpAddr>().is_ok() {
        problems.push(Problem::invalid(path, host, "must be a DNS name, not an IP address"));
    }
    problems.extend(invalid_each(path, host, rule(host)));
    problems
}

fn rule_of(host: &str) -> names::Rule {
    if host.contains('*') { names::wildcard } else { names::subdomain }
}

fn validate_tls(tls: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, host) in items(&tls["hosts"]).iter().map(text).enumerate() {
        problems.extend(invalid_each(&format!("{path}.hosts[{index}]"), host, rule_of(host)(host)));
    }
    let secret = text(&tls["secretName"]);
    if !secret.is_empty() {
        problems.extend(invalid_each(&format!("{path}.secretName"), secret, names::subdomain(secret)));
    }
    problems
}

fn validate_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let host = text(&rule["host"]);
    if !host.is_empty() {
        problems.extend(validate_host(host, &format!("{path}.host"), rule_of(host)));
    }
    if !is_set(&rule["http"]) {
        return problems;
    }
    let (paths, path) = (items(&rule["http"]["paths"]), format!("{path}.http.paths"));
    if paths.is_empty() {
        problems.push(Problem::required(path.clone(), ""));
    }
    for (index, one) in paths.iter().enumerate() {
        problems.extend(validate_path(one, &format!("{path}[{index}]")));
    }
    problems
}

fn validate_path(path: &Value, at: &str) -> Vec<Problem> {
    let Some(kind) = path["pathType"].as_str() else {
        return vec![Problem::required(format!("{at}.pathType"), "pathType must be specified")];
    };
    let (given, field) = (text(&path["path"]), format!("{at}.path"));
    let mut problems = Vec::new();
    let mut wrong = |detail: &str| problems.push(Problem::invalid(field.clone(), given, detail));
    match kind {
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                wrong("must be an absolute path");
            }
            for part in WRONG_PARTS.iter().filter(|part| given.contains(**part)) {
                wrong(&format!("must not contain '{part}'"));
            }
            for end in WRONG_ENDS.iter().filter(|end| given.ends_with(**end)) {
                wrong(&format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if !given.is_empty() && !given.starts_with('/') => wrong("must be an absolute path"),
        "ImplementationSpecific" => {}
        other => problems.push(Problem::not_supported(format!("{at}.pathType"), other, &PATH_TYPES)),
    }
    problems.extend(validate_backend(&path["backend"], &format!("{at}.backend")));
    problems
}

fn validate_backend(backend: &Value, path: &str) -> Vec<Problem> {
    match (is_set(&backend["resource"]), is_set(&backend["service"])) {
        (true, true) => vec![Problem::invalid(path, "", "cannot set both resource and service backends")],
        (true, false) => validate_reference(&backend["resource"], &format!("{path}.resource")),
        (false, true) => validate_service(&backend["service"], path),
        (false, false) => vec![Problem::invalid(path, "", "resource or service backend is required")],
    }
}

fn validate_service(service: &Value, path: &str) -> Vec<Problem> {
    let mut problems = match text(&service["name"]) {
        "" => vec![Problem::required(format!("{path}.service.name"), "")],
        name => invalid_each(&format!("{path}.service.name"), name, names::dns_1035(name)),
    };
    let (name, number) = (text(&service["port"]["name"]), service["port"]["number"].as_i64().unwrap_or(0));
    match (name, number) {
        ("", 0) => problems.push(Problem::required(path, "port name or number is required")),
        ("", number) => {
            let path = format!("{path}.service.port.number");
            let complaints = names::port_number(number);
            problems.extend(complaints.iter().map(|message| Problem::invalid(path.clone(), number, message)));
        }
        (name, 0) => problems.extend(invalid_each(&format!("{path}.service.port.name"), name, names::port(name))),
        _ => problems.push(Problem::invalid(path, "", "cannot set both port name & port number")),
    }
    problems
}

/// A typed reference to something beside: group, kind and name.
pub(super) fn validate_reference(reference: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(group) = reference["apiGroup"].as_str() {
        problems.extend(invalid_each(&format!("{path}.apiGroup"), group, names::subdomain(group)));
    }
    for field in ["kind", "name"] {
        let field_path = format!("{path}.{field}");
        match text(&reference[field]) {
            "" => problems.push(Problem::required(field_path, &format!("{field} is required"))),
            value => problems.extend(invalid_each(&field_path, value, names::path_segment(value))),
        }
    }
    problems
}
