//! EndpointSlice: a part of a Service's addresses. Its older form is `endpoints.rs`.

use std::collections::HashSet;

use serde_json::Value;

use super::endpoints::first_few;
use super::json::{fill, fill_text, is_empty, items, items_mut, text};
use super::pod_spec::{one_of, validate_ip};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, descriptions, metadata, names};

const ENDPOINTS_MAX: usize = 1_000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;

pub static ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    storage: "discovery.k8s.io/endpointslices",
    defaults: |slice| {
        for port in items_mut(slice, "ports") {
            fill(port, "name", "");
            fill_text(port, "protocol", "TCP");
        }
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("addressType", &new["addressType"], &old["addressType"]));
        problems
    },
    columns: &[
        NAME,
        string("AddressType", descriptions::SLICE_ADDRESS_TYPE),
        string("Ports", descriptions::SLICE_PORTS),
        string("Endpoints", descriptions::SLICE_ENDPOINTS),
        AGE,
    ],
    row: |slice, now| {
        let port = |port: &Value| port["port"].as_i64().map_or("*".to_owned(), |number| number.to_string());
        let ports: Vec<String> = items(&slice["ports"]).iter().map(port).collect();
        let endpoints = items(&slice["endpoints"]).iter();
        let addresses: Vec<String> =
            endpoints.flat_map(|one| items(&one["addresses"])).map(|ip| text(ip).to_owned()).collect();
        vec![
            name(slice),
            slice["addressType"].clone(),
            first_few(&ports, "<unset>").into(),
            first_few(&addresses, "<unset>").into(),
            age(slice, now),
        ]
    },
    ..PLAIN
};

fn validate(slice: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(slice, Scope::Namespaced, names::subdomain);
    problems.extend(one_of(&slice["addressType"], "addressType", &["FQDN", "IPv4", "IPv6"]));
    let endpoints = items(&slice["endpoints"]);
    if endpoints.len() > ENDPOINTS_MAX {
        problems.push(Problem::too_many("endpoints", endpoints.len(), ENDPOINTS_MAX));
        return problems;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        let addresses = items(&endpoint["addresses"]);
        match addresses.len() {
            0 => problems.push(Problem::required(path.clone(), "must contain at least 1 address")),
            many if many > ADDRESSES_MAX => problems.push(Problem::too_many(path.clone(), many, ADDRESSES_MAX)),
            _ => {}
        }
        for (position, address) in addresses.iter().enumerate() {
            let path = format!("{path}[{position}]");
            problems.extend(validate_address(text(&slice["addressType"]), text(address), &path));
        }
    }
    problems.extend(validate_ports(items(&slice["ports"])));
    problems
}

fn validate_address(kind: &str, address: &str, path: &str) -> Vec<Problem> {
    let parsed = address.parse::<std::net::IpAddr>();
    match (kind, parsed) {
        ("IPv4", Ok(ip)) if !ip.is_ipv4() => vec![Problem::invalid(path, address, "must be an IPv4 address")],
        ("IPv6", Ok(ip)) if !ip.is_ipv6() => vec![Problem::invalid(path, address, "must be an IPv6 address")],
        ("IPv4" | "IPv6", _) => validate_ip(address, path),
        ("FQDN", _) => invalid_each(path, address, names::subdomain(address)),
        _ => Vec::new(),
    }
}

fn validate_ports(ports: &[Value]) -> Vec<Problem> {
    if ports.len() > PORTS_MAX {
        return vec![Problem::too_many("ports", ports.len(), PORTS_MAX)];
    }
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("ports[{index}]");
        let name = text(&port["name"]);
        if !is_empty(&port["name"]) {
            problems.extend(invalid_each(&format!("{path}.name"), name, names::label(name)));
        }
        if !seen.insert(name) {
            problems.push(Problem::duplicate(format!("{path}.name"), name));
        }
        problems.extend(one_of(&port["protocol"], &format!("{path}.protocol"), &["SCTP", "TCP", "UDP"]));
    }
    problems
}
