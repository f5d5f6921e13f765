//! ResourceSlice: the devices that a driver offers, on one node, some nodes or all.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::json::{entries, items, items_mut, present, text};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, WITH_SPEC, device, metadata, names};

const DEVICES_MAX: usize = 128;
/// Of devices with taints, counters or lists of attributes.
const RICH_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const ATTRIBUTES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const WHERE: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
const VALUES: [&str; 8] = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"];

pub static RESOURCE_SLICE: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    scope: Scope::Cluster,
    schema: "io.k8s.api.resource.v1.ResourceSlice",
    storage: "resource.k8s.io/resourceslices",
    update: WITH_SPEC,
    defaults: |slice| {
        let since = slice["metadata"]["creationTimestamp"].clone();
        let Some(spec) = present(slice, "spec") else { return };
        for one in items_mut(spec, "devices") {
            items_mut(one, "taints").for_each(|taint| device::default_taint(taint, &since));
        }
    },
    validate: |slice| {
        let mut problems = metadata::validate(slice, Scope::Cluster, names::subdomain);
        problems.extend(validate_spec(&slice["spec"]));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let (now, before) = (&new["spec"], &old["spec"]);
        problems.extend(immutable("spec.pool.name", &now["pool"]["name"], &before["pool"]["name"]));
        problems.extend(immutable("spec.driver", &now["driver"], &before["driver"]));
        problems.extend(immutable("spec.nodeName", &now["nodeName"], &before["nodeName"]));
        problems
    },
    fields: |slice| {
        let field = |field: &str| text(&slice["spec"][field]).to_owned();
        vec![("spec.driver", field("driver")), ("spec.nodeName", field("nodeName"))]
    },
    field_labels: &["spec.driver", "spec.nodeName"],
    columns: &[
        NAME,
        string("Node", "NodeName identifies the node which provides the resources in this slice."),
        string("Driver", "Driver identifies the DRA driver providing the capacity information."),
        string("Pool", "Pool describes the pool that this ResourceSlice belongs to."),
        AGE,
    ],
    row: |slice, now| {
        let spec = &slice["spec"];
        let cell = |value: &Value| Value::from(text(value));
        vec![name(slice), cell(&spec["nodeName"]), cell(&spec["driver"]), cell(&spec["pool"]["name"]), age(slice, now)]
    },
    ..PLAIN
};

fn validate_spec(spec: &Value) -> Vec<Problem> {
    let mut problems = device::validate_driver(text(&spec["driver"]), "spec.driver");
    problems.extend(validate_pool(&spec["pool"]));
    problems.extend(validate_place(spec));
    let (devices, counters) = (&spec["devices"], &spec["sharedCounters"]);
    if devices.is_array() && counters.is_array() {
        problems.push(Problem::invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let rich = |one: &Value| ["taints", "consumesCounters"].iter().any(|field| !items(&one[*field]).is_empty());
    let most = if items(devices).iter().any(rich) { RICH_DEVICES_MAX } else { DEVICES_MAX };
    let mut seen = HashSet::new();
    problems.extend(device::each(devices, "spec.devices", most, |one, path| {
        let own = text(&one["name"]);
        let mut problems = validate_device(one, path);
        if !seen.insert(own.to_owned()) {
            problems.push(Problem::duplicate(path, own));
        }
        problems
    }));
    problems.extend(device::each(counters, "spec.sharedCounters", COUNTER_SETS_MAX, |set, path| {
        let mut problems = device::validate_device_name(text(&set["name"]), &format!("{path}.name"));
        if entries(&set["counters"]).next().is_none() {
            problems.push(Problem::required(format!("{path}.counters"), ""));
        }
        problems
    }));
    problems
}

fn validate_pool(pool: &Value) -> Vec<Problem> {
    let mut problems = device::validate_pool(text(&pool["name"]), "spec.pool.name");
    let (count, generation) = (pool["resourceSliceCount"].as_i64().unwrap_or(0), pool["generation"].as_i64());
    if count <= 0 {
        problems.push(Problem::invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"));
    }
    if let Some(generation) = generation.filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        problems.push(Problem::invalid("spec.pool.generation", generation, detail));
    }
    problems
}

/// Exactly one way to say where the devices are.
fn validate_place(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut set = Vec::new();
    for field in WHERE {
        let path = format!("spec.{field}");
        match &spec[field] {
            Value::Null => {}
            Value::String(node) if node.is_empty() => {
                let detail = "must be either unset or set to a non-empty string";
                problems.push(Problem::invalid(path, "", detail));
            }
            Value::String(node) => {
                set.push(format!("`{field}`"));
                problems.extend(invalid_each(&path, node, names::subdomain(node)));
            }
            Value::Bool(false) => {
                problems.push(Problem::invalid(path, false, "must be either unset or set to true"));
            }
            selector => {
                set.push(format!("`{field}`"));
                let terms = &selector["nodeSelectorTerms"];
                if field == "nodeSelector" && items(terms).len() != 1 {
                    let detail = "must have exactly one node selector term";
                    problems.push(Problem::invalid(format!("{path}.nodeSelectorTerms"), terms.clone(), detail));
                }
            }
        }
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => problems.push(Problem::required("spec", detail)),
        1 => {}
        _ => {
            let shown = json!(format!("{{{}}}", set.join(", ")));
            problems.push(Problem::invalid("spec", shown, &format!("{detail}, but multiple fields are set")));
        }
    }
    problems
}

fn validate_device(one: &Value, path: &str) -> Vec<Problem> {
    let mut problems = device::validate_device_name(text(&one["name"]), &format!("{path}.name"));
    let count = entries(&one["attributes"]).count() + entries(&one["capacity"]).count();
    if count > ATTRIBUTES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        problems.push(Problem::invalid(path, count, &detail));
    }
    for (key, value) in entries(&one["attributes"]) {
        let field = format!("{path}.attributes[{key}]");
        let set = VALUES.iter().filter(|kind| !value[**kind].is_null()).count();
        match set {
            0 => problems.push(Problem::required(field, "exactly one value must be specified")),
            1 => {}
            _ => problems.push(Problem::invalid(field, value.clone(), "exactly one value must be specified")),
        }
    }
    problems.extend(device::each(&one["taints"], &format!("{path}.taints"), TAINTS_MAX, device::validate_taint));
    problems
}
