//! Service. Addresses and node ports are given by admission (`admission/service_addresses.rs`); what an update keeps
//! of them is in `service/kept.rs`, the rules in `service/rules.rs`.

mod kept;
mod rules;

use serde_json::{Value, json};

use super::json::{child, fill, fill_text, is_empty, items, items_mut, present, remove, set, text};
use super::table::{AGE, NAME, age, name, string, wide};
use super::{Kind, PLAIN, STATUS, UpdateRules, descriptions, labels, proxy};

const AFFINITY_SECONDS: i64 = 10_800;
const SHOWN_MAX: usize = 16;

pub static SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[proxy("ServiceProxyOptions"), STATUS],
    schema: "io.k8s.api.core.v1.Service",
    storage: "services",
    update: UpdateRules { unconditional: true, creates: true, generation: false },
    defaults: |service| {
        if let Some(spec) = present(service, "spec") {
            fill_spec(spec);
        }
        if let Some(status) = child(service, "status") {
            fill(status, "loadBalancer", json!({}));
        }
    },
    prepare_create: |service| set(service, "status", json!({ "loadBalancer": {} })),
    prepare_update: kept::prepare_update,
    validate: rules::validate,
    validate_update: rules::validate_update,
    fields: |service| {
        let value = |field: &str| text(&service["spec"][field]).to_owned();
        vec![("spec.clusterIP", value("clusterIP")), ("spec.type", value("type"))]
    },
    field_labels: &["spec.clusterIP", "spec.type"],
    columns: &[
        NAME,
        string("Type", descriptions::SERVICE_TYPE),
        string("Cluster-IP", descriptions::SERVICE_CLUSTER_IP),
        string("External-IP", descriptions::SERVICE_EXTERNAL_IPS),
        string("Port(s)", descriptions::SERVICE_PORTS),
        AGE,
        wide("Selector", descriptions::SERVICE_SELECTOR),
    ],
    row,
    ..PLAIN
};

/// Types that have a cluster IP (unless headless).
pub fn has_cluster_ip(spec: &Value) -> bool {
    matches!(text(&spec["type"]), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Types whose ports get a port on every node.
pub fn has_node_ports(spec: &Value) -> bool {
    match text(&spec["type"]) {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// Whether traffic from outside the cluster may reach it.
fn is_external(spec: &Value) -> bool {
    match text(&spec["type"]) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !is_empty(&spec["externalIPs"]),
        _ => false,
    }
}

fn fill_spec(spec: &mut Value) {
    fill_text(spec, "sessionAffinity", "None");
    fill_text(spec, "type", "ClusterIP");
    if spec["sessionAffinity"] == "None" {
        remove(spec, "sessionAffinityConfig");
    } else if let Some(client) = child(spec, "sessionAffinityConfig").and_then(|config| child(config, "clientIP")) {
        fill(client, "timeoutSeconds", AFFINITY_SECONDS);
    }
    for port in items_mut(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        if is_empty(&port["targetPort"]) || port["targetPort"] == 0 {
            let number = port["port"].clone();
            set(port, "targetPort", number);
        }
    }
    if is_external(spec) {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if text(&spec["type"]) == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if has_cluster_ip(spec) {
        fill_text(spec, "internalTrafficPolicy", "Cluster");
        fill(spec, "ipFamilies", json!(["IPv4"]));
        fill_text(spec, "ipFamilyPolicy", "SingleStack");
        if !is_empty(&spec["clusterIP"]) && is_empty(&spec["clusterIPs"]) {
            let address = spec["clusterIP"].clone();
            set(spec, "clusterIPs", json!([address]));
        }
    }
}

fn row(service: &Value, now: i64) -> Vec<Value> {
    let spec = &service["spec"];
    let address = match items(&spec["clusterIPs"]).first() {
        Some(first) => text(first),
        None => text(&spec["clusterIP"]),
    };
    vec![
        name(service),
        spec["type"].clone(),
        if address.is_empty() { "<none>" } else { address }.into(),
        external(service).into(),
        ports(spec).into(),
        age(service, now),
        labels::print(&spec["selector"]).into(),
    ]
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let listed = || items(&spec["externalIPs"]).iter().map(text).collect::<Vec<_>>().join(",");
    match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        "LoadBalancer" => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]).iter();
            let addresses = ingress.map(|one| if is_empty(&one["ip"]) { &one["hostname"] } else { &one["ip"] });
            let mut shown = addresses.map(text).collect::<Vec<_>>().join(",");
            if shown.len() > SHOWN_MAX {
                shown = format!("{}...", shown.chars().take(SHOWN_MAX - 3).collect::<String>());
            }
            match (listed(), shown.is_empty()) {
                (extra, true) if extra.is_empty() => "<pending>".to_owned(),
                (extra, true) => extra,
                (extra, false) if extra.is_empty() => shown,
                (extra, false) => format!("{shown},{extra}"),
            }
        }
        _ if is_empty(&spec["externalIPs"]) => "<none>".to_owned(),
        _ => listed(),
    }
}

fn ports(spec: &Value) -> String {
    let shown = items(&spec["ports"]).iter().map(|port| {
        let protocol = text(&port["protocol"]);
        match port["nodePort"].as_i64().unwrap_or(0) {
            0 => format!("{}/{protocol}", port["port"]),
            node_port => format!("{}:{node_port}/{protocol}", port["port"]),
        }
    });
    let shown = shown.collect::<Vec<_>>().join(",");
    if shown.is_empty() { "<none>".to_owned() } else { shown }
}
