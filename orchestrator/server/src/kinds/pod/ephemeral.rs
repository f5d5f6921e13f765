//! What `pods/ephemeralcontainers` may change: containers for looking into a running pod are added, never taken away.

use std::collections::HashSet;

use serde_json::Value;

use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::{changes, invalid_each};
use crate::kinds::{Problem, metadata, names};

const MIRROR: &str = "kubernetes.io/config.mirror";
const PATH: &str = "spec.ephemeralContainers";
/// What a container that only looks cannot have.
const REFUSED: [&str; 8] = [
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
];

pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    if is_set(&old["metadata"]["annotations"][MIRROR]) {
        return vec![Problem::forbidden("", "static pods do not support ephemeral containers")];
    }
    let mut problems = metadata::validate_update(new, old);
    let given = items(&new["spec"]["ephemeralContainers"]);
    for container in items(&old["spec"]["ephemeralContainers"]) {
        let name = text(&container["name"]);
        match given.iter().find(|given| given["name"] == container["name"]) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                problems.push(Problem::forbidden(PATH, &detail));
            }
            Some(given) if given != container => {
                let changed = changes(given, container);
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n{changed}");
                problems.push(Problem::forbidden(PATH, &detail));
            }
            Some(_) => {}
        }
    }
    problems
}

/// The ephemeral containers of a pod.
pub fn validate(spec: &Value) -> Vec<Problem> {
    let named = |list: &'static str| items(&spec[list]).iter().map(|container| text(&container["name"]));
    let mut seen: HashSet<&str> = named("containers").chain(named("initContainers")).collect();
    let targets: HashSet<&str> = named("containers").collect();
    let mut problems = Vec::new();
    for (index, container) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let at = |field: &str| format!("{PATH}[{index}].{field}");
        match text(&container["name"]) {
            "" => problems.push(Problem::required(at("name"), "")),
            name => {
                problems.extend(invalid_each(&at("name"), name, names::label(name)));
                if !seen.insert(name) {
                    problems.push(Problem::duplicate(at("name"), name));
                }
            }
        }
        if is_empty(&container["image"]) {
            problems.push(Problem::required(at("image"), ""));
        }
        let target = text(&container["targetContainerName"]);
        if !target.is_empty() && !targets.contains(target) {
            problems.push(Problem::not_found(at("targetContainerName"), target));
        }
        for field in REFUSED.into_iter().filter(|field| !is_empty(&container[*field])) {
            problems.push(Problem::forbidden(at(field), "cannot be set for an Ephemeral Container"));
        }
    }
    problems
}
