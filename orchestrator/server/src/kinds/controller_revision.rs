//! ControllerRevision: a snapshot that a controller keeps; its data never changes.

use serde_json::Value;

use super::json::{items, text};
use super::problem::immutable;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, descriptions, metadata, names};

pub static CONTROLLER_REVISION: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    schema: "io.k8s.api.apps.v1.ControllerRevision",
    storage: "apps/controllerrevisions",
    validate: |revision| {
        let mut problems = metadata::validate(revision, Scope::Namespaced, names::subdomain);
        if let Some(number) = revision["revision"].as_i64().filter(|number| *number < 0) {
            problems.push(Problem::invalid("revision", number, "must be greater than or equal to 0"));
        }
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("data", &new["data"], &old["data"]));
        problems
    },
    columns: &[NAME, string("Controller", "Controller of the object"), string("Revision", descriptions::REVISION), AGE],
    row: |revision, now| {
        vec![name(revision), controller(revision).into(), revision["revision"].clone(), age(revision, now)]
    },
    ..PLAIN
};

/// `statefulset.apps/web`
fn controller(object: &Value) -> String {
    let owners = items(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return "<none>".to_owned() };
    let group = text(&owner["apiVersion"]).split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    format!("{}{group}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"]))
}
