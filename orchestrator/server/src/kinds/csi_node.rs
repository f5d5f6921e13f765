//! CSINode: the storage drivers that a node has.

use std::collections::HashSet;

use serde_json::Value;

use super::json::{items, set, text};
use super::persistent_volume::validate_driver;
use super::problem::{IMMUTABLE, invalid_each};
use super::table::{AGE, NAME, age, integer, name};
use super::{Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, drop_status, keep_status, metadata, names};

const NODE_ID_MAX: usize = 192;

pub static CSI_NODE: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.storage.v1.CSINode",
    storage: "storage.k8s.io/csinodes",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            set(&mut driver, "allocatable", Value::Null);
            driver
        };
        for driver in items(&new["spec"]["drivers"]) {
            let before = items(&old["spec"]["drivers"]).iter().find(|before| before["name"] == driver["name"]);
            if before.is_some_and(|before| fixed(before) != fixed(driver)) {
                problems.push(Problem::invalid("spec.drivers", driver.clone(), IMMUTABLE));
            }
        }
        problems
    },
    columns: &[NAME, integer("Drivers", "The number of drivers on the node."), AGE],
    row: |node, now| vec![name(node), items(&node["spec"]["drivers"]).len().into(), age(node, now)],
    ..PLAIN
};

fn validate(node: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(node, Scope::Cluster, names::subdomain);
    let mut seen = HashSet::new();
    for (index, driver) in items(&node["spec"]["drivers"]).iter().enumerate() {
        let path = format!("spec.drivers[{index}]");
        let (own, id) = (text(&driver["name"]), text(&driver["nodeID"]));
        problems.extend(validate_driver(own, &format!("{path}.name")));
        if id.is_empty() {
            problems.push(Problem::required(format!("{path}.nodeID"), ""));
        }
        if id.len() > NODE_ID_MAX {
            let detail = format!("must be {NODE_ID_MAX} characters or less");
            problems.push(Problem::invalid(format!("{path}.nodeID"), id, &detail));
        }
        if let Some(count) = driver["allocatable"]["count"].as_i64().filter(|count| *count < 0) {
            let detail = "must be greater than or equal to 0";
            problems.push(Problem::invalid(format!("{path}.allocatable.count"), count, detail));
        }
        if !seen.insert(own) {
            problems.push(Problem::duplicate(format!("{path}.name"), own));
        }
        problems.extend(validate_keys(items(&driver["topologyKeys"]), &path));
    }
    problems
}

fn validate_keys(keys: &[Value], path: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for key in keys.iter().map(text) {
        if key.is_empty() {
            problems.push(Problem::required(path, ""));
        }
        if !seen.insert(key) {
            problems.push(Problem::duplicate(path, key));
        }
        problems.extend(invalid_each(path, key, names::qualified(key)));
    }
    problems
}
