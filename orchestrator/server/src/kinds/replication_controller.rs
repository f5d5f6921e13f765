//! ReplicationController, the ancestor of `replica_set.rs`: its selector is a plain map.

use serde_json::{Value, json};

use super::json::{child, entries, fill, is_empty, is_set, map, present, set};
use super::table::{AGE, NAME, age, containers, count, integer, name, wide};
use super::{
    Kind, PLAIN, Problem, SCALE, STATUS, Scope, WITH_SPEC, descriptions, keep_status, labels, metadata, names,
    pod_spec, workload,
};

pub static REPLICATION_CONTROLLER: Kind = Kind {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[SCALE, STATUS],
    schema: "io.k8s.api.core.v1.ReplicationController",
    storage: "replicationcontrollers",
    update: WITH_SPEC,
    defaults,
    prepare_create: |object| set(object, "status", json!({ "replicas": 0 })),
    prepare_update: keep_status,
    validate,
    fields: |controller| vec![("status.replicas", count(&controller["status"]["replicas"]).to_string())],
    field_labels: &["status.replicas"],
    columns: &[
        NAME,
        integer("Desired", descriptions::REPLICA_SET_DESIRED),
        integer("Current", descriptions::REPLICA_SET_CURRENT),
        integer("Ready", descriptions::REPLICA_SET_READY),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", descriptions::REPLICA_SET_SELECTOR),
    ],
    row,
    ..PLAIN
};

/// Labels of the template are the controller's own and its selector, when those are left out.
fn defaults(controller: &mut Value) {
    let labels = map(&controller["spec"]["template"]["metadata"]["labels"]);
    if let Some(spec) = child(controller, "spec") {
        fill(spec, "replicas", 1);
        if !labels.is_empty() && is_empty(&spec["selector"]) {
            set(spec, "selector", Value::Object(labels.clone()));
        }
    }
    if let Some(metadata) = present(controller, "metadata")
        && !labels.is_empty()
        && is_empty(&metadata["labels"])
    {
        set(metadata, "labels", Value::Object(labels));
    }
    if let Some(status) = child(controller, "status") {
        fill(status, "replicas", 0);
    }
    workload::fill_template(controller);
}

fn validate(controller: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(controller, Scope::Namespaced, names::subdomain);
    let spec = &controller["spec"];
    problems.extend(["minReadySeconds"].iter().filter_map(|field| workload::not_negative(spec, field)));
    if is_empty(&spec["selector"]) {
        problems.push(Problem::required("spec.selector", ""));
    }
    match spec.get("replicas").filter(|replicas| is_set(replicas)) {
        None => problems.push(Problem::required("spec.replicas", "")),
        Some(_) => problems.extend(workload::not_negative(spec, "replicas")),
    }
    let template = &spec["template"];
    if !is_set(template) {
        problems.push(Problem::required("spec.template", ""));
        return problems;
    }
    let labels = &template["metadata"]["labels"];
    if !entries(&spec["selector"]).all(|(key, value)| labels.get(key) == Some(value)) {
        let shown = if is_set(labels) { labels.clone() } else { json!({}) };
        let detail = "`selector` does not match template `labels`";
        problems.push(Problem::invalid("spec.template.metadata.labels", shown, detail));
    }
    problems.extend(pod_spec::validate_template(template, "spec.template"));
    problems.extend(pod_spec::validate_lasting(template, "spec.template", "ReplicationController"));
    problems
}

fn row(controller: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&controller["spec"], &controller["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(controller),
        count(&spec["replicas"]).into(),
        count(&status["replicas"]).into(),
        count(&status["readyReplicas"]).into(),
        age(controller, now),
        names,
        images,
        labels::print(&spec["selector"]).into(),
    ]
}
