//! Lease: who holds what, and until when.

use super::json::text;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, descriptions, metadata, names};

pub static LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "io.k8s.api.coordination.v1.Lease",
    storage: "coordination.k8s.io/leases",
    update: UpdateRules { unconditional: false, creates: true, generation: false },
    validate: |lease| {
        let mut problems = metadata::validate_plain(lease, Scope::Namespaced, names::subdomain);
        let spec = &lease["spec"];
        if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
            problems.push(Problem::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
        }
        if let Some(times) = spec["leaseTransitions"].as_i64().filter(|times| *times < 0) {
            let detail = "must be greater than or equal to 0";
            problems.push(Problem::invalid("spec.leaseTransitions", times, detail));
        }
        problems
    },
    columns: &[NAME, string("Holder", descriptions::LEASE_HOLDER), AGE],
    row: |lease, now| vec![name(lease), text(&lease["spec"]["holderIdentity"]).into(), age(lease, now)],
    ..PLAIN
};
