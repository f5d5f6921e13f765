//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL that the server itself applies. Their
//! bindings are in `admission_policy_binding.rs`.

use std::collections::HashSet;

use serde_json::Value;

use crate::admission::policies;
use crate::expressions::{RESERVED, Variables};

use super::json::{fill_text, is_empty, is_set, items, present, text};
use super::match_rules::{
    FAILURE_POLICIES, REINVOCATION_POLICIES, compiles, default_match_resources, known, validate_conditions,
    validate_match_resources,
};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, integer, name, string};
use super::webhook_configuration::GUARDED;
use super::{Kind, PLAIN, Problem, STATUS, Scope, conditions, drop_status, keep_status, metadata, names};

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ANNOTATIONS_MAX: usize = 20;
const EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const PARAM_KIND: &str = "ParamKind specifies the kind of resources used to parameterize this policy";

pub static VALIDATING: Kind = Kind {
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    subresources: &[STATUS],
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    storage: "admissionregistration.k8s.io/validatingadmissionpolicies",
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: validate_validating,
    columns: &[
        NAME,
        integer("Validations", "Validations indicates the number of validation rules defined in this configuration"),
        string("ParamKind", PARAM_KIND),
        AGE,
    ],
    row: |policy, now| row(policy, now, "validations"),
    ..POLICY
};

pub static MUTATING: Kind = Kind {
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    schema: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    storage: "admissionregistration.k8s.io/mutatingadmissionpolicies",
    validate: validate_mutating,
    columns: &[
        NAME,
        integer("Mutations", "Mutation indicates the number of mutations rules defined in this configuration"),
        string("ParamKind", PARAM_KIND),
        AGE,
    ],
    row: |policy, now| row(policy, now, "mutations"),
    ..POLICY
};

const POLICY: Kind = Kind {
    group: "admissionregistration.k8s.io",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    update: GUARDED,
    defaults: |policy| {
        let Some(spec) = present(policy, "spec") else { return };
        fill_text(spec, "failurePolicy", "Fail");
        if let Some(constraints) = present(spec, "matchConstraints") {
            default_match_resources(constraints);
        }
    },
    ..PLAIN
};

fn row(policy: &Value, now: i64, counted: &str) -> Vec<Value> {
    let kind = &policy["spec"]["paramKind"];
    let shown = match is_set(kind) {
        true => format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"])),
        false => "<unset>".to_owned(),
    };
    vec![name(policy), items(&policy["spec"][counted]).len().into(), shown.into(), age(policy, now)]
}

fn validate_validating(policy: &Value) -> Vec<Problem> {
    let mut problems = validate_common(policy);
    let spec = &policy["spec"];
    let (validations, annotations) = (items(&spec["validations"]), items(&spec["auditAnnotations"]));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        problems.push(Problem::required("spec.validations", detail));
        problems.push(Problem::required("spec.auditAnnotations", detail));
    }
    for (index, validation) in validations.iter().enumerate() {
        let path = format!("spec.validations[{index}]");
        problems.extend(validate_validation(validation, &path));
        for field in ["expression", "messageExpression"] {
            if !text(&validation[field]).trim().is_empty() {
                let variables = policies::variables(spec);
                problems.extend(compiles(&validation[field], &format!("{path}.{field}"), &variables));
            }
        }
    }
    if annotations.len() > ANNOTATIONS_MAX {
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        problems.push(Problem::invalid("spec.auditAnnotations", spec["auditAnnotations"].clone(), &detail));
    }
    let mut seen = HashSet::new();
    for (index, annotation) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}]");
        problems.extend(validate_annotation(text(&policy["metadata"]["name"]), annotation, &path));
        let key = text(&annotation["key"]);
        if !seen.insert(key) {
            problems.push(Problem::duplicate(format!("{path}.key"), key));
        }
    }
    problems.extend(validate_status(&policy["status"]));
    problems
}

fn validate_mutating(policy: &Value) -> Vec<Problem> {
    let mut problems = validate_common(policy);
    let spec = &policy["spec"];
    if items(&spec["mutations"]).is_empty() {
        problems.push(Problem::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (index, mutation) in items(&spec["mutations"]).iter().enumerate() {
        let path = format!("spec.mutations[{index}]");
        problems.extend(validate_mutation(mutation, &path));
        for field in ["applyConfiguration", "jsonPatch"] {
            let expression = &mutation[field]["expression"];
            if !text(expression).trim().is_empty() {
                let variables = policies::variables(spec);
                problems.extend(compiles(expression, &format!("{path}.{field}.expression"), &variables));
            }
        }
    }
    match is_empty(&spec["reinvocationPolicy"]) {
        true => problems.push(Problem::required("spec.reinvocationPolicy", "")),
        false => {
            problems.extend(known(&spec["reinvocationPolicy"], "spec.reinvocationPolicy", REINVOCATION_POLICIES));
        }
    }
    problems
}

/// What both policies have.
fn validate_common(policy: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_plain(policy, Scope::Cluster, names::subdomain);
    let spec = &policy["spec"];
    match is_set(&spec["failurePolicy"]) {
        true => problems.extend(known(&spec["failurePolicy"], "spec.failurePolicy", FAILURE_POLICIES)),
        false => problems.push(Problem::required("spec.failurePolicy", "")),
    }
    if is_set(&spec["paramKind"]) {
        problems.extend(validate_param_kind(&spec["paramKind"]));
    }
    let constraints = &spec["matchConstraints"];
    if is_set(constraints) {
        problems.extend(validate_match_resources(constraints, "spec.matchConstraints"));
        if items(&constraints["resourceRules"]).is_empty() {
            problems.push(Problem::required("spec.matchConstraints.resourceRules", ""));
        }
    } else {
        problems.push(Problem::required("spec.matchConstraints", ""));
    }
    problems.extend(validate_conditions(&spec["matchConditions"], "spec.matchConditions", &policies::variables(spec)));
    let known_variables = policies::variables(spec);
    for (index, variable) in items(&spec["variables"]).iter().enumerate() {
        problems.extend(validate_variable(variable, &format!("spec.variables[{index}]"), &known_variables));
    }
    problems
}

fn validate_param_kind(kind: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let path = "spec.paramKind.apiVersion";
    match version.split('/').collect::<Vec<_>>().as_slice() {
        [""] => problems.push(Problem::required(path, "")),
        ["", ""] | [_, ""] => problems.push(Problem::invalid(path, version, "version must be specified")),
        [one] => problems.extend(joined(path, one, names::dns_1035(one))),
        [group, one] => {
            problems.extend(joined(path, group, if group.is_empty() { Vec::new() } else { names::subdomain(group) }));
            problems.extend(joined(path, one, names::dns_1035(one)));
        }
        _ => {
            problems.push(Problem::invalid(path, version, &format!("unexpected GroupVersion string: {version}")));
        }
    }
    if name.is_empty() {
        problems.push(Problem::required("spec.paramKind.kind", ""));
    } else {
        let complaints = names::dns_1035(&name.to_lowercase());
        let detail = format!("may have mixed case, but should otherwise match: {}", complaints.join(","));
        if !complaints.is_empty() {
            problems.push(Problem::invalid("spec.paramKind.kind", name, &detail));
        }
    }
    problems
}

fn joined(path: &str, value: &str, complaints: Vec<String>) -> Option<Problem> {
    (!complaints.is_empty()).then(|| Problem::invalid(path, value, &complaints.join(",")))
}

fn validate_variable(variable: &Value, path: &str, variables: &Variables<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = text(&variable["name"]);
    if name.trim().is_empty() {
        problems.push(Problem::required(format!("{path}.name"), "name is not specified"));
    } else if !is_identifier(name) {
        problems.push(Problem::invalid(format!("{path}.name"), name, "name is not a valid CEL identifier"));
    }
    if text(&variable["expression"]).trim().is_empty() {
        problems.push(Problem::required(format!("{path}.expression"), "expression is not specified"));
    } else {
        problems.extend(compiles(&variable["expression"], &format!("{path}.expression"), variables));
    }
    problems
}

fn is_identifier(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    letters && !name.starts_with(|c: char| c.is_ascii_digit()) && !RESERVED.contains(&name)
}

fn validate_validation(validation: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if text(&validation["expression"]).trim().is_empty() {
        problems.push(Problem::required(format!("{path}.expression"), "expression is not specified"));
    }
    let (expression, message) = (text(&validation["messageExpression"]), text(&validation["message"]));
    if !expression.is_empty() && expression.trim().is_empty() {
        let detail = "must be non-empty if specified";
        problems.push(Problem::invalid(format!("{path}.messageExpression"), expression, detail));
    }
    if !message.is_empty() && message.trim().is_empty() {
        let detail = "message must be non-empty if specified";
        problems.push(Problem::invalid(format!("{path}.message"), message, detail));
    } else if message.trim().contains(['\n', '\r']) {
        problems.push(Problem::invalid(format!("{path}.message"), message, "message must not contain line breaks"));
    }
    problems.extend(known(&validation["reason"], &format!("{path}.reason"), REASONS));
    problems
}

fn validate_annotation(policy: &str, annotation: &Value, path: &str) -> Vec<Problem> {
    let field = format!("{path}.key");
    let key = text(&annotation["key"]);
    let mut problems = match policy {
        "" => vec![Problem::invalid(field, key, "requires metadata.name be non-empty")],
        policy => {
            let whole = format!("{policy}/{key}");
            invalid_each(&field, &whole, names::qualified(&whole))
        }
    };
    let field = format!("{path}.valueExpression");
    match text(&annotation["valueExpression"]).trim() {
        "" => problems.push(Problem::required(field, "valueExpression is not specified")),
        long if long.len() > EXPRESSION_BYTES_MAX => {
            let detail = format!("must not exceed {EXPRESSION_BYTES_MAX} bytes in length");
            problems.push(Problem::required(field, &detail));
        }
        _ => {}
    }
    problems
}

/// The one form of patch that `patchType` names, and not the other.
fn validate_mutation(mutation: &Value, path: &str) -> Vec<Problem> {
    let chosen = text(&mutation["patchType"]);
    let (wanted, other) = match chosen {
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "" => return vec![Problem::required(format!("{path}.patchType"), "")],
        unknown => {
            let supported = &["ApplyConfiguration", "JSONPatch"];
            return vec![Problem::not_supported(format!("{path}.patchType"), unknown, supported)];
        }
    };
    let mut problems = Vec::new();
    if !is_set(&mutation[wanted]) {
        let detail = format!("must be specified when patchType is {chosen}");
        problems.push(Problem::required(format!("{path}.{wanted}"), &detail));
    } else if text(&mutation[wanted]["expression"]).trim().is_empty() {
        problems.push(Problem::required(format!("{path}.{wanted}.expression"), "expression is not specified"));
    }
    if is_set(&mutation[other]) {
        let detail = format!("must not be specified when patchType is {chosen}");
        problems.push(Problem::invalid(format!("{path}.{other}"), format!("{{{other}}}"), &detail));
    }
    problems
}

fn validate_status(status: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, warning) in items(&status["typeChecking"]["expressionWarnings"]).iter().enumerate() {
        for field in ["warning", "fieldRef"] {
            if text(&warning[field]).trim().is_empty() {
                problems
                    .push(Problem::required(format!("status.typeChecking.expressionWarnings[{index}].{field}"), ""));
            }
        }
    }
    problems.extend(conditions::validate(&status["conditions"], "status.conditions"));
    problems
}
