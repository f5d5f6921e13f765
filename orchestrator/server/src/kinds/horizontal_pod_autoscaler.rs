//! HorizontalPodAutoscaler: how many pods a workload gets, by what they use. Two versions of one stored object:
//! v2 lies in the store, v1 is made from it and back in `horizontal_pod_autoscaler/versions.rs`.

mod cells;
mod rules;
pub mod versions;

use serde_json::{Value, json};

use super::json::{child, fill, is_empty, is_set, keep, present, remove, set};
use super::table::{AGE, NAME, string};
use super::{Column, Kind, PLAIN, STATUS, keep_status};

const USUAL_CPU_PERCENT: i64 = 80;

const COLUMNS: &[Column] = &[
    NAME,
    string("Reference", "The workload that is scaled."),
    string("Targets", "What is measured, and what it should be."),
    string("MinPods", "The lower limit for the number of replicas."),
    string("MaxPods", "The upper limit for the number of replicas."),
    string("Replicas", "The number of replicas as last seen."),
    AGE,
];

pub static AUTOSCALER_V1: Kind = Kind {
    version: "v1",
    schema: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    defaults: |autoscaler| {
        let mut whole = versions::to_v2(std::mem::take(autoscaler));
        defaults(&mut whole);
        *autoscaler = versions::to_v1(whole);
    },
    prepare_create: |autoscaler| {
        set(autoscaler, "status", json!({}));
        annotations(autoscaler, |annotations| {
            versions::STATUS_ANNOTATIONS.iter().for_each(|annotation| drop(remove(annotations, annotation)));
        });
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        let before = old["metadata"]["annotations"].clone();
        annotations(new, |annotations| {
            versions::STATUS_ANNOTATIONS.iter().for_each(|annotation| keep(annotations, annotation, &before));
        });
    },
    validate: |autoscaler| rules::validate(&versions::to_v2(autoscaler.clone())),
    row: |autoscaler, now| cells::row(&versions::to_v2(autoscaler.clone()), now),
    ..AUTOSCALER
};

pub static AUTOSCALER_V2: Kind = Kind {
    version: "v2",
    schema: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    defaults,
    prepare_create: |autoscaler| set(autoscaler, "status", json!({})),
    prepare_update: keep_status,
    validate: rules::validate,
    row: cells::row,
    ..AUTOSCALER
};

/// What the versions share.
const AUTOSCALER: Kind = Kind {
    group: "autoscaling",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[STATUS],
    storage: "autoscaling/horizontalpodautoscalers",
    columns: COLUMNS,
    ..PLAIN
};

fn annotations(autoscaler: &mut Value, change: impl FnOnce(&mut Value)) {
    let metadata = present(autoscaler, "metadata");
    if let Some(metadata) = metadata {
        if let Some(annotations) = child(metadata, "annotations") {
            change(annotations);
        }
        if is_empty(&metadata["annotations"]) {
            remove(metadata, "annotations");
        }
    }
}

fn defaults(autoscaler: &mut Value) {
    child(autoscaler, "status");
    let Some(spec) = child(autoscaler, "spec") else { return };
    fill(spec, "minReplicas", 1);
    if is_empty(&spec["metrics"]) {
        let target = json!({ "type": "Utilization", "averageUtilization": USUAL_CPU_PERCENT });
        set(spec, "metrics", json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]));
    }
    let Some(behavior) = present(spec, "behavior") else { return };
    fill_rules(
        behavior,
        "scaleUp",
        &json!({
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                { "type": "Pods", "value": 4, "periodSeconds": 15 },
                { "type": "Percent", "value": 100, "periodSeconds": 15 },
            ],
        }),
    );
    let down = json!({ "selectPolicy": "Max", "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] });
    fill_rules(behavior, "scaleDown", &down);
}

fn fill_rules(behavior: &mut Value, direction: &str, usual: &Value) {
    let Some(rules) = child(behavior, direction) else { return };
    for field in ["stabilizationWindowSeconds", "selectPolicy", "policies"] {
        if is_set(&usual[field]) {
            fill(rules, field, usual[field].clone());
        }
    }
}
