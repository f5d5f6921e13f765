//! IPAddress: one address of a `service_cidr.rs` in use, and for what.

use std::net::IpAddr;

use serde_json::Value;

use super::json::{is_set, text};
use super::problem::{immutable, invalid_each};
use super::table::{NAME, name, string};
use super::{Kind, PLAIN, Problem, Scope, metadata, names};

pub static IP_ADDRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.networking.v1.IPAddress",
    storage: "networking.k8s.io/ipaddresses",
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec.parentRef", &new["spec"]["parentRef"], &old["spec"]["parentRef"]));
        problems
    },
    columns: &[NAME, string("ParentRef", "The object that the address is used for.")],
    row: |address, _now| vec![name(address), parent(address).into()],
    ..PLAIN
};

/// `services/default/web`, as the group is only named when it is not the core one.
fn parent(address: &Value) -> String {
    let reference = &address["spec"]["parentRef"];
    if !is_set(reference) {
        return "<none>".to_owned();
    }
    let resource = match text(&reference["group"]) {
        "" => text(&reference["resource"]).to_owned(),
        group => format!("{}.{group}", text(&reference["resource"])),
    };
    format!("{resource}/{}/{}", text(&reference["namespace"]), text(&reference["name"]))
}

/// The one spelling of an address.
fn address_name(name: &str) -> Vec<String> {
    match name.parse::<IpAddr>() {
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        Ok(address) if address.to_string() != name => vec![format!("must be in canonical form (\"{address}\")")],
        Ok(_) => Vec::new(),
    }
}

fn validate(address: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(address, Scope::Cluster, address_name);
    let reference = &address["spec"]["parentRef"];
    if !is_set(reference) {
        problems.push(Problem::required("spec.parentRef", ""));
        return problems;
    }
    let group = text(&reference["group"]);
    if !group.is_empty() {
        problems.extend(invalid_each("spec.parentRef.group", group, names::subdomain(group)));
    }
    for field in ["resource", "name", "namespace"] {
        let path = format!("spec.parentRef.{field}");
        match text(&reference[field]) {
            "" if field == "namespace" => {}
            "" => problems.push(Problem::required(path, "")),
            value => problems.extend(invalid_each(&path, value, names::path_segment(value))),
        }
    }
    problems
}
