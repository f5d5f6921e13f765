//! DaemonSet: one pod on each node that fits. The template's generation is counted in an annotation.

use serde_json::{Value, json};

use super::json::{child, fill, fill_text, is_set, present, set, text};
use super::table::{AGE, NAME, age, containers, count, integer, name, string, wide};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, amounts, keep_status, labels, metadata, names, pod_spec, problem,
    workload,
};

/// Counts that are told even when they are zero.
const COUNTERS: [&str; 4] = ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub static DAEMON_SET: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[STATUS],
    schema: "io.k8s.api.apps.v1.DaemonSet",
    storage: "apps/daemonsets",
    update: WITH_SPEC,
    defaults: |daemon_set| {
        if let Some(spec) = child(daemon_set, "spec") {
            fill_spec(spec);
        }
        if let Some(status) = child(daemon_set, "status") {
            COUNTERS.iter().for_each(|field| fill(status, field, 0));
        }
        workload::fill_template(daemon_set);
    },
    prepare_create: |daemon_set| {
        let zeros: Value = COUNTERS.iter().map(|field| ((*field).to_owned(), json!(0))).collect();
        set(daemon_set, "status", zeros);
        let given = template_generation(daemon_set);
        set_template_generation(daemon_set, given.max(1));
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        let (mut template, mut before) = (new.clone(), old.clone());
        workload::fill_template(&mut template);
        workload::fill_template(&mut before);
        let is_changed = template["spec"]["template"] != before["spec"]["template"];
        set_template_generation(new, template_generation(old) + i64::from(is_changed));
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(problem::immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"]));
        problems
    },
    columns: &[
        NAME,
        integer("Desired", "The total number of nodes that should be running the daemon pod."),
        integer("Current", "The number of nodes that are running at least 1 daemon pod and are supposed to."),
        integer("Ready", "The number of nodes that should run the daemon pod and have one of them ready."),
        integer("Up-to-date", "The total number of nodes that are running an updated daemon pod."),
        integer("Available", "The number of nodes that should run the daemon pod and have one of them available."),
        string("Node Selector", "Labels that a node must have for the pod to fit on it."),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "A label query over pods that are managed by the daemon set."),
    ],
    row,
    ..PLAIN
};

fn fill_spec(spec: &mut Value) {
    fill(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = child(spec, "updateStrategy") else { return };
    fill_text(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
}

fn template_generation(daemon_set: &Value) -> i64 {
    text(&daemon_set["metadata"]["annotations"][TEMPLATE_GENERATION]).parse().unwrap_or(0)
}

fn set_template_generation(daemon_set: &mut Value, generation: i64) {
    let metadata = present(daemon_set, "metadata").and_then(|metadata| child(metadata, "annotations"));
    if let Some(annotations) = metadata {
        set(annotations, TEMPLATE_GENERATION, generation.to_string().into());
    }
}

fn validate(daemon_set: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(daemon_set, Scope::Namespaced, names::subdomain);
    let spec = &daemon_set["spec"];
    problems.extend(workload::validate_selector(spec, "daemonset"));
    problems.extend(pod_spec::validate_selected(spec, "spec.template"));
    problems.extend(pod_spec::validate_template(&spec["template"], "spec.template"));
    problems.extend(pod_spec::validate_lasting(&spec["template"], "spec.template", "DaemonSet"));
    problems.extend(workload::not_negative(spec, "minReadySeconds"));
    problems.extend(validate_strategy(&spec["updateStrategy"]));
    problems.extend(workload::not_negative(spec, "revisionHistoryLimit"));
    problems
}

fn validate_strategy(strategy: &Value) -> Vec<Problem> {
    let path = "spec.updateStrategy";
    match text(&strategy["type"]) {
        "OnDelete" => Vec::new(),
        "RollingUpdate" if !is_set(&strategy["rollingUpdate"]) => {
            vec![Problem::required(format!("{path}.rollingUpdate"), "")]
        }
        "RollingUpdate" => validate_rolling(&strategy["rollingUpdate"]),
        other => vec![Problem::not_supported(path, other, &["RollingUpdate", "OnDelete"])],
    }
}

fn validate_rolling(rolling: &Value) -> Vec<Problem> {
    let fields = ["maxUnavailable", "maxSurge"];
    let path = |field: &str| format!("spec.updateStrategy.rollingUpdate.{field}");
    let mut problems: Vec<Problem> =
        fields.iter().filter_map(|field| amounts::validate(&rolling[*field], &path(field))).collect();
    problems.extend(fields.iter().filter_map(|field| amounts::validate_share(&rolling[*field], &path(field))));
    let is_some = |field: &str| amounts::amount(&rolling[field]) != Some(0);
    match (is_some("maxUnavailable"), is_some("maxSurge")) {
        (true, true) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            problems.push(Problem::invalid(path("maxSurge"), rolling["maxSurge"].clone(), detail));
        }
        (false, false) => problems.push(Problem::required(path("maxUnavailable"), "cannot be 0 when maxSurge is 0")),
        _ => {}
    }
    problems
}

fn row(daemon_set: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&daemon_set["spec"], &daemon_set["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    let counted = |field: &str| Value::from(count(&status[field]));
    vec![
        name(daemon_set),
        counted("desiredNumberScheduled"),
        counted("currentNumberScheduled"),
        counted("numberReady"),
        counted("updatedNumberScheduled"),
        counted("numberAvailable"),
        labels::print(&spec["template"]["spec"]["nodeSelector"]).into(),
        age(daemon_set, now),
        names,
        images,
        labels::print_selector(&spec["selector"]).into(),
    ]
}
