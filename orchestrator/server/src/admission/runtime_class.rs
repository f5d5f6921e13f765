//! A pod that names a RuntimeClass gets that class's overhead and scheduling; the class must exist.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::writes;
use crate::kinds::json::{child, entries, fill, is_empty, is_set, items, present, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

pub struct PodRuntimeClass;

#[async_trait]
impl Admit for PodRuntimeClass {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Create, "pods") {
            return Ok(());
        }
        let Some(spec) = request.object.as_mut().and_then(|pod| present(pod, "spec")) else { return Ok(()) };
        let refuse = |why: &str| Err(Status::forbidden(request.kind, request.name, why));
        let name = text(&spec["runtimeClassName"]);
        if name.is_empty() {
            if !is_empty(&spec["overhead"]) {
                return refuse("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
            }
            return Ok(());
        }
        let Some(class) = request.cluster.get("node.k8s.io/runtimeclasses", "", name) else {
            return refuse(&format!("pod rejected: RuntimeClass \"{name}\" not found"));
        };
        take_from_class(spec, &class).or_else(|why| refuse(&why))
    }
}

fn take_from_class(spec: &mut Value, class: &Value) -> Result<(), String> {
    let overhead = &class["overhead"]["podFixed"];
    if !is_empty(overhead) {
        if !is_empty(&spec["overhead"]) && spec["overhead"] != *overhead {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned());
        }
        set(spec, "overhead", overhead.clone());
    } else if !is_empty(&spec["overhead"]) {
        return Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned());
    }
    let scheduling = &class["scheduling"];
    if !is_set(scheduling) {
        return Ok(());
    }
    if let Some(selector) = child(spec, "nodeSelector") {
        for (key, value) in entries(&scheduling["nodeSelector"]) {
            if selector.get(key).is_some_and(|given| given != value) {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(&selector[key])
                ));
            }
            fill(selector, key, value.clone());
        }
    }
    let mut tolerations = items(&spec["tolerations"]).to_vec();
    tolerations.extend(
        items(&scheduling["tolerations"]).iter().filter(|one| !items(&spec["tolerations"]).contains(one)).cloned(),
    );
    if !tolerations.is_empty() {
        set(spec, "tolerations", json!(tolerations));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overhead_and_scheduling_come_from_the_class() {
        let class = json!({
            "overhead": { "podFixed": { "cpu": "1m" } },
            "scheduling": { "nodeSelector": { "a": "b" }, "tolerations": [{ "key": "k" }] },
        });
        let mut spec = json!({ "nodeSelector": { "c": "d" } });
        take_from_class(&mut spec, &class).unwrap();
        let expected = json!({
            "overhead": { "cpu": "1m" }, "nodeSelector": { "a": "b", "c": "d" }, "tolerations": [{ "key": "k" }],
        });
        assert_eq!(spec, expected);
        let mut other = json!({ "nodeSelector": { "a": "x" } });
        assert_eq!(
            take_from_class(&mut other, &class).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = x"
        );
    }
}
