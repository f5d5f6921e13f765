//! CSIStorageCapacity: how much a storage class still has in one part of the cluster.

use serde_json::Value;

use super::json::{is_set, scalar, text};
use super::problem::{immutable, invalid_each};
use super::resource_names::validate_amount;
use super::table::{NAME, name, string};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, labels, metadata, names};

pub static CSI_STORAGE_CAPACITY: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    schema: "io.k8s.api.storage.v1.CSIStorageCapacity",
    storage: "storage.k8s.io/csistoragecapacities",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    validate: |capacity| {
        let mut problems = metadata::validate(capacity, Scope::Namespaced, names::subdomain);
        problems.extend(labels::validate_selector(&capacity["nodeTopology"], "nodeTopology"));
        let class = text(&capacity["storageClassName"]);
        problems.extend(invalid_each("storageClassName", class, names::subdomain(class)));
        if is_set(&capacity["capacity"]) {
            problems.extend(validate_amount("storage", &capacity["capacity"], "capacity"));
        }
        problems
    },
    validate_update: |new, old| {
        let mut problems: Vec<Problem> = metadata::validate_update(new, old);
        for field in ["nodeTopology", "storageClassName"] {
            problems.extend(immutable(field, &new[field], &old[field]));
        }
        problems
    },
    columns: &[
        NAME,
        string("StorageClassName", "The class that the capacity was reported for."),
        string("Capacity", "How much a volume of the class can have at most."),
    ],
    row: |capacity, _now| {
        let amount: Value = match is_set(&capacity["capacity"]) {
            true => scalar(&capacity["capacity"]).into(),
            false => "<unset>".into(),
        };
        vec![name(capacity), text(&capacity["storageClassName"]).into(), amount]
    },
    ..PLAIN
};
