//! PriorityClass. The two `system-` classes are the program's own.

use serde_json::{Value, json};

use super::json::{fill_text, text};
use super::problem::immutable;
use super::table::{AGE, NAME, age, boolean, count, integer, name, string};
use super::{Kind, PLAIN, Problem, Scope, descriptions, metadata, names, pod_spec};

/// What users may give at most; beyond it lie the system's own classes.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;

/// The classes that exist in every cluster, with their values.
pub const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub static PRIORITY_CLASS: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.scheduling.v1.PriorityClass",
    storage: "scheduling.k8s.io/priorityclasses",
    defaults: |class| fill_text(class, "preemptionPolicy", "PreemptLowerPriority"),
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        if count(&new["value"]) != count(&old["value"]) {
            problems.push(Problem::forbidden("value", "may not be changed in an update."));
        }
        problems.extend(immutable("preemptionPolicy", &new["preemptionPolicy"], &old["preemptionPolicy"]));
        problems
    },
    columns: &[
        NAME,
        integer("Value", descriptions::PRIORITY_VALUE),
        boolean("Global-Default", descriptions::PRIORITY_GLOBAL_DEFAULT),
        AGE,
        string("PreemptionPolicy", descriptions::PRIORITY_PREEMPTION),
    ],
    row: |class, now| {
        vec![
            name(class),
            count(&class["value"]).into(),
            json!(class["globalDefault"] == true),
            age(class, now),
            class["preemptionPolicy"].clone(),
        ]
    },
    ..PLAIN
};

fn validate(class: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
    let (name, value) = (text(&class["metadata"]["name"]), count(&class["value"]));
    if name.starts_with("system-") {
        let known = SYSTEM_CLASSES.iter().find(|(system, _)| *system == name);
        let error = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, wanted)) if *wanted != value => Some(format!("value of {name} PriorityClass must be {wanted}")),
            Some(_) => None,
        };
        if let Some(error) = error {
            let detail =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {error}");
            problems.push(Problem::forbidden("metadata.name", &detail));
        }
    } else if value > USER_PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        problems.push(Problem::forbidden("value", &detail));
    }
    let policies = ["Never", "PreemptLowerPriority"];
    problems.extend(pod_spec::one_of(&class["preemptionPolicy"], "preemptionPolicy", &policies));
    problems
}
