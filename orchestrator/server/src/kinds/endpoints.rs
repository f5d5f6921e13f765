//! Endpoints, the older form of `endpoint_slice.rs`.

use serde_json::Value;

use super::json::{fill_text, is_empty, items, items_mut, text};
use super::pod_spec::validate_ip;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, descriptions, metadata, names};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const SHOWN_MAX: usize = 3;

pub static ENDPOINTS: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    schema: "io.k8s.api.core.v1.Endpoints",
    storage: "endpoints",
    update: UpdateRules { unconditional: true, creates: true, generation: false },
    defaults: |endpoints| {
        for subset in items_mut(endpoints, "subsets") {
            items_mut(subset, "ports").for_each(|port| fill_text(port, "protocol", "TCP"));
        }
    },
    validate,
    columns: &[NAME, string("Endpoints", descriptions::ENDPOINTS_SUBSETS), AGE],
    row: |endpoints, now| {
        let mut found = Vec::new();
        for subset in items(&endpoints["subsets"]) {
            let addresses = || items(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
            if is_empty(&subset["ports"]) {
                found.extend(addresses().map(str::to_owned));
            }
            for port in items(&subset["ports"]) {
                found.extend(addresses().map(|ip| join_host_port(ip, &port["port"])));
            }
        }
        vec![name(endpoints), first_few(&found, "<none>").into(), age(endpoints, now)]
    },
    ..PLAIN
};

/// The first three, and how many more.
pub(super) fn first_few(found: &[String], none: &str) -> String {
    match found.len() {
        0 => none.to_owned(),
        1..=SHOWN_MAX => found.join(","),
        many => format!("{} + {} more...", found[..SHOWN_MAX].join(","), many - SHOWN_MAX),
    }
}

fn join_host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn validate(endpoints: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(endpoints, Scope::Namespaced, names::subdomain);
    for (index, subset) in items(&endpoints["subsets"]).iter().enumerate() {
        let path = format!("subsets[{index}]");
        if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
            problems.push(Problem::required(path.clone(), "must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in items(&subset[list]).iter().enumerate() {
                let path = format!("{path}.{list}[{index}]");
                problems.extend(validate_ip(text(&address["ip"]), &format!("{path}.ip")));
            }
        }
        let ports = items(&subset["ports"]);
        for (index, port) in ports.iter().enumerate() {
            problems.extend(validate_port(port, ports.len(), &format!("{path}.ports[{index}]")));
        }
    }
    problems
}

fn validate_port(port: &Value, ports: usize, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    match text(&port["name"]) {
        "" if ports > 1 => problems.push(Problem::required(format!("{path}.name"), "")),
        "" => {}
        name => problems.extend(super::problem::invalid_each(&format!("{path}.name"), name, names::label(name))),
    }
    let number = port["port"].as_i64().unwrap_or(0);
    let complaints = names::port_number(number);
    problems.extend(complaints.iter().map(|message| Problem::invalid(format!("{path}.port"), number, message)));
    problems.extend(super::pod_spec::one_of(&port["protocol"], &format!("{path}.protocol"), &PROTOCOLS));
    problems
}
