//! Pod. Its spec is shared with templates (`pod_spec.rs`); the row is in `pod/row.rs`, what may change in `pod/change.rs`,
//! by its subresources in `pod/resize.rs` and `pod/ephemeral.rs`.

mod change;
pub mod ephemeral;
pub mod resize;
mod row;

use serde_json::{Value, json};

use super::json::{child, fill, is_empty, present, set, text};
use super::table::{AGE, NAME, string, wide};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, Subresource, WITH_SPEC, descriptions, keep_status, metadata, names, pod_spec,
    proxy,
};

const LABELS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

/// A connection into a pod; `kind` is that of its options.
const fn stream(name: &'static str, kind: &'static str) -> Subresource {
    Subresource { name, verbs: &["create", "get"], kind: Some(("", "v1", kind)) }
}

pub static POD: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        stream("attach", "PodAttachOptions"),
        Subresource { name: "binding", verbs: &["create"], kind: Some(("", "v1", "Binding")) },
        Subresource { name: "ephemeralcontainers", verbs: &["get", "patch", "update"], kind: None },
        Subresource { name: "eviction", verbs: &["create"], kind: Some(("policy", "v1", "Eviction")) },
        stream("exec", "PodExecOptions"),
        Subresource { name: "log", verbs: &["get"], kind: None },
        stream("portforward", "PodPortForwardOptions"),
        proxy("PodProxyOptions"),
        Subresource { name: "resize", verbs: &["get", "patch", "update"], kind: None },
        STATUS,
    ],
    schema: "io.k8s.api.core.v1.Pod",
    storage: "pods",
    update: WITH_SPEC,
    defaults: |pod| {
        if let Some(spec) = present(pod, "spec") {
            pod_spec::fill_spec(spec);
            pod_spec::fill_pod(spec);
        }
        if let Some(status) = child(pod, "status") {
            fill(status, "phase", "Pending");
        }
    },
    prepare_create,
    prepare_update: keep_status,
    validate,
    validate_update: change::validate,
    fields,
    field_labels: LABELS,
    columns: &[
        NAME,
        string("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        string("Status", "The aggregate status of the containers in this pod."),
        string(
            "Restarts",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        ),
        AGE,
        wide("IP", descriptions::POD_IP),
        wide("Node", descriptions::POD_NODE),
        wide("Nominated Node", descriptions::POD_NOMINATED_NODE),
        wide("Readiness Gates", descriptions::POD_READINESS_GATES),
    ],
    row: row::row,
    ..PLAIN
};

fn prepare_create(pod: &mut Value) {
    let mut status = json!({ "phase": "Pending", "qosClass": pod_spec::qos_class(&pod["spec"]) });
    if !is_empty(&pod["spec"]["schedulingGates"]) {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    set(pod, "status", status);
}

fn validate(pod: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(pod, Scope::Namespaced, names::subdomain);
    problems.extend(pod_spec::validate(&pod["spec"], "spec"));
    problems.extend(ephemeral::validate(&pod["spec"]));
    problems
}

fn fields(pod: &Value) -> Vec<(&'static str, String)> {
    let value = |label: &&'static str| {
        let found = match *label {
            "spec.hostNetwork" => (pod["spec"]["hostNetwork"] == true).to_string(),
            "status.podIPs" => text(&pod["status"]["podIP"]).to_owned(),
            path => text(path.split('.').fold(pod, |value, part| &value[part])).to_owned(),
        };
        (*label, found)
    };
    LABELS.iter().map(value).collect()
}
