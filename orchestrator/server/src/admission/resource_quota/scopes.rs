//! Which objects a quota is for: its scopes and its scope selector, all of which must fit. Only pods and claims have
//! any; a quota with scopes is for nothing else. Pure.

use serde_json::Value;

use super::usage::Measure;
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::pod_spec::qos_class;

/// Whether a quota of this spec is for this object.
pub fn fits(quota: &Value, measure: Measure, object: &Value) -> bool {
    let scopes = items(&quota["scopes"]).iter().map(|scope| (text(scope), "Exists", &[] as &[Value]));
    let selected = items(&quota["scopeSelector"]["matchExpressions"]);
    let selected = selected.iter().map(|one| (text(&one["scopeName"]), text(&one["operator"]), items(&one["values"])));
    scopes.chain(selected).all(|(scope, operator, values)| match measure {
        Measure::Pods => pod_fits(object, scope, (operator, values)),
        Measure::Claims => scope == "VolumeAttributesClass" && any_fits(&attribute_classes(object), (operator, values)),
        _ => false,
    })
}

fn pod_fits(pod: &Value, scope: &str, rule: (&str, &[Value])) -> bool {
    let spec = &pod["spec"];
    match scope {
        "Terminating" => has_deadline(spec),
        "NotTerminating" => !has_deadline(spec),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            let class = Some(text(&spec["priorityClassName"])).filter(|class| !class.is_empty());
            any_fits(class.as_slice(), rule)
        }
        "CrossNamespacePodAffinity" => reaches_out(&spec["affinity"]),
        _ => false,
    }
}

fn has_deadline(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(pod: &Value) -> bool {
    match text(&pod["status"]["qosClass"]) {
        "" => qos_class(&pod["spec"]) == "BestEffort",
        class => class == "BestEffort",
    }
}

/// Whether the rule holds for any of these values, or for their absence.
fn any_fits(found: &[&str], (operator, values): (&str, &[Value])) -> bool {
    let is_named = |value: &&str| values.iter().any(|named| named == value);
    match operator {
        "In" => found.iter().any(is_named),
        "NotIn" => found.is_empty() || !found.iter().all(is_named),
        "DoesNotExist" => found.is_empty(),
        _ => !found.is_empty(),
    }
}

fn attribute_classes(claim: &Value) -> Vec<&str> {
    let status = &claim["status"];
    let named = [
        &claim["spec"]["volumeAttributesClassName"],
        &status["currentVolumeAttributesClassName"],
        &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
    ];
    named.into_iter().map(text).filter(|class| !class.is_empty()).collect()
}

/// Some term of affinity or anti-affinity looks at other namespaces.
fn reaches_out(affinity: &Value) -> bool {
    let looks_out = |term: &Value| !is_empty(&term["namespaces"]) || is_set(&term["namespaceSelector"]);
    ["podAffinity", "podAntiAffinity"].into_iter().any(|part| {
        let part = &affinity[part];
        items(&part["requiredDuringSchedulingIgnoredDuringExecution"]).iter().any(looks_out)
            || items(&part["preferredDuringSchedulingIgnoredDuringExecution"])
                .iter()
                .any(|weighted| looks_out(&weighted["podAffinityTerm"]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(quota: &Value, pod: &Value, wanted: bool) {
        assert_eq!(fits(quota, Measure::Pods, pod), wanted, "{quota} {pod}");
    }

    #[test]
    fn every_scope_must_fit() {
        let plain = json!({ "spec": { "containers": [{}] } });
        let deadline = json!({ "spec": { "containers": [{}], "activeDeadlineSeconds": 5 } });
        let asking = json!({ "spec": { "containers": [{ "resources": { "requests": { "cpu": "1" } } }] } });
        for (scopes, fitting) in [
            (json!([]), [true, true, true]),
            (json!(["Terminating"]), [false, true, false]),
            (json!(["NotTerminating"]), [true, false, true]),
            (json!(["BestEffort"]), [true, true, false]),
            (json!(["NotBestEffort", "NotTerminating"]), [false, false, true]),
            (json!(["PriorityClass"]), [false, false, false]),
        ] {
            let quota = json!({ "scopes": scopes });
            for (pod, wanted) in [&plain, &deadline, &asking].into_iter().zip(fitting) {
                check(&quota, pod, wanted);
            }
        }
        assert!(!fits(&json!({ "scopes": ["Terminating"] }), Measure::Services, &json!({})));
        assert!(fits(&json!({}), Measure::Services, &json!({})));
    }

    #[test]
    fn selectors_name_priority_classes() {
        let pod = |class: &str| json!({ "spec": { "priorityClassName": class } });
        for (operator, values, fitting) in [
            ("In", json!(["high"]), [true, false, false]),
            ("NotIn", json!(["high"]), [false, true, true]),
            ("Exists", json!([]), [true, true, false]),
            ("DoesNotExist", json!([]), [false, false, true]),
        ] {
            let rule = json!({ "scopeName": "PriorityClass", "operator": operator, "values": values });
            let quota = json!({ "scopeSelector": { "matchExpressions": [rule] } });
            for (class, wanted) in ["high", "low", ""].into_iter().zip(fitting) {
                check(&quota, &pod(class), wanted);
            }
        }
    }

    #[test]
    fn affinity_to_other_namespaces_is_a_scope() {
        let quota = json!({ "scopes": ["CrossNamespacePodAffinity"] });
        let term = json!({ "podAffinityTerm": { "namespaceSelector": {} } });
        let affinity = json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [term] } });
        check(&quota, &json!({ "spec": { "affinity": affinity } }), true);
        check(&quota, &json!({ "spec": {} }), false);
    }

    #[test]
    fn claims_are_told_apart_by_their_attributes_class() {
        let claim = json!({ "spec": { "volumeAttributesClassName": "a" }, "status": { "currentVolumeAttributesClassName": "b" } });
        let quota = |operator: &str, values: Value| {
            let rule = json!({ "scopeName": "VolumeAttributesClass", "operator": operator, "values": values });
            json!({ "scopeSelector": { "matchExpressions": [rule] } })
        };
        assert!(fits(&quota("In", json!(["b"])), Measure::Claims, &claim));
        assert!(!fits(&quota("In", json!(["c"])), Measure::Claims, &claim));
        assert!(fits(&quota("Exists", json!([])), Measure::Claims, &claim));
        assert!(!fits(&quota("Exists", json!([])), Measure::Claims, &json!({})));
    }
}
