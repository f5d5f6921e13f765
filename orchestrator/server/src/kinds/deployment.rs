//! Deployment.

use serde_json::{Value, json};

use super::json::{child, fill, fill_text, is_set, text};
use super::table::{AGE, NAME, age, containers, count, name, string, wide};
use super::{
    Kind, PLAIN, Problem, SCALE, STATUS, WITH_SPEC, amounts, descriptions, drop_status, keep_status, labels, pod_spec,
    workload,
};

pub static DEPLOYMENT: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[SCALE, STATUS],
    schema: "io.k8s.api.apps.v1.Deployment",
    storage: "apps/deployments",
    update: WITH_SPEC,
    defaults: |deployment| {
        if let Some(spec) = child(deployment, "spec") {
            fill_spec(spec);
        }
        child(deployment, "status");
        workload::fill_template(deployment);
    },
    prepare_create: |deployment| {
        drop_status(deployment);
        child(deployment, "status");
    },
    prepare_update: keep_status,
    validate,
    validate_update: workload::validate_update,
    columns: &[
        NAME,
        string("Ready", "Number of the pod with ready state"),
        string("Up-to-date", descriptions::DEPLOYMENT_UPDATED),
        string("Available", descriptions::DEPLOYMENT_AVAILABLE),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", descriptions::DEPLOYMENT_SELECTOR),
    ],
    row,
    ..PLAIN
};

fn fill_spec(spec: &mut Value) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let Some(strategy) = child(spec, "strategy") else { return };
    fill_text(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        fill(rolling, "maxUnavailable", json!("25%"));
        fill(rolling, "maxSurge", json!("25%"));
    }
}

fn validate(deployment: &Value) -> Vec<Problem> {
    let mut problems = workload::validate(deployment);
    let spec = &deployment["spec"];
    problems.extend(pod_spec::validate_selected_template(spec, "spec.template"));
    problems.extend(validate_strategy(&spec["strategy"]));
    problems.extend(workload::not_negative(spec, "revisionHistoryLimit"));
    problems.extend(workload::not_negative(spec, "progressDeadlineSeconds"));
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64()
        && deadline <= count(&spec["minReadySeconds"])
    {
        let detail = "must be greater than minReadySeconds";
        problems.push(Problem::invalid("spec.progressDeadlineSeconds", deadline, detail));
    }
    problems
}

fn validate_strategy(strategy: &Value) -> Vec<Problem> {
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "Recreate" if is_set(rolling) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            vec![Problem::forbidden("spec.strategy.rollingUpdate", detail)]
        }
        "Recreate" => Vec::new(),
        "RollingUpdate" => validate_rolling(rolling),
        other => vec![Problem::not_supported("spec.strategy.type", other, &["Recreate", "RollingUpdate"])],
    }
}

fn validate_rolling(rolling: &Value) -> Vec<Problem> {
    let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
    let mut problems = Vec::new();
    for field in ["maxUnavailable", "maxSurge"] {
        problems.extend(amounts::validate(&rolling[field], &path(field)));
    }
    problems.extend(amounts::validate_share(&rolling["maxUnavailable"], &path("maxUnavailable")));
    let is_none = |field: &str| amounts::amount(&rolling[field]) == Some(0);
    if problems.is_empty() && is_none("maxUnavailable") && is_none("maxSurge") {
        let value = rolling["maxUnavailable"].clone();
        problems.push(Problem::invalid(path("maxUnavailable"), value, "may not be 0 when `maxSurge` is 0"));
    }
    problems
}

fn row(deployment: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(deployment),
        format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"])).into(),
        count(&status["updatedReplicas"]).into(),
        count(&status["availableReplicas"]).into(),
        age(deployment, now),
        names,
        images,
        labels::print_selector(&spec["selector"]).into(),
    ]
}
