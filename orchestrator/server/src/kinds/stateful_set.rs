//! StatefulSet: pods with names, an order and claims of their own. Most of its spec may never change.

use serde_json::{Value, json};

use super::json::{child, fill, fill_text, is_set, items_mut, keep, present, set, text};
use super::table::{AGE, NAME, age, containers, count, name, string, wide};
use super::{
    Kind, PLAIN, Problem, SCALE, STATUS, Scope, WITH_SPEC, amounts, keep_status, labels, metadata, names, pod_spec,
    workload,
};

const UPDATABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const FROZEN: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const COUNTERS: [&str; 5] = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];

pub static STATEFUL_SET: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[SCALE, STATUS],
    schema: "io.k8s.api.apps.v1.StatefulSet",
    storage: "apps/statefulsets",
    update: WITH_SPEC,
    defaults: |stateful_set| {
        if let Some(spec) = child(stateful_set, "spec") {
            fill_spec(spec);
        }
        if let Some(status) = child(stateful_set, "status") {
            fill(status, "availableReplicas", 0);
            fill(status, "replicas", 0);
        }
        workload::fill_template(stateful_set);
    },
    prepare_create: |object| set(object, "status", json!({ "availableReplicas": 0, "replicas": 0 })),
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let (mut spec, before) = (new["spec"].clone(), &old["spec"]);
        UPDATABLE.iter().for_each(|field| keep(&mut spec, field, before));
        if spec != *before {
            problems.push(Problem::forbidden("spec", FROZEN));
        }
        problems
    },
    columns: &[
        NAME,
        string("Ready", "Number of the pod with ready state"),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
    ],
    row,
    ..PLAIN
};

fn fill_spec(spec: &mut Value) {
    fill_text(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        if text(&strategy["type"]).is_empty() {
            fill_text(strategy, "type", "RollingUpdate");
            child(strategy, "rollingUpdate");
        }
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = present(strategy, "rollingUpdate")
        {
            fill(rolling, "partition", 0);
            fill(rolling, "maxUnavailable", 1);
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        fill_text(policy, "whenDeleted", "Retain");
        fill_text(policy, "whenScaled", "Retain");
    }
    for claim in items_mut(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1".into());
        set(claim, "kind", "PersistentVolumeClaim".into());
        super::persistent_volume_claim::fill(claim);
    }
}

fn validate(stateful_set: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(stateful_set, Scope::Namespaced, names::label);
    let spec = &stateful_set["spec"];
    match text(&spec["podManagementPolicy"]) {
        "" => problems.push(Problem::required("spec.podManagementPolicy", "")),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            problems.push(Problem::invalid("spec.podManagementPolicy", other, detail));
        }
    }
    problems.extend(validate_strategy(&spec["updateStrategy"]));
    for field in ["whenDeleted", "whenScaled"] {
        let policy = text(&spec["persistentVolumeClaimRetentionPolicy"][field]);
        if !matches!(policy, "Retain" | "Delete") {
            let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
            problems.push(Problem::not_supported(path, policy, &["Retain", "Delete"]));
        }
    }
    problems.extend(["replicas", "minReadySeconds"].iter().filter_map(|field| workload::not_negative(spec, field)));
    if let Some(start) = spec["ordinals"]["start"].as_i64().filter(|start| *start < 0) {
        problems.push(Problem::invalid("spec.ordinals.start", start, "must be greater than or equal to 0"));
    }
    problems.extend(workload::validate_selector(spec, "statefulset"));
    // Volumes of its pods may be claims that do not exist yet, so upstream looks at no more of the template.
    problems.extend(pod_spec::validate_selected(spec, "spec.template"));
    let template = &spec["template"]["metadata"];
    problems.extend(labels::validate(&template["labels"], "spec.template.labels"));
    problems.extend(metadata::validate_annotations(&template["annotations"], "spec.template.annotations"));
    problems.extend(pod_spec::validate_lasting(&spec["template"], "spec.template", "StatefulSet"));
    problems.extend(workload::not_negative(spec, "revisionHistoryLimit"));
    problems.extend(validate_status(&stateful_set["status"]));
    problems
}

fn validate_strategy(strategy: &Value) -> Vec<Problem> {
    let path = "spec.updateStrategy";
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "" => vec![Problem::required(path, "")],
        "OnDelete" if is_set(rolling) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            vec![Problem::invalid(format!("{path}.rollingUpdate"), rolling.clone(), detail)]
        }
        "OnDelete" => Vec::new(),
        "RollingUpdate" => {
            let mut problems = Vec::new();
            if let Some(partition) = rolling["partition"].as_i64().filter(|partition| *partition < 0) {
                let detail = "must be greater than or equal to 0";
                problems.push(Problem::invalid(format!("{path}.rollingUpdate.partition"), partition, detail));
            }
            let (limit, path) = (&rolling["maxUnavailable"], format!("{path}.rollingUpdate.maxUnavailable"));
            if is_set(limit) {
                problems.extend(amounts::validate(limit, &path));
                if amounts::amount(limit) == Some(0) {
                    problems.push(Problem::invalid(path.clone(), limit.clone(), "cannot be 0"));
                }
                problems.extend(amounts::validate_share(limit, &path));
            }
            problems
        }
        _ => vec![Problem::invalid(path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'")],
    }
}

fn validate_status(status: &Value) -> Vec<Problem> {
    let number = |field: &str| count(&status[field]);
    let path = |field: &str| format!("status.{field}");
    let mut problems = Vec::new();
    for field in COUNTERS.into_iter().filter(|field| number(field) < 0) {
        problems.push(Problem::invalid(path(field), number(field), "must be greater than or equal to 0"));
    }
    for field in COUNTERS.into_iter().skip(1).filter(|field| number(field) > number("replicas")) {
        problems.push(Problem::invalid(path(field), number(field), "cannot be greater than status.replicas"));
    }
    if number("availableReplicas") > number("readyReplicas") {
        let (field, detail) = ("availableReplicas", "cannot be greater than status.readyReplicas");
        problems.push(Problem::invalid(path(field), number(field), detail));
    }
    problems
}

fn row(stateful_set: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&stateful_set["spec"], &stateful_set["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(stateful_set),
        format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"])).into(),
        age(stateful_set, now),
        names,
        images,
    ]
}
