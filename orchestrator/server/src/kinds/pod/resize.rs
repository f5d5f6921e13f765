//! What `pods/resize` may change: cpu and memory of containers, so long as the pod's class stays.

use serde_json::Value;

use crate::kinds::json::{entries, is_empty, is_set, items, items_mut, keep, present, text};
use crate::kinds::problem::changes;
use crate::kinds::{Problem, metadata, pod_spec};

const MIRROR: &str = "kubernetes.io/config.mirror";
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const LISTS: [&str; 2] = ["containers", "initContainers"];

pub fn validate(new: &Value, old: &Value) -> Vec<Problem> {
    if is_set(&old["metadata"]["annotations"][MIRROR]) {
        return vec![Problem::forbidden("", "static pods cannot be resized")];
    }
    if old["spec"]["os"]["name"] == "windows" {
        return vec![Problem::forbidden("", "windows pods cannot be resized")];
    }
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    let class = pod_spec::qos_class(spec);
    let known = text(&old["status"]["qosClass"]);
    let was = if known.is_empty() { pod_spec::qos_class(before) } else { known };
    if class != was {
        problems.push(Problem::invalid("spec", class, "Pod QOS Class may not change as a result of resizing"));
    }
    for list in LISTS {
        let path = format!("spec.{list}");
        let (now, then) = (items(&spec[list]), items(&before[list]));
        if now.len() != then.len() {
            let detail = format!("{list} may not be added or removed on resize");
            problems.push(Problem::forbidden(path, &detail));
            return problems;
        }
        if let Some(index) = now.iter().zip(then).position(|(new, old)| new["name"] != old["name"]) {
            let detail = format!("{list} may not be renamed or reordered on resize");
            problems.push(Problem::forbidden(format!("{path}[{index}].name"), &detail));
            return problems;
        }
        for (index, (container, old)) in now.iter().zip(then).enumerate() {
            problems.extend(validate_container(container, old, &format!("{path}[{index}].resources")));
        }
    }
    let munged = munged(spec, before);
    let changed = changes(&munged, before);
    if !changed.is_empty() {
        let detail = format!("only cpu and memory resources are mutable\n{changed}");
        problems.push(Problem::forbidden("spec", &detail));
    }
    problems
}

/// What a container asks for may change, but not cease to be asked for.
fn validate_container(container: &Value, old: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for list in ["requests", "limits"] {
        let (now, then) = (&container["resources"][list], &old["resources"][list]);
        if entries(then).any(|(resource, _)| now.get(resource).is_none()) {
            problems.push(Problem::forbidden(format!("{path}.{list}"), &format!("resource {list} cannot be removed")));
        }
    }
    problems
}

/// The new spec with cpu and memory of all that can be resized put back.
fn munged(spec: &Value, before: &Value) -> Value {
    let mut munged = spec.clone();
    for list in LISTS {
        for (container, old) in items_mut(&mut munged, list).zip(items(&before[list])) {
            let is_once = list == "initContainers" && old["restartPolicy"] != "Always";
            if is_once {
                continue;
            }
            keep(container, "resizePolicy", old);
            let Some(resources) = present(container, "resources") else { continue };
            for amounts in ["requests", "limits"] {
                let Some(now) = present(resources, amounts) else { continue };
                RESIZABLE.iter().for_each(|resource| keep(now, resource, &old["resources"][amounts]));
                if is_empty(now) {
                    keep(resources, amounts, &old["resources"]);
                }
            }
        }
    }
    munged
}
