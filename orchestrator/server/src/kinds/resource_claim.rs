//! ResourceClaim and its template: what devices a pod asks for, and what it got.

use std::collections::HashSet;

use serde_json::Value;

use super::json::{is_empty, is_set, items, present, text};
use super::problem::immutable;
use super::table::{AGE, NAME, age, name, string};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, device, drop_status, keep_status, labels, metadata, names,
};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const PLAIN_UPDATE: UpdateRules = UpdateRules { unconditional: true, creates: false, generation: false };

pub static RESOURCE_CLAIM: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    subresources: &[STATUS],
    schema: "io.k8s.api.resource.v1.ResourceClaim",
    storage: "resource.k8s.io/resourceclaims",
    update: PLAIN_UPDATE,
    defaults: |claim| {
        if let Some(devices) = present(claim, "spec").and_then(|spec| present(spec, "devices")) {
            device::default_requests(devices);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |claim| {
        let mut problems = metadata::validate(claim, Scope::Namespaced, names::subdomain);
        problems.extend(device::validate_claim(&claim["spec"]["devices"], "spec.devices"));
        problems.extend(validate_status(claim));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec", &new["spec"], &old["spec"]));
        let (now, before) = (&new["status"]["allocation"], &old["status"]["allocation"]);
        if is_set(now) && is_set(before) {
            problems.extend(immutable("status.allocation", now, before));
        }
        if is_set(&new["metadata"]["deletionTimestamp"]) && gains_consumer(new, old) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            problems.push(Problem::forbidden("status.reservedFor", detail));
        }
        problems
    },
    columns: &[NAME, string("State", "A summary of the current state (allocated, pending, reserved, etc.)."), AGE],
    row: |claim, now| vec![name(claim), state(claim).into(), age(claim, now)],
    ..PLAIN
};

pub static RESOURCE_CLAIM_TEMPLATE: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    schema: "io.k8s.api.resource.v1.ResourceClaimTemplate",
    storage: "resource.k8s.io/resourceclaimtemplates",
    update: PLAIN_UPDATE,
    defaults: |template| {
        let spec = present(template, "spec").and_then(|spec| present(spec, "spec"));
        if let Some(devices) = spec.and_then(|spec| present(spec, "devices")) {
            device::default_requests(devices);
        }
    },
    validate: |template| {
        let mut problems = metadata::validate(template, Scope::Namespaced, names::subdomain);
        let inner = &template["spec"];
        problems.extend(labels::validate(&inner["metadata"]["labels"], "spec.metadata.labels"));
        let annotations = &inner["metadata"]["annotations"];
        problems.extend(metadata::validate_annotations(annotations, "spec.metadata.annotations"));
        problems.extend(device::validate_claim(&inner["spec"]["devices"], "spec.spec.devices"));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec", &new["spec"], &old["spec"]));
        problems
    },
    columns: &[NAME, AGE],
    row: |template, now| vec![name(template), age(template, now)],
    ..PLAIN
};

fn state(claim: &Value) -> String {
    let deleted = is_set(&claim["metadata"]["deletionTimestamp"]);
    let allocated = is_set(&claim["status"]["allocation"]);
    let reserved = allocated && !is_empty(&claim["status"]["reservedFor"]);
    let words =
        [(deleted, "deleted"), (!deleted && !allocated, "pending"), (allocated, "allocated"), (reserved, "reserved")];
    words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

fn gains_consumer(new: &Value, old: &Value) -> bool {
    let before = items(&old["status"]["reservedFor"]);
    items(&new["status"]["reservedFor"]).iter().any(|consumer| !before.contains(consumer))
}

fn validate_status(claim: &Value) -> Vec<Problem> {
    let status = &claim["status"];
    let mut seen = HashSet::new();
    let field = "status.reservedFor";
    let mut problems = device::each(&status["reservedFor"], field, CONSUMERS_MAX, |consumer, path| {
        let missing = ["resource", "name", "uid"].into_iter().filter(|field| is_empty(&consumer[*field]));
        let mut problems: Vec<Problem> =
            missing.map(|field| Problem::required(format!("{path}.{field}"), "")).collect();
        let uid = text(&consumer["uid"]);
        if !seen.insert(uid.to_owned()) {
            problems.push(Problem::duplicate(path, uid));
        }
        problems
    });
    if !is_empty(&status["reservedFor"]) && !is_set(&status["allocation"]) {
        problems.push(Problem::forbidden(field, "may not be specified when `allocated` is not set"));
    }
    if is_set(&status["allocation"]) {
        problems.extend(validate_allocation(&status["allocation"]["devices"], &claim["spec"]["devices"]));
    }
    problems
}

fn validate_allocation(allocation: &Value, asked: &Value) -> Vec<Problem> {
    const PATH: &str = "status.allocation.devices";
    let known = device::request_names(asked);
    let mut problems = device::each(&allocation["results"], &format!("{PATH}.results"), RESULTS_MAX, |result, path| {
        let own = |field: &str| (text(&result[field]), format!("{path}.{field}"));
        let (request, field) = own("request");
        let mut problems = device::validate_reference(request, &field, &known);
        let (driver, field) = own("driver");
        problems.extend(device::validate_driver(driver, &field));
        let (pool, field) = own("pool");
        problems.extend(device::validate_pool(pool, &field));
        let (name, field) = own("device");
        problems.extend(device::validate_device_name(name, &field));
        problems
    });
    problems.extend(device::each(&allocation["config"], &format!("{PATH}.config"), 2 * RESULTS_MAX, |config, path| {
        let field = format!("{path}.source");
        let mut problems = match text(&config["source"]) {
            "" => vec![Problem::required(field, "")],
            "FromClaim" | "FromClass" => Vec::new(),
            other => vec![Problem::not_supported(field, other, &["FromClaim", "FromClass"])],
        };
        problems.extend(device::validate_references(&config["requests"], path, &known));
        problems.extend(device::validate_configuration(config, path));
        problems
    }));
    problems
}
