//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding: where a policy holds, and with what parameters.

use std::collections::HashSet;

use serde_json::Value;

use super::json::{fill_text, is_empty, is_set, items, present, text};
use super::match_rules::{default_match_resources, validate_match_resources};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, name, string};
use super::webhook_configuration::GUARDED;
use super::{Column, Kind, PLAIN, Problem, Scope, labels, metadata, names};

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

const COLUMNS: &[Column] = &[
    NAME,
    string("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
    string("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
    AGE,
];

pub static VALIDATING: Kind = Kind {
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    storage: "admissionregistration.k8s.io/validatingadmissionpolicybindings",
    validate: |binding| {
        let mut problems = validate(binding);
        problems.extend(validate_actions(&binding["spec"]["validationActions"]));
        problems
    },
    ..BINDING
};

pub static MUTATING: Kind = Kind {
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    storage: "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
    validate,
    ..BINDING
};

const BINDING: Kind = Kind {
    group: "admissionregistration.k8s.io",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    update: GUARDED,
    defaults: |binding| {
        let Some(spec) = present(binding, "spec") else { return };
        if let Some(resources) = present(spec, "matchResources") {
            default_match_resources(resources);
        }
        if let Some(reference) = present(spec, "paramRef") {
            fill_text(reference, "parameterNotFoundAction", "Deny");
        }
    },
    columns: COLUMNS,
    row: |binding, now| {
        let spec = &binding["spec"];
        vec![name(binding), text(&spec["policyName"]).into(), parameters(&spec["paramRef"]).into(), age(binding, now)]
    },
    ..PLAIN
};

/// `namespace/name`; a star where the namespace is the object's own or none at all.
fn parameters(reference: &Value) -> String {
    let (namespace, name) = (text(&reference["namespace"]), text(&reference["name"]));
    match (namespace, name) {
        ("", "") | (_, "") if is_set(&reference["selector"]) => labels::print_selector(&reference["selector"]),
        (_, "") => "<unset>".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

fn validate(binding: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_plain(binding, Scope::Cluster, names::subdomain);
    let spec = &binding["spec"];
    match text(&spec["policyName"]) {
        "" => problems.push(Problem::required("spec.policyName", "")),
        policy => problems.extend(invalid_each("spec.policyName", policy, names::subdomain(policy))),
    }
    if is_set(&spec["paramRef"]) {
        problems.extend(validate_reference(&spec["paramRef"]));
    }
    if is_set(&spec["matchResources"]) {
        // Upstream misspells the field in its messages; clients match them.
        problems.extend(validate_match_resources(&spec["matchResources"], "spec.matchResouces"));
    }
    problems
}

fn validate_reference(reference: &Value) -> Vec<Problem> {
    const PATH: &str = "spec.paramRef";
    const BOTH: &str = "name and selector are mutually exclusive";
    let mut problems = Vec::new();
    let (name, selects) = (text(&reference["name"]), is_set(&reference["selector"]));
    if !name.is_empty() {
        problems.extend(invalid_each(&format!("{PATH}.name"), name, names::path_segment(name)));
        if selects {
            problems.push(Problem::forbidden(format!("{PATH}.name"), BOTH));
        }
    }
    if selects {
        problems.extend(labels::validate_selector(&reference["selector"], &format!("{PATH}.selector")));
        if !name.is_empty() {
            problems.push(Problem::forbidden(format!("{PATH}.selector"), BOTH));
        }
    }
    if name.is_empty() && !selects {
        problems.push(Problem::required(PATH, "one of name or selector must be specified"));
    }
    let field = format!("{PATH}.parameterNotFoundAction");
    match text(&reference["parameterNotFoundAction"]) {
        "" => problems.push(Problem::required(field, "")),
        "Allow" | "Deny" => {}
        other => problems.push(Problem::not_supported(field, other, &["Deny", "Allow"])),
    }
    problems
}

fn validate_actions(list: &Value) -> Vec<Problem> {
    const PATH: &str = "spec.validationActions";
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (index, action) in items(list).iter().map(text).enumerate() {
        if !ACTIONS.contains(&action) {
            problems.push(Problem::not_supported(format!("{PATH}[{index}]"), action, ACTIONS));
        }
        if !seen.insert(action) {
            problems.push(Problem::duplicate(format!("{PATH}[{index}]"), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        problems.push(Problem::invalid(PATH, list.clone(), detail));
    }
    if is_empty(list) {
        problems.push(Problem::required(PATH, "at least one validation action is required"));
    }
    problems
}
