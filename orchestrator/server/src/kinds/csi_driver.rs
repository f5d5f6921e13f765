//! CSIDriver: what a storage driver of the cluster can do.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::json::{fill, is_empty, is_set, items, present, set, text};
use super::problem::immutable;
use super::table::{AGE, NAME, age, boolean, name, string};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, metadata, names};

const GROUP_POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
const MODES: [&str; 2] = ["Persistent", "Ephemeral"];
const TOKEN_SECONDS_MIN: i64 = 600;
const PERIOD_SECONDS_MIN: i64 = 10;

pub static CSI_DRIVER: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.CSIDriver",
    storage: "storage.k8s.io/csidrivers",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    defaults: |driver| {
        let Some(spec) = present(driver, "spec") else { return };
        fill(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            fill(spec, field, false);
        }
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if is_empty(&spec["volumeLifecycleModes"]) {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let (spec, before) = (&new["spec"], &old["spec"]);
        problems.extend(immutable("spec.attachedRequired", &spec["attachRequired"], &before["attachRequired"]));
        let (modes, was) = (&spec["volumeLifecycleModes"], &before["volumeLifecycleModes"]);
        problems.extend(immutable("spec.volumeLifecycleModes", modes, was));
        problems
    },
    columns: &[
        NAME,
        boolean("AttachRequired", "Whether volumes of the driver must be attached before they are mounted."),
        boolean("PodInfoOnMount", "Whether the driver wants to know of the pod when it mounts."),
        boolean("StorageCapacity", "Whether the scheduler looks at the capacity that the driver reports."),
        string("TokenRequests", "The audiences of the tokens that the driver wants."),
        boolean("RequiresRepublish", "Whether the driver wants to be called again and again."),
        string("Modes", "What kinds of volumes the driver has."),
        AGE,
    ],
    row,
    ..PLAIN
};

fn validate(driver: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(driver, Scope::Cluster, names::subdomain);
    let spec = &driver["spec"];
    // The path of the first is upstream's misspelling.
    for (field, path) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if !is_set(&spec[field]) {
            problems.push(Problem::required(format!("spec.{path}"), ""));
        }
    }
    let policy = text(&spec["fsGroupPolicy"]);
    if is_set(&spec["fsGroupPolicy"]) && !GROUP_POLICIES.contains(&policy) {
        problems.push(Problem::not_supported("spec.fsGroupPolicy", policy, &GROUP_POLICIES));
    }
    problems.extend(validate_tokens(items(&spec["tokenRequests"])));
    for mode in items(&spec["volumeLifecycleModes"]).iter().map(text).filter(|mode| !MODES.contains(mode)) {
        problems.push(Problem::not_supported("spec.volumeLifecycleModes", mode, &MODES));
    }
    let period = &spec["nodeAllocatableUpdatePeriodSeconds"];
    if period.as_i64().is_some_and(|seconds| seconds < PERIOD_SECONDS_MIN) {
        let detail = "must be greater than or equal to 10 seconds";
        problems.push(Problem::invalid("spec.nodeAllocatableUpdatePeriodSeconds", period.clone(), detail));
    }
    problems
}

fn validate_tokens(requests: &[Value]) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let path = format!("spec.tokenRequests[{index}]");
        let audience = text(&request["audience"]);
        if !seen.insert(audience) {
            problems.push(Problem::duplicate(format!("{path}.audience"), audience));
            continue;
        }
        let Some(seconds) = request["expirationSeconds"].as_i64() else { continue };
        let detail = match seconds {
            ..TOKEN_SECONDS_MIN => "may not specify a duration less than 10 minutes",
            4_294_967_297.. => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        problems.push(Problem::invalid(format!("{path}.expirationSeconds"), seconds, detail));
    }
    problems
}

fn row(driver: &Value, now: i64) -> Vec<Value> {
    let spec = &driver["spec"];
    let joined = |list: &Value, member: &dyn Fn(&Value) -> String| -> String {
        items(list).iter().map(member).collect::<Vec<_>>().join(",")
    };
    let tokens = match is_set(&spec["tokenRequests"]) {
        true => joined(&spec["tokenRequests"], &|request| text(&request["audience"]).to_owned()),
        false => "<unset>".to_owned(),
    };
    let modes = joined(&spec["volumeLifecycleModes"], &|mode| text(mode).to_owned());
    vec![
        name(driver),
        (spec["attachRequired"] != false).into(),
        (spec["podInfoOnMount"] == true).into(),
        (spec["storageCapacity"] == true).into(),
        tokens.into(),
        (spec["requiresRepublish"] == true).into(),
        if modes.is_empty() { "<none>".into() } else { modes.into() },
        age(driver, now),
    ]
}
