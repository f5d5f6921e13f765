//! ReplicaSet.

use serde_json::{Value, json};

use super::json::{child, fill, set};
use super::table::{AGE, NAME, age, containers, count, integer, name, wide};
use super::{Kind, PLAIN, SCALE, STATUS, WITH_SPEC, descriptions, keep_status, labels, pod_spec, workload};

pub static REPLICA_SET: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[SCALE, STATUS],
    schema: "io.k8s.api.apps.v1.ReplicaSet",
    storage: "apps/replicasets",
    update: WITH_SPEC,
    defaults: |set| {
        if let Some(spec) = child(set, "spec") {
            fill(spec, "replicas", 1);
        }
        if let Some(status) = child(set, "status") {
            fill(status, "replicas", 0);
        }
        workload::fill_template(set);
    },
    prepare_create: |object| set(object, "status", json!({ "replicas": 0 })),
    prepare_update: keep_status,
    validate: |set| {
        let mut problems = workload::validate(set);
        problems.extend(pod_spec::validate_selected_template(&set["spec"], "spec.template"));
        problems
    },
    validate_update: workload::validate_update,
    fields: |set| vec![("status.replicas", count(&set["status"]["replicas"]).to_string())],
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

fn row(set: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(set),
        count(&spec["replicas"]).into(),
        count(&status["replicas"]).into(),
        count(&status["readyReplicas"]).into(),
        age(set, now),
        names,
        images,
        labels::print_selector(&spec["selector"]).into(),
    ]
}
