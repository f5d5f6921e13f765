//! NetworkPolicy: who may talk with which pods.

use serde_json::{Value, json};

use super::json::{fill, is_empty, is_set, items, items_mut, present, set, text};
use super::problem::invalid_each;
use super::service_cidr::{Network, validate_cidr};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, WITH_SPEC, labels, metadata, names};

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const TYPES: [&str; 2] = ["Ingress", "Egress"];

pub static NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    schema: "io.k8s.api.networking.v1.NetworkPolicy",
    storage: "networking.k8s.io/networkpolicies",
    update: WITH_SPEC,
    defaults: |policy| {
        let Some(spec) = present(policy, "spec") else { return };
        for list in ["ingress", "egress"] {
            for rule in items_mut(spec, list) {
                items_mut(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
            }
        }
        if is_empty(&spec["policyTypes"]) {
            let types = if is_empty(&spec["egress"]) { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            set(spec, "policyTypes", types);
        }
    },
    validate,
    columns: &[NAME, string("Pod-Selector", "The pods to which this policy applies."), AGE],
    row: |policy, now| {
        let selector = labels::print_selector(&policy["spec"]["podSelector"]);
        vec![name(policy), selector.into(), age(policy, now)]
    },
    ..PLAIN
};

fn validate(policy: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(policy, Scope::Namespaced, names::subdomain);
    let spec = &policy["spec"];
    problems.extend(labels::validate_selector(&spec["podSelector"], "spec.podSelector"));
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&spec[list]).iter().enumerate() {
            let path = format!("spec.{list}[{index}]");
            for (index, port) in items(&rule["ports"]).iter().enumerate() {
                problems.extend(validate_port(port, &format!("{path}.ports[{index}]")));
            }
            for (index, peer) in items(&rule[peers]).iter().enumerate() {
                problems.extend(validate_peer(peer, &format!("{path}.{peers}[{index}]")));
            }
        }
    }
    let types = items(&spec["policyTypes"]);
    if types.len() > TYPES.len() {
        let detail = "may not specify more than two policyTypes";
        problems.push(Problem::invalid("spec.policyTypes", types.to_vec(), detail));
        return problems;
    }
    for (index, kind) in types.iter().map(text).enumerate().filter(|(_, kind)| !TYPES.contains(kind)) {
        problems.push(Problem::not_supported(format!("spec.policyTypes[{index}]"), kind, &TYPES));
    }
    problems
}

fn validate_port(port: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let protocol = text(&port["protocol"]);
    if is_set(&port["protocol"]) && !PROTOCOLS.contains(&protocol) {
        problems.push(Problem::not_supported(format!("{path}.protocol"), protocol, &PROTOCOLS));
    }
    let (at, end_at) = (format!("{path}.port"), format!("{path}.endPort"));
    let end = port["endPort"].as_i64();
    let number = |number: i64, path: &str| -> Vec<Problem> {
        names::port_number(number).iter().map(|message| Problem::invalid(path, number, message)).collect()
    };
    match &port["port"] {
        Value::Null => problems
            .extend(end.map(|end| Problem::invalid(end_at, end, "may not be specified when `port` is not specified"))),
        Value::String(name) => {
            problems.extend(
                end.map(|end| Problem::invalid(end_at, end, "may not be specified when `port` is non-numeric")),
            );
            problems.extend(invalid_each(&at, name, names::port(name)));
        }
        first => {
            let first = first.as_i64().unwrap_or(0);
            problems.extend(number(first, &at));
            if let Some(end) = end {
                if end < first {
                    let detail = "must be greater than or equal to `port`";
                    problems.push(Problem::invalid(end_at.clone(), first, detail));
                }
                problems.extend(number(end, &end_at));
            }
        }
    }
    problems
}

fn validate_peer(peer: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut peers = 0;
    for selector in ["podSelector", "namespaceSelector"].into_iter().filter(|field| is_set(&peer[*field])) {
        peers += 1;
        problems.extend(labels::validate_selector(&peer[selector], &format!("{path}.{selector}")));
    }
    let block = is_set(&peer["ipBlock"]);
    if block {
        problems.extend(validate_block(&peer["ipBlock"], &format!("{path}.ipBlock")));
    }
    match (peers, block) {
        (0, false) => problems.push(Problem::required(path, "must specify a peer")),
        (1.., true) => problems.push(Problem::forbidden(path, "may not specify both ipBlock and another peer")),
        _ => {}
    }
    problems
}

fn validate_block(block: &Value, path: &str) -> Vec<Problem> {
    let cidr = text(&block["cidr"]);
    if cidr.is_empty() {
        return vec![Problem::required(format!("{path}.cidr"), "")];
    }
    let Some(network) = Network::parse(cidr) else {
        return validate_cidr(cidr, &format!("{path}.cidr")).into_iter().collect();
    };
    let mut problems = Vec::new();
    for (index, except) in items(&block["except"]).iter().map(text).enumerate() {
        let path = format!("{path}.except[{index}]");
        match Network::parse(except) {
            None => problems.extend(validate_cidr(except, &path)),
            Some(inner) if network.holds(&inner) => {}
            Some(_) => problems.push(Problem::invalid(path, except, "must be a strict subset of `cidr`")),
        }
    }
    problems
}
