//! StorageVersionMigration: every object of a resource is to be written anew.

use serde_json::Value;

use super::json::{is_empty, text};
use super::problem::IMMUTABLE;
use super::table::{NAME, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, conditions, drop_status, keep_status, metadata, names};

pub static STORAGE_VERSION_MIGRATION: Kind = Kind {
    group: "storagemigration.k8s.io",
    kind: "StorageVersionMigration",
    plural: "storageversionmigrations",
    singular: "storageversionmigration",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.storagemigration.v1.StorageVersionMigration",
    storage: "storagemigration.k8s.io/storageversionmigrations",
    update: UpdateRules { unconditional: false, creates: false, generation: true },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |migration| {
        let mut problems = metadata::validate(migration, Scope::Cluster, names::subdomain);
        if is_empty(&migration["spec"]["resource"]["resource"]) {
            problems.push(Problem::required("spec.resource.resource", "resource is required"));
        }
        problems.extend(conditions::validate(&migration["status"]["conditions"], "status.conditions"));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        for field in ["group", "resource"] {
            let (now, before) = (&new["spec"]["resource"][field], &old["spec"]["resource"][field]);
            if text(now) != text(before) {
                problems.push(Problem::invalid(field, text(now), IMMUTABLE));
            }
        }
        problems.extend(validate_status(&new["status"], &old["status"]));
        problems
    },
    columns: &[NAME, string("Resource", "Fully qualified resource to migrate")],
    row: |migration, _| {
        let resource = &migration["spec"]["resource"];
        let shown = match text(&resource["group"]) {
            "" => text(&resource["resource"]).to_owned(),
            group => format!("{}.{group}", text(&resource["resource"])),
        };
        vec![name(migration), shown.into()]
    },
    ..PLAIN
};

fn validate_status(new: &Value, old: &Value) -> Vec<Problem> {
    const PATH: &str = "status.conditions";
    let mut problems = Vec::new();
    let (now, before) = (text(&new["resourceVersion"]), text(&old["resourceVersion"]));
    if !now.is_empty() && now.parse::<u64>().is_err() {
        let detail = format!("failed to parse resource version {now:?}: invalid syntax");
        problems.push(Problem::invalid("status.resourceVersion", now, &detail));
    }
    if !before.is_empty() && now != before {
        problems.push(Problem::invalid("status.resourceVersion", now, "cannot be updated"));
    }
    let is = |status: &Value, kind: &str| conditions::is_true(status, kind);
    let (succeeded, failed, running) = (is(new, "Succeeded"), is(new, "Failed"), is(new, "Running"));
    let rules = [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (is(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (is(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    problems.extend(broken.map(|(_, detail)| Problem::invalid(PATH, new["conditions"].clone(), detail)));
    problems
}
