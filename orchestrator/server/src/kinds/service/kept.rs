//! What an update keeps of the addresses and ports that a Service was given, and what a change of type lets go.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{has_cluster_ip, has_node_ports, is_external};
use crate::kinds::json::{is_empty, items, items_mut, keep, present, remove, set, text};

/// `new` with the allocated values that the client left out, without those that its type no longer has.
pub fn prepare_update(new: &mut Value, old: &Value) {
    keep(new, "status", old);
    let before = &old["spec"];
    if let Some(spec) = present(new, "spec") {
        super::fill_spec(spec);
        keep_addresses(spec, before);
        keep_node_ports(spec, before);
        drop_by_type(spec, before);
    }
}

fn keep_addresses(spec: &mut Value, before: &Value) {
    if !has_cluster_ip(spec) || !has_cluster_ip(before) {
        return;
    }
    if is_empty(&spec["clusterIP"]) {
        keep(spec, "clusterIP", before);
        if is_empty(&spec["clusterIPs"]) {
            keep(spec, "clusterIPs", before);
        }
    } else if spec["clusterIP"] != before["clusterIP"] && spec["clusterIPs"] == before["clusterIPs"] {
        let address = spec["clusterIP"].clone();
        set(spec, "clusterIPs", json!([address]));
    }
}

/// By the name of the port: all else about it may have changed.
fn keep_node_ports(spec: &mut Value, before: &Value) {
    if !has_node_ports(spec) || !has_node_ports(before) {
        return;
    }
    let mut given: HashMap<String, Value> = HashMap::new();
    for port in items(&before["ports"]).iter().filter(|port| number(port) != 0) {
        given.insert(text(&port["name"]).to_owned(), port["nodePort"].clone());
    }
    let asked: Vec<i64> = items(&spec["ports"]).iter().map(number).collect();
    for port in items_mut(spec, "ports").filter(|port| number(port) == 0) {
        let Some(kept) = given.remove(text(&port["name"])) else { continue };
        if !kept.as_i64().is_some_and(|kept| asked.contains(&kept)) {
            set(port, "nodePort", kept);
        }
    }
}

/// Values that the client sent back unchanged, but that the new type cannot have.
fn drop_by_type(spec: &mut Value, before: &Value) {
    if has_cluster_ip(before) && !has_cluster_ip(spec) && spec["clusterIP"] == before["clusterIP"] {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            remove(spec, field);
        }
    }
    let ports = |spec: &Value| items(&spec["ports"]).iter().map(number).collect::<Vec<_>>();
    let node_port_type = matches!(text(&spec["type"]), "NodePort" | "LoadBalancer");
    if has_node_ports(before) && !node_port_type && ports(spec) == ports(before) {
        items_mut(spec, "ports").for_each(|port| drop(remove(port, "nodePort")));
    }
    if text(&before["type"]) == "LoadBalancer" && text(&spec["type"]) != "LoadBalancer" {
        for field in ["healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec[field] == before[field] {
                remove(spec, field);
            }
        }
    }
    if is_external(before) && !is_external(spec) && spec["externalTrafficPolicy"] == before["externalTrafficPolicy"] {
        remove(spec, "externalTrafficPolicy");
    }
}

fn number(port: &Value) -> i64 {
    port["nodePort"].as_i64().unwrap_or(0)
}
