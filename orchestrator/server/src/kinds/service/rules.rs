//! The rules of Services.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{has_cluster_ip, is_external};
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::pod_spec::{one_of, validate_ip};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, Scope, labels, metadata, names};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const POLICIES: [&str; 2] = ["Cluster", "Local"];
const AFFINITY_SECONDS_MAX: i64 = 86_400;

pub fn validate(service: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(service, Scope::Namespaced, names::dns_1035);
    let spec = &service["spec"];
    let kind = text(&spec["type"]);
    let headless = text(&spec["clusterIP"]) == "None";
    if is_empty(&spec["ports"]) && !headless && kind != "ExternalName" {
        problems.push(Problem::required("spec.ports", ""));
    }
    problems.extend(validate_type(spec, kind, headless));
    problems.extend(validate_ports(spec, kind));
    problems.extend(labels::validate(&spec["selector"], "spec.selector"));
    problems.extend(validate_affinity(spec));
    problems.extend(validate_addresses(spec));
    problems.extend(one_of(&spec["type"], "spec.type", &TYPES));
    problems.extend(validate_policies(spec));
    problems
}

pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    if has_cluster_ip(spec) && has_cluster_ip(before) && !is_empty(&before["clusterIP"]) {
        let addresses = || if is_set(&spec["clusterIPs"]) { spec["clusterIPs"].clone() } else { json!([]) };
        if is_empty(&spec["clusterIP"]) {
            let detail = "primary clusterIP can not be unset";
            problems.push(Problem::invalid("spec.clusterIPs[0]", addresses(), detail));
        } else if spec["clusterIP"] != before["clusterIP"] {
            problems.push(Problem::invalid("spec.clusterIPs[0]", addresses(), "may not change once set"));
        }
    }
    problems
}

fn validate_type(spec: &Value, kind: &str, headless: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    match kind {
        "NodePort" | "LoadBalancer" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            problems.push(Problem::invalid("spec.clusterIPs[0]", "None", &detail));
        }
        "ExternalName" => {
            if !is_empty(&spec["clusterIPs"]) || !is_empty(&spec["clusterIP"]) {
                problems.push(Problem::forbidden("spec.clusterIPs", "may not be set for ExternalName services"));
            }
            let name = text(&spec["externalName"]).trim_end_matches('.');
            if name.is_empty() {
                problems.push(Problem::required("spec.externalName", ""));
            } else {
                problems.extend(invalid_each("spec.externalName", name, names::subdomain(name)));
            }
        }
        _ => {}
    }
    problems
}

fn validate_ports(spec: &Value, kind: &str) -> Vec<Problem> {
    let ports = items(&spec["ports"]);
    let (mut seen_names, mut seen_ports, mut seen_node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut problems = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        match text(&port["name"]) {
            "" if ports.len() > 1 => problems.push(Problem::required(format!("{path}.name"), "")),
            "" => {}
            name => {
                problems.extend(invalid_each(&format!("{path}.name"), name, names::label(name)));
                if !seen_names.insert(name) {
                    problems.push(Problem::duplicate(format!("{path}.name"), name));
                }
            }
        }
        problems.extend(validate_port(port, &path));
        let protocol = text(&port["protocol"]);
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && kind == "ClusterIP" {
            let detail = "may not be used when `type` is 'ClusterIP'";
            problems.push(Problem::forbidden(format!("{path}.nodePort"), detail));
        }
        if node_port != 0 && !seen_node_ports.insert((protocol, node_port)) {
            problems.push(Problem::duplicate(format!("{path}.nodePort"), node_port));
        }
        if !seen_ports.insert((protocol, port["port"].as_i64())) {
            problems.push(Problem::duplicate(path, json!({ "port": port["port"], "protocol": protocol })));
        }
    }
    problems
}

fn validate_port(port: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let number = port["port"].as_i64().unwrap_or(0);
    let complaints = names::port_number(number);
    problems.extend(complaints.iter().map(|message| Problem::invalid(format!("{path}.port"), number, message)));
    problems.extend(one_of(&port["protocol"], &format!("{path}.protocol"), &PROTOCOLS));
    let target = format!("{path}.targetPort");
    match &port["targetPort"] {
        Value::String(name) => problems.extend(invalid_each(&target, name, names::port(name))),
        value => {
            let number = value.as_i64().unwrap_or(0);
            let complaints = names::port_number(number);
            problems.extend(complaints.iter().map(|message| Problem::invalid(target.clone(), number, message)));
        }
    }
    problems
}

fn validate_affinity(spec: &Value) -> Vec<Problem> {
    let mut problems = one_of(&spec["sessionAffinity"], "spec.sessionAffinity", &["ClientIP", "None"]);
    let config = &spec["sessionAffinityConfig"];
    let path = "spec.sessionAffinityConfig";
    match text(&spec["sessionAffinity"]) {
        "ClientIP" => {
            let seconds = config["clientIP"]["timeoutSeconds"].as_i64().unwrap_or(0);
            if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                problems.push(Problem::invalid(format!("{path}.clientIP.timeoutSeconds"), seconds, &detail));
            }
        }
        "None" if is_set(config) => {
            problems.push(Problem::forbidden(path, "must not be set when session affinity is None"));
        }
        _ => {}
    }
    problems
}

fn validate_addresses(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let addresses = items(&spec["clusterIPs"]);
    if let Some(first) = addresses.first()
        && first != &spec["clusterIP"]
    {
        let detail = "first value must match `clusterIP`";
        problems.push(Problem::invalid("spec.clusterIPs", addresses.to_vec(), detail));
    }
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| *address != "None") {
        problems.extend(validate_ip(text(address), &format!("spec.clusterIPs[{index}]")));
    }
    for (index, address) in items(&spec["externalIPs"]).iter().enumerate() {
        problems.extend(validate_ip(text(address), &format!("spec.externalIPs[{index}]")));
    }
    problems
}

fn validate_policies(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let outer = text(&spec["externalTrafficPolicy"]);
    if !is_external(spec) && !outer.is_empty() {
        let detail = "may only be set for externally-accessible services";
        problems.push(Problem::invalid("spec.externalTrafficPolicy", outer, detail));
    } else if is_external(spec) {
        problems.extend(one_of(&spec["externalTrafficPolicy"], "spec.externalTrafficPolicy", &POLICIES));
    }
    if has_cluster_ip(spec) {
        problems.extend(one_of(&spec["internalTrafficPolicy"], "spec.internalTrafficPolicy", &POLICIES));
    }
    problems
}
