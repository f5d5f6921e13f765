//! Between autoscaling/v1 and v2. What v1 has no fields for rides along in annotations, spelled as upstream spells
//! it, so that nothing is lost on the way through an older client.

use serde_json::{Map, Value, json};

use crate::kinds::json::{child, entries, is_empty, is_set, items, map, present, remove, set, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// Annotations that hold parts of the status.
pub const STATUS_ANNOTATIONS: [&str; 2] = [CURRENT_METRICS, CONDITIONS];

/// How a member of v2's metrics is called in the flat form that the annotations hold.
const SPEC_NAMES: [Flat; 5] = [
    Flat { member: "object", reference: "target", value: "targetValue", average: "averageValue", percent: "" },
    Flat { member: "pods", reference: "", value: "", average: "targetAverageValue", percent: "" },
    Flat {
        member: "resource",
        reference: "",
        value: "",
        average: "targetAverageValue",
        percent: "targetAverageUtilization",
    },
    Flat {
        member: "containerResource",
        reference: "",
        value: "",
        average: "targetAverageValue",
        percent: "targetAverageUtilization",
    },
    Flat { member: "external", reference: "", value: "targetValue", average: "targetAverageValue", percent: "" },
];
const STATUS_NAMES: [Flat; 5] = [
    Flat { member: "object", reference: "target", value: "currentValue", average: "averageValue", percent: "" },
    Flat { member: "pods", reference: "", value: "", average: "currentAverageValue", percent: "" },
    Flat {
        member: "resource",
        reference: "",
        value: "",
        average: "currentAverageValue",
        percent: "currentAverageUtilization",
    },
    Flat {
        member: "containerResource",
        reference: "",
        value: "",
        average: "currentAverageValue",
        percent: "currentAverageUtilization",
    },
    Flat { member: "external", reference: "", value: "currentValue", average: "currentAverageValue", percent: "" },
];

/// Names of one metric source in the flat form; empty where it has no such field.
struct Flat {
    member: &'static str,
    reference: &'static str,
    value: &'static str,
    average: &'static str,
    percent: &'static str,
}

/// The v2 form of a v1 object; what is no object stays as it is.
pub fn to_v2(mut autoscaler: Value) -> Value {
    let mut held = Map::new();
    if let Some(metadata) = present(&mut autoscaler, "metadata") {
        if let Some(annotations) = present(metadata, "annotations") {
            for name in [METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS] {
                let parsed = remove(annotations, name).and_then(|text| serde_json::from_str(text.as_str()?).ok());
                held.extend(parsed.map(|value: Value| (name.to_owned(), value)));
            }
        }
        if is_empty(&metadata["annotations"]) {
            remove(metadata, "annotations");
        }
    }
    let mut held = Value::Object(held);
    if let Some(spec) = present(&mut autoscaler, "spec") {
        let cpu = remove(spec, "targetCPUUtilizationPercentage").filter(is_set).map(|percent| {
            let target = json!({ "type": "Utilization", "averageUtilization": percent });
            json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
        });
        let metrics: Vec<Value> = items(&held[METRICS]).iter().map(spec_to_v2).chain(cpu).collect();
        if !metrics.is_empty() {
            set(spec, "metrics", metrics.into());
        }
        if is_set(&held[BEHAVIOR]) {
            set(spec, "behavior", recased(&held[BEHAVIOR], str::to_lowercase));
        }
    }
    if let Some(status) = present(&mut autoscaler, "status") {
        let cpu = remove(status, "currentCPUUtilizationPercentage").filter(is_set);
        let cpu = cpu.map(|percent| {
            json!([{ "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": percent } } }])
        });
        let full: Vec<Value> = items(&held[CURRENT_METRICS]).iter().map(status_to_v2).collect();
        let metrics = if full.is_empty() { cpu } else { Some(full.into()) };
        if let Some(metrics) = metrics {
            set(status, "currentMetrics", metrics);
        }
        if let Some(conditions) = remove(&mut held, CONDITIONS) {
            set(status, "conditions", conditions);
        }
    }
    autoscaler
}

/// The v1 form of a v2 object.
pub fn to_v1(mut autoscaler: Value) -> Value {
    let mut held: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = present(&mut autoscaler, "spec") {
        let metrics = remove(spec, "metrics").unwrap_or_default();
        let is_cpu = |metric: &&Value| metric["resource"]["name"] == "cpu" && metric["type"] == "Resource";
        let percent = |metric: &Value| metric["resource"]["target"]["averageUtilization"].clone();
        if let Some(cpu) = items(&metrics).iter().find(is_cpu).map(percent).filter(is_set) {
            set(spec, "targetCPUUtilizationPercentage", cpu);
        }
        let others: Vec<Value> = items(&metrics)
            .iter()
            .filter(|metric| !is_cpu(metric) || !is_set(&percent(metric)))
            .map(spec_to_v1)
            .collect();
        held.push((METRICS, others.into()));
        if let Some(behavior) = remove(spec, "behavior").filter(is_set) {
            held.push((BEHAVIOR, recased(&behavior, str::to_uppercase)));
        }
    }
    if let Some(status) = present(&mut autoscaler, "status") {
        let metrics = remove(status, "currentMetrics").unwrap_or_default();
        for metric in items(&metrics).iter().filter(|metric| metric["resource"]["name"] == "cpu") {
            let percent = &metric["resource"]["current"]["averageUtilization"];
            if is_set(percent) {
                set(status, "currentCPUUtilizationPercentage", percent.clone());
            }
        }
        held.push((CURRENT_METRICS, items(&metrics).iter().map(status_to_v1).collect()));
        held.push((CONDITIONS, remove(status, "conditions").unwrap_or_default()));
    }
    held.retain(|(_, value)| !is_empty(value));
    let metadata = present(&mut autoscaler, "metadata").filter(|_| !held.is_empty());
    if let Some(annotations) = metadata.and_then(|metadata| child(metadata, "annotations")) {
        held.into_iter().for_each(|(name, value)| set(annotations, name, value.to_string().into()));
    }
    autoscaler
}

/// The behaviour is written with Go's own names of its fields: `ScaleUp`, `PeriodSeconds`.
fn recased(value: &Value, first: fn(&str) -> String) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|value| recased(value, first)).collect(),
        Value::Object(_) => {
            let renamed = entries(value).filter(|(_, value)| is_set(value)).map(|(name, value)| {
                let (head, tail) = name.split_at(name.chars().next().map_or(0, char::len_utf8));
                (format!("{}{tail}", first(head)), recased(value, first))
            });
            Value::Object(renamed.collect())
        }
        other => other.clone(),
    }
}

fn spec_to_v1(metric: &Value) -> Value {
    flattened(metric, &SPEC_NAMES, "target")
}

fn spec_to_v2(metric: &Value) -> Value {
    let mut metric = nested(metric, &SPEC_NAMES, "target");
    for names in &SPEC_NAMES {
        if let Some(target) = present(&mut metric, names.member).and_then(|source| present(source, "target")) {
            let kind = match (is_set(&target["averageUtilization"]), is_set(&target["averageValue"])) {
                (true, _) => "Utilization",
                (false, true) => "AverageValue",
                (false, false) => "Value",
            };
            set(target, "type", kind.into());
        }
    }
    metric
}

fn status_to_v1(metric: &Value) -> Value {
    flattened(metric, &STATUS_NAMES, "current")
}

fn status_to_v2(metric: &Value) -> Value {
    nested(metric, &STATUS_NAMES, "current")
}

/// `amounts` is where v2 keeps what the flat form has beside: `target` or `current`.
fn flattened(metric: &Value, table: &[Flat], amounts: &str) -> Value {
    let mut flat = json!({ "type": metric["type"] });
    for names in table.iter().filter(|names| is_set(&metric[names.member])) {
        let source = &metric[names.member];
        let selector = if names.member == "external" { "metricSelector" } else { "selector" };
        let fields = [
            ("name", &source["name"]),
            ("container", &source["container"]),
            ("metricName", &source["metric"]["name"]),
            (selector, &source["metric"]["selector"]),
            (names.reference, &source["describedObject"]),
            (names.value, &source[amounts]["value"]),
            (names.average, &source[amounts]["averageValue"]),
            (names.percent, &source[amounts]["averageUtilization"]),
        ];
        let given = fields.into_iter().filter(|(name, value)| !name.is_empty() && is_set(value));
        let mut member: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        // Go prints these even when they are nothing.
        if !names.value.is_empty() {
            member.entry(names.value).or_insert_with(|| "0".into());
        }
        flat[names.member] = Value::Object(member);
    }
    flat
}

fn nested(flat: &Value, table: &[Flat], amounts: &str) -> Value {
    let mut metric = json!({ "type": flat["type"] });
    for names in table.iter().filter(|names| is_set(&flat[names.member])) {
        let source = &flat[names.member];
        let field = |name: &str| if name.is_empty() { Value::Null } else { source[name].clone() };
        let selector = if names.member == "external" { "metricSelector" } else { "selector" };
        // A zero beside an average is what Go prints for no value at all.
        let has_average = is_set(&field(names.average));
        let value = Some(field(names.value)).filter(|value| !(has_average && text(value) == "0")).unwrap_or_default();
        let counted = strip(json!({
            "value": value,
            "averageValue": field(names.average),
            "averageUtilization": field(names.percent),
        }));
        let identity = strip(json!({ "name": field("metricName"), "selector": field(selector) }));
        metric[names.member] = strip(json!({
            "name": field("name"),
            "container": field("container"),
            "metric": if is_empty(&identity) { Value::Null } else { identity },
            "describedObject": field(names.reference),
            amounts: counted,
        }));
    }
    metric
}

fn strip(value: Value) -> Value {
    Value::Object(map(&value).into_iter().filter(|(_, value)| is_set(value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Value {
        json!({
            "metadata": { "name": "a", "annotations": { "own": "x" } },
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    { "type": "Pods", "pods": { "metric": { "name": "hits", "selector": { "matchLabels": { "a": "b" } } },
                        "target": { "type": "AverageValue", "averageValue": "10" } } },
                    { "type": "ContainerResource", "containerResource": { "name": "memory", "container": "c",
                        "target": { "type": "Utilization", "averageUtilization": 70 } } },
                    { "type": "Object", "object": { "describedObject": { "kind": "Ingress", "name": "i" },
                        "metric": { "name": "rps" }, "target": { "type": "Value", "value": "2k" } } },
                    { "type": "External", "external": { "metric": { "name": "queue" },
                        "target": { "type": "AverageValue", "averageValue": "30" } } },
                    { "type": "Resource", "resource": { "name": "cpu",
                        "target": { "type": "Utilization", "averageUtilization": 50 } } },
                ],
                "behavior": { "scaleUp": { "selectPolicy": "Max", "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] } },
            },
            "status": {
                "desiredReplicas": 1,
                "currentMetrics": [{ "type": "Resource", "resource": { "name": "cpu",
                    "current": { "averageUtilization": 12, "averageValue": "30m" } } }],
                "conditions": [{ "type": "AbleToScale", "status": "True" }],
            },
        })
    }

    #[test]
    fn nothing_is_lost_on_the_way_through_v1() {
        assert_eq!(to_v2(to_v1(v2())), v2());
    }

    #[test]
    fn v1_has_the_cpu_target_as_a_field_and_the_rest_in_annotations() {
        let v1 = to_v1(v2());
        assert_eq!(v1["spec"], json!({ "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 }));
        assert_eq!(v1["status"], json!({ "desiredReplicas": 1, "currentCPUUtilizationPercentage": 12 }));
        let annotation = |name: &str| v1["metadata"]["annotations"][name].as_str().unwrap().to_owned();
        expect_test::expect![[
            r#"{"ScaleUp":{"Policies":[{"PeriodSeconds":15,"Type":"Pods","Value":4}],"SelectPolicy":"Max"}}"#
        ]]
        .assert_eq(&annotation(BEHAVIOR));
        expect_test::expect![[r#"[{"pods":{"metricName":"hits","selector":{"matchLabels":{"a":"b"}},"targetAverageValue":"10"},"type":"Pods"},{"containerResource":{"container":"c","name":"memory","targetAverageUtilization":70},"type":"ContainerResource"},{"object":{"metricName":"rps","target":{"kind":"Ingress","name":"i"},"targetValue":"2k"},"type":"Object"},{"external":{"metricName":"queue","targetAverageValue":"30","targetValue":"0"},"type":"External"}]"#]].assert_eq(&annotation(METRICS));
        expect_test::expect![[r#"[{"resource":{"currentAverageUtilization":12,"currentAverageValue":"30m","name":"cpu"},"type":"Resource"}]"#]].assert_eq(&annotation(CURRENT_METRICS));
        expect_test::expect![[r#"[{"status":"True","type":"AbleToScale"}]"#]].assert_eq(&annotation(CONDITIONS));
    }
}
