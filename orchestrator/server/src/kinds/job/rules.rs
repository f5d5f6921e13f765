//! The rules of Jobs, and what of them may change.

use serde_json::{Value, json};

use super::{NAME_LABELS, UID_LABELS};
use super::{policies, progress};
use crate::kinds::json::{is_empty, is_set, items, items_mut, keep, present, set, text};
use crate::kinds::problem::immutable;
use crate::kinds::table::count;
use crate::kinds::{Problem, Scope, labels, metadata, names, pod_spec};

const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const MANY_COMPLETIONS_MAX: i64 = 10_000;
const MANAGER_MAX: usize = 63;
const NOT_NEGATIVE: [&str; 7] = [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];

pub fn validate(job: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(job, Scope::Namespaced, names::subdomain);
    let spec = &job["spec"];
    problems.extend(validate_generated(job));
    problems.extend(validate_spec(spec, "spec"));
    if is_set(&spec["selector"]) {
        problems.extend(labels::validate_selector(&spec["selector"], "spec.selector"));
        problems.extend(pod_spec::validate_selected(spec, "spec.template"));
    } else {
        problems.push(Problem::required("spec.selector", ""));
    }
    if let Some(completions) = spec["completions"].as_i64().filter(|count| *count > 0)
        && spec["completionMode"] == "Indexed"
    {
        let own = text(&job["metadata"]["name"]);
        let longest = format!("{own}-{}", completions - 1);
        if !names::label(&longest).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {longest}");
            problems.push(Problem::invalid("metadata.name", own, &detail));
        }
    }
    problems.extend(validate_status(&job["status"]));
    problems
}

pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    let frozen = |field: &str| immutable(&format!("spec.{field}"), &spec[field], &before[field]);
    if spec["completionMode"] != "Indexed" {
        problems.extend(frozen("completions"));
    } else if spec["completions"] != before["completions"] && spec["completions"] != spec["parallelism"] {
        let detail = "can only be modified in tandem with spec.parallelism";
        problems.push(Problem::invalid("spec.completions", spec["completions"].clone(), detail));
    }
    problems.extend(frozen("selector"));
    problems.extend(immutable("spec.template", &spec["template"], &movable(old, &spec["template"])));
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        problems.extend(frozen(field));
    }
    problems.extend(progress::validate_update(new, old));
    problems
}

/// The old template; where the pods of a suspended job without any will run, and what they may use, may still be decided.
fn movable(old: &Value, new: &Value) -> Value {
    let mut template = old["spec"]["template"].clone();
    let status = &old["status"];
    let rests = !is_set(&status["startTime"]) || has_condition(status, "Suspended");
    if old["spec"]["suspend"] != true || !rests || count(&status["active"]) > 0 {
        return template;
    }
    keep_resources(&mut template, new);
    let affinity = new["spec"]["affinity"].clone();
    if let Some(spec) = present(&mut template, "spec") {
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            keep(spec, field, &new["spec"]);
        }
        let mut kept = if is_set(&spec["affinity"]) { spec["affinity"].clone() } else { json!({}) };
        keep(&mut kept, "nodeAffinity", &affinity);
        match is_empty(&kept) && !is_set(&affinity) {
            true => drop(crate::kinds::json::remove(spec, "affinity")),
            false => set(spec, "affinity", kept),
        }
    }
    if let Some(metadata) = present(&mut template, "metadata") {
        for field in ["annotations", "labels"] {
            keep(metadata, field, &new["metadata"]);
        }
    }
    template
}

/// The resources of the containers that both have, in the same order.
fn keep_resources(template: &mut Value, new: &Value) {
    let Some(spec) = present(template, "spec") else { return };
    for list in ["containers", "initContainers"] {
        let wanted = items(&new["spec"][list]);
        let names = |containers: &[Value]| containers.iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        if names(items(&spec[list])) != names(wanted) {
            continue;
        }
        for (container, wanted) in items_mut(spec, list).zip(wanted) {
            keep(container, "resources", wanted);
        }
    }
}

/// A selector that was not the client's choice is as it was generated.
fn validate_generated(job: &Value) -> Vec<Problem> {
    let spec = &job["spec"];
    if spec["manualSelector"] == true || !is_set(&spec["selector"]) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let (own, uid) = (text(&job["metadata"]["name"]), text(&job["metadata"]["uid"]));
    if uid.is_empty() {
        problems.push(Problem::required("metadata.uid", ""));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let wanted = [(UID_LABELS[1], uid), (NAME_LABELS[1], own), (UID_LABELS[0], uid), (NAME_LABELS[0], own)];
    for (label, value) in wanted {
        let (path, detail) = (format!("spec.template.metadata.labels[{label}]"), format!("must be '{value}'"));
        match labels.get(label) {
            None => problems.push(Problem::required(path, &detail)),
            Some(found) if text(found) != value => problems.push(Problem::invalid(path, labels.clone(), &detail)),
            Some(_) => {}
        }
    }
    let generated: Value = wanted.into_iter().map(|(label, value)| (label.to_owned(), Value::from(value))).collect();
    if !labels::matches(&spec["selector"], &generated) {
        problems.push(Problem::invalid("spec.selector", spec["selector"].clone(), "`selector` not auto-generated"));
    }
    problems
}

/// A JobSpec at `path`, in a Job or in the template of a CronJob; the selector is the Job's affair.
pub fn validate_spec(spec: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    for field in NOT_NEGATIVE {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
            problems.push(Problem::invalid(at(field), number, "must be greater than or equal to 0"));
        }
    }
    if is_set(&spec["maxFailedIndexes"]) && !is_set(&spec["backoffLimitPerIndex"]) {
        problems.push(Problem::required(at("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = spec["managedBy"].as_str() {
        problems.extend(names::domain_prefixed_path(manager, &at("managedBy")));
        if manager.len() > MANAGER_MAX {
            problems.push(Problem::too_long(at("managedBy"), MANAGER_MAX));
        }
    }
    match text(&spec["completionMode"]) {
        "Indexed" => problems.extend(validate_indexed(spec, path)),
        "NonIndexed" | "" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if is_set(&spec[field]) {
                    let detail = "requires indexed completion mode";
                    problems.push(Problem::invalid(at(field), spec[field].clone(), detail));
                }
            }
        }
        other => problems.push(Problem::not_supported(at("completionMode"), other, &["NonIndexed", "Indexed"])),
    }
    problems.extend(policies::validate(spec, path));
    problems.extend(pod_spec::validate_template(&spec["template"], &at("template")));
    problems.extend(validate_restarts(spec, &at("template.spec.restartPolicy")));
    problems
}

fn validate_indexed(spec: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let number = |field: &str| spec[field].as_i64();
    let mut problems = Vec::new();
    let mut at_most = |field: &str, most: i64, detail: String| {
        if let Some(found) = number(field).filter(|found| *found > most) {
            problems.push(Problem::invalid(at(field), found, &detail));
        }
    };
    let when_many = format!(
        "must be less than or equal to {MANY_COMPLETIONS_MAX} when completions are above {COMPLETIONS_SOFT_MAX} and used with backoff limit per index"
    );
    let when_indexed = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
    at_most("parallelism", PARALLELISM_MAX, when_indexed);
    let completions = number("completions");
    at_most(
        "maxFailedIndexes",
        completions.unwrap_or(i64::MAX),
        "must be less than or equal to completions".to_owned(),
    );
    at_most("maxFailedIndexes", FAILED_INDEXES_MAX, format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    let many = completions.is_some_and(|count| count > COMPLETIONS_SOFT_MAX) && is_set(&spec["backoffLimitPerIndex"]);
    if many {
        at_most("parallelism", MANY_COMPLETIONS_MAX, when_many.clone());
        at_most("maxFailedIndexes", MANY_COMPLETIONS_MAX, when_many);
    }
    if completions.is_none() {
        problems.push(Problem::required(at("completions"), "when completion mode is Indexed"));
    }
    if many && number("maxFailedIndexes").is_none() {
        let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
        problems.push(Problem::required(at("maxFailedIndexes"), &detail));
    }
    problems
}

fn validate_restarts(spec: &Value, path: &str) -> Option<Problem> {
    match text(&spec["template"]["spec"]["restartPolicy"]) {
        "" | "Always" => Some(Problem::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if is_set(&spec["podFailurePolicy"]) => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            Some(Problem::invalid(path, "OnFailure", detail))
        }
        "OnFailure" | "Never" => None,
        other => Some(Problem::not_supported(path, other, &["OnFailure", "Never"])),
    }
}

pub fn has_condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn validate_status(status: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        if let Some(number) = status[field].as_i64().filter(|number| *number < 0) {
            let detail = "must be greater than or equal to 0";
            problems.push(Problem::invalid(format!("status.{field}"), number, detail));
        }
    }
    let is = |kind: &str| has_condition(status, kind);
    for (one, other, words) in [
        ("Complete", "Failed", "Complete=True and Failed=true"),
        ("Complete", "FailureTarget", "Complete=True and FailureTarget=true"),
        ("SuccessCriteriaMet", "Failed", "SuccessCriteriaMet=True and Failed=true"),
        ("SuccessCriteriaMet", "FailureTarget", "SuccessCriteriaMet=True and FailureTarget=true"),
    ] {
        if is(one) && is(other) {
            problems.push(Problem::invalid_unshown("status.conditions", &format!("cannot set {words} conditions")));
        }
    }
    if is("Complete") && !is_set(&status["completionTime"]) {
        problems.push(Problem::required("status.completionTime", "completionTime is required for Complete jobs"));
    }
    if is_set(&status["completionTime"]) && !is("Complete") {
        let detail = "cannot set completionTime when there is no Complete=True condition";
        problems.push(Problem::invalid("status.completionTime", status["completionTime"].clone(), detail));
    }
    problems
}
