//! Job: pods that run to completion. Its selector and labels are made here, so that no two jobs share a pod.
//! The rules of its spec are in `job/rules.rs`, those of its policies in `job/policies.rs`, how its
//! status may change in `job/progress.rs`.

mod policies;
mod progress;
mod rules;

pub use rules::validate_spec;

use serde_json::{Value, json};

use super::json::{child, fill, is_empty, is_set, items, keep, map, set, text};
use super::table::{AGE, NAME, age, containers, count, duration, name, seconds, string, wide};
use super::{Kind, PLAIN, STATUS, WITH_SPEC, keep_status, labels, workload};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

pub static JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[STATUS],
    schema: "io.k8s.api.batch.v1.Job",
    storage: "batch/jobs",
    update: WITH_SPEC,
    defaults,
    prepare_create: |job| {
        set(job, "status", json!({}));
        take_labels(job);
        if job["spec"]["manualSelector"] != true {
            generate_selector(job);
        }
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        keep_generated(new, old);
    },
    validate: rules::validate,
    validate_update: rules::validate_update,
    fields: |job| vec![("status.successful", count(&job["status"]["succeeded"]).to_string())],
    field_labels: &["status.successful"],
    columns: &[
        NAME,
        string("Status", "Status of the job."),
        string("Completions", "The number of pods that finished successfully, of those that are wanted."),
        string("Duration", "Time required to complete the job."),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "A label query over pods that should match the pod count."),
    ],
    row,
    ..PLAIN
};

fn defaults(job: &mut Value) {
    take_labels(job);
    child(job, "status");
    if let Some(spec) = child(job, "spec") {
        if !is_set(&spec["completions"]) && !is_set(&spec["parallelism"]) {
            fill(spec, "completions", 1);
        }
        fill(spec, "parallelism", 1);
        let retries = if is_set(&spec["backoffLimitPerIndex"]) { i32::MAX } else { 6 };
        fill(spec, "backoffLimit", retries);
        fill(spec, "completionMode", "NonIndexed");
        fill(spec, "suspend", false);
        let replace = if is_set(&spec["podFailurePolicy"]) { "Failed" } else { "TerminatingOrFailed" };
        fill(spec, "podReplacementPolicy", replace);
        fill(spec, "manualSelector", false);
        fill_policy(spec);
    }
    workload::fill_template(job);
}

/// Conditions that a failure policy looks for are looked for as true.
fn fill_policy(spec: &mut Value) {
    let Some(policy) = super::json::present(spec, "podFailurePolicy") else { return };
    for rule in super::json::items_mut(policy, "rules") {
        for pattern in super::json::items_mut(rule, "onPodConditions") {
            super::json::fill_text(pattern, "status", "True");
        }
    }
}

/// A job without labels has those of its template.
fn take_labels(job: &mut Value) {
    let labels = map(&job["spec"]["template"]["metadata"]["labels"]);
    if !labels.is_empty()
        && is_empty(&job["metadata"]["labels"])
        && let Some(metadata) = super::json::present(job, "metadata")
    {
        set(metadata, "labels", Value::Object(labels));
    }
}

fn generate_selector(job: &mut Value) {
    let (job_name, uid) = (job["metadata"]["name"].clone(), job["metadata"]["uid"].clone());
    let Some(spec) = child(job, "spec") else { return };
    let template = child(spec, "template").and_then(|template| child(template, "metadata"));
    if let Some(labels) = template.and_then(|metadata| child(metadata, "labels")) {
        NAME_LABELS.iter().for_each(|label| fill(labels, label, job_name.clone()));
        UID_LABELS.iter().for_each(|label| fill(labels, label, uid.clone()));
    }
    if let Some(wanted) = child(spec, "selector").and_then(|selector| child(selector, "matchLabels")) {
        fill(wanted, UID_LABELS[0], uid);
    }
}

/// A client that replaces a job with the manifest it was made from means no change of what was generated.
fn keep_generated(new: &mut Value, old: &Value) {
    let Some(spec) = child(new, "spec") else { return };
    if spec["manualSelector"] == true {
        return;
    }
    if !is_set(&spec["selector"]) {
        keep(spec, "selector", &old["spec"]);
    }
    let template = child(spec, "template").and_then(|template| child(template, "metadata"));
    if let Some(labels) = template.and_then(|metadata| child(metadata, "labels")) {
        let before = &old["spec"]["template"]["metadata"]["labels"];
        for label in UID_LABELS.iter().chain(&NAME_LABELS) {
            if let Some(value) = before.get(*label) {
                fill(labels, label, value.clone());
            }
        }
    }
}

fn row(job: &Value, now: i64) -> Vec<Value> {
    let spec = &job["spec"];
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(job),
        state(job).into(),
        completions(job).into(),
        elapsed(&job["status"], now).into(),
        age(job, now),
        names,
        images,
        labels::print_selector(&spec["selector"]).into(),
    ]
}

fn state(job: &Value) -> &'static str {
    let is = |condition: &str| rules::has_condition(&job["status"], condition);
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !text(&job["metadata"]["deletionTimestamp"]).is_empty() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let done = count(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), count(&job["spec"]["parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel @ 2..) => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn elapsed(status: &Value, now: i64) -> String {
    let Some(start) = seconds(&status["startTime"]) else { return String::new() };
    duration(seconds(&status["completionTime"]).unwrap_or(now) - start)
}

/// Names of all containers that pods of a spec have.
fn container_names(spec: &Value) -> Vec<&str> {
    let pod = &spec["template"]["spec"];
    items(&pod["containers"]).iter().chain(items(&pod["initContainers"])).map(|c| text(&c["name"])).collect()
}
