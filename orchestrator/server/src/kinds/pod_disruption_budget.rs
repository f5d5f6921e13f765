//! PodDisruptionBudget: how many pods must stay up, or may be down. Evictions ask it (`subresources/eviction.rs`).

use serde_json::{Value, json};

use super::json::{child, is_set, scalar, set, text};
use super::table::{AGE, NAME, age, count, integer, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, amounts, keep_status, labels, metadata, names};

const COUNTERS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
const POLICIES: [&str; 2] = ["AlwaysAllow", "IfHealthyBudget"];

pub static POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[STATUS],
    schema: "io.k8s.api.policy.v1.PodDisruptionBudget",
    storage: "policy/poddisruptionbudgets",
    update: UpdateRules { unconditional: false, creates: false, generation: true },
    defaults: |budget| {
        child(budget, "spec");
    },
    prepare_create: |budget| {
        let zeros: Value = COUNTERS.iter().map(|field| ((*field).to_owned(), json!(0))).collect();
        set(budget, "status", zeros);
    },
    prepare_update: keep_status,
    validate,
    columns: &[
        NAME,
        string("Min Available", "The minimum number of pods that must be available."),
        string("Max Unavailable", "The maximum number of pods that may be unavailable."),
        integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
        AGE,
    ],
    row: |budget, now| {
        let spec = &budget["spec"];
        let amount =
            |field: &str| -> Value { if is_set(&spec[field]) { scalar(&spec[field]).into() } else { "N/A".into() } };
        vec![
            name(budget),
            amount("minAvailable"),
            amount("maxUnavailable"),
            count(&budget["status"]["disruptionsAllowed"]).into(),
            age(budget, now),
        ]
    },
    ..PLAIN
};

fn validate(budget: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(budget, Scope::Namespaced, names::subdomain);
    let (spec, status) = (&budget["spec"], &budget["status"]);
    if is_set(&spec["minAvailable"]) && is_set(&spec["maxUnavailable"]) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        problems.push(Problem::invalid("spec", spec.clone(), detail));
    }
    for field in ["minAvailable", "maxUnavailable"].into_iter().filter(|field| is_set(&spec[*field])) {
        let path = format!("spec.{field}");
        problems.extend(amounts::validate(&spec[field], &path));
        problems.extend(amounts::validate_share(&spec[field], &path));
    }
    problems.extend(labels::validate_selector(&spec["selector"], "spec.selector"));
    let policy = text(&spec["unhealthyPodEvictionPolicy"]);
    if is_set(&spec["unhealthyPodEvictionPolicy"]) && !POLICIES.contains(&policy) {
        problems.push(Problem::not_supported("spec.unhealthyPodEvictionPolicy", policy, &POLICIES));
    }
    for field in COUNTERS {
        if let Some(number) = status[field].as_i64().filter(|number| *number < 0) {
            let detail = "must be greater than or equal to 0";
            problems.push(Problem::invalid(format!("status.{field}"), number, detail));
        }
    }
    problems
}
