//! Node. Its agent writes the status; taints and `unschedulable` are in the spec.

use std::collections::HashSet;

use serde_json::Value;

use super::json::{entries, fill, is_empty, is_set, items, map, present, text};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, name, string, wide};
use super::{Kind, PLAIN, Problem, STATUS, Scope, descriptions, keep_status, metadata, names, proxy};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub static NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[proxy("NodeProxyOptions"), STATUS],
    schema: "io.k8s.api.core.v1.Node",
    storage: "nodes",
    defaults: |node| {
        if let Some(status) = present(node, "status") {
            let capacity = map(&status["capacity"]);
            if !capacity.is_empty() {
                fill(status, "allocatable", capacity);
            }
        }
    },
    prepare_update: keep_status,
    validate,
    validate_update,
    fields: |node| vec![("spec.unschedulable", (node["spec"]["unschedulable"] == true).to_string())],
    field_labels: &["spec.unschedulable"],
    columns: &[
        NAME,
        string("Status", "The status of the node"),
        string("Roles", "The roles of the node"),
        AGE,
        string("Version", descriptions::NODE_VERSION),
        wide("Internal-IP", descriptions::NODE_ADDRESSES),
        wide("External-IP", descriptions::NODE_ADDRESSES),
        wide("OS-Image", descriptions::NODE_OS_IMAGE),
        wide("Kernel-Version", descriptions::NODE_KERNEL),
        wide("Container-Runtime", descriptions::NODE_RUNTIME),
    ],
    row,
    ..PLAIN
};

fn validate(node: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(node, Scope::Cluster, names::subdomain);
    let mut seen = HashSet::new();
    for (index, taint) in items(&node["spec"]["taints"]).iter().enumerate() {
        let path = format!("spec.taints[{index}]");
        let (key, value, effect) = (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"]));
        problems.extend(invalid_each(&format!("{path}.key"), key, names::qualified(key)));
        let complaints = names::label_value(value);
        if !complaints.is_empty() {
            problems.push(Problem::invalid(format!("{path}.value"), value, &complaints.join(";")));
        }
        match effect {
            "" => problems.push(Problem::required(format!("{path}.effect"), "")),
            known if EFFECTS.contains(&known) => {}
            other => problems.push(Problem::not_supported(format!("{path}.effect"), other, &EFFECTS)),
        }
        if !seen.insert((key, effect)) {
            problems.push(Problem::duplicate(path, taint.clone()));
        }
    }
    problems
}

fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    if !is_empty(&before["podCIDRs"]) && spec["podCIDRs"] != before["podCIDRs"] {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        problems.push(Problem::forbidden("spec.podCIDRs", detail));
    }
    if !is_empty(&before["providerID"]) && spec["providerID"] != before["providerID"] {
        let detail = "node updates may not change providerID except from \"\" to valid";
        problems.push(Problem::forbidden("spec.providerID", detail));
    }
    problems
}

fn row(node: &Value, now: i64) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    let known =
        |field: &str| -> Value { if is_empty(&info[field]) { "<unknown>".into() } else { info[field].clone() } };
    vec![
        name(node),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        text(&info["kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let mut roles = std::collections::BTreeSet::new();
    for (key, value) in entries(&node["metadata"]["labels"]).filter(|(_, value)| is_set(value)) {
        match key.strip_prefix(ROLE_PREFIX) {
            Some(role) if !role.is_empty() => drop(roles.insert(role)),
            None if key == "kubernetes.io/role" && !text(value).is_empty() => drop(roles.insert(text(value))),
            _ => {}
        }
    }
    if roles.is_empty() { "<none>".to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = items(&node["status"]["addresses"]).iter().find(|address| address["type"] == kind);
    found.map_or("<none>", |address| text(&address["address"]))
}
