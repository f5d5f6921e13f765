//! A pod's priority comes from its PriorityClass, never from the client. At most one class is the default.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::writes;
use crate::kinds::json::{is_empty, is_set, keep, present, set, text};
use crate::kinds::priority_class::SYSTEM_CLASSES;
use crate::kinds::table::count;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Cluster, Operation};

const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
const PREEMPT: &str = "PreemptLowerPriority";

pub struct PodPriority;

#[async_trait]
impl Admit for PodPriority {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if request.kind.kind == "PriorityClass" {
            return check_default(request);
        }
        if writes(request, Operation::Update, "pods") {
            let old = request.old.map(|pod| &pod["spec"]);
            let new = request.object.as_mut().and_then(|pod| present(pod, "spec"));
            if let (Some(old), Some(new)) = (old, new) {
                keep_priority(new, old);
            }
            return Ok(());
        }
        if !writes(request, Operation::Create, "pods") {
            return Ok(());
        }
        let Some(spec) = request.object.as_mut().and_then(|pod| present(pod, "spec")) else { return Ok(()) };
        let class = match text(&spec["priorityClassName"]) {
            "" => default_class(request.cluster),
            name => match request.cluster.get(CLASSES, "", name).or_else(|| system_class(name)) {
                Some(class) => Some(class),
                None => {
                    let why = format!("no PriorityClass with name {name} was found");
                    return Err(Status::forbidden(request.kind, request.name, &why));
                }
            },
        };
        resolve(spec, class.as_ref()).map_err(|why| Status::forbidden(request.kind, request.name, &why))
    }
}

/// Sets name, value and policy from the class; without one, zero. `Err`: the client gave another value.
fn resolve(spec: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let (value, policy) = match class {
        None => (0, PREEMPT),
        Some(class) => {
            set(spec, "priorityClassName", class["metadata"]["name"].clone());
            let policy = text(&class["preemptionPolicy"]);
            (count(&class["value"]), if policy.is_empty() { PREEMPT } else { policy })
        }
    };
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; \
             priority admission controller computed {value} from the given PriorityClass name"
        ));
    }
    let given = text(&spec["preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    set(spec, "priority", value.into());
    set(spec, "preemptionPolicy", policy.into());
    Ok(())
}

fn keep_priority(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if !is_set(&new[field]) && is_set(&old[field]) {
            keep(new, field, old);
        }
    }
}

/// Of several defaults, which a race could leave, the smallest counts.
fn default_class(cluster: &Cluster) -> Option<Value> {
    if cluster.count(CLASSES, None) == 0 {
        return None;
    }
    let classes = cluster.list(CLASSES, None).into_iter();
    classes.filter(|class| class["globalDefault"] == true).min_by_key(|class| count(&class["value"]))
}

fn system_class(name: &str) -> Option<Value> {
    let (name, value) = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name)?;
    Some(json!({ "metadata": { "name": name }, "value": value }))
}

fn check_default(request: &AdmissionRequest<'_>) -> Result<(), Status> {
    let Some(class) = request.object.as_ref().filter(|class| class["globalDefault"] == true) else { return Ok(()) };
    let Some(other) = default_class(request.cluster) else { return Ok(()) };
    let (name, other) = (text(&class["metadata"]["name"]), text(&other["metadata"]["name"]));
    if name == other || is_empty(&class["metadata"]["name"]) {
        return Ok(());
    }
    let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
    Err(Status::forbidden(request.kind, name, &why))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(mut spec: Value, class: Option<Value>, expect: Expect) {
        let shown = match resolve(&mut spec, class.as_ref()) {
            Ok(()) => spec.to_string(),
            Err(why) => why,
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn priority_follows_the_class() {
        check(json!({}), None, expect![[r#"{"preemptionPolicy":"PreemptLowerPriority","priority":0}"#]]);
        let never = json!({ "metadata": { "name": "c" }, "value": 7, "preemptionPolicy": "Never" });
        check(
            json!({ "priority": 7 }),
            Some(never.clone()),
            expect![[r#"{"preemptionPolicy":"Never","priority":7,"priorityClassName":"c"}"#]],
        );
        check(
            json!({ "priority": 8 }),
            Some(never),
            expect![
                "the integer value of priority (8) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name"
            ],
        );
        check(
            json!({}),
            system_class("system-node-critical"),
            expect![[
                r#"{"preemptionPolicy":"PreemptLowerPriority","priority":2000001000,"priorityClassName":"system-node-critical"}"#
            ]],
        );
    }
}
