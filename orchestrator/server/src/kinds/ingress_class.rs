//! IngressClass: who serves the ingresses that name it.

use serde_json::Value;

use super::ingress::validate_reference;
use super::json::{is_set, present, text};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, WITH_SPEC, metadata, names};

const CONTROLLER_MAX: usize = 250;

pub static INGRESS_CLASS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.networking.v1.IngressClass",
    storage: "networking.k8s.io/ingressclasses",
    update: WITH_SPEC,
    defaults: |class| {
        if let Some(parameters) = present(class, "spec").and_then(|spec| present(spec, "parameters")) {
            super::json::fill(parameters, "scope", "Cluster");
        }
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec.controller", &new["spec"]["controller"], &old["spec"]["controller"]));
        problems
    },
    columns: &[
        NAME,
        string("Controller", "Controller that is responsible for handling this class"),
        string("Parameters", "A reference to a resource with additional parameters"),
        AGE,
    ],
    row: |class, now| {
        let spec = &class["spec"];
        let parameters = parameters(&spec["parameters"]);
        vec![name(class), text(&spec["controller"]).into(), parameters.into(), age(class, now)]
    },
    ..PLAIN
};

fn parameters(reference: &Value) -> String {
    if !is_set(reference) {
        return "<none>".to_owned();
    }
    let (kind, own) = (text(&reference["kind"]), text(&reference["name"]));
    match reference["apiGroup"].as_str() {
        Some(group) => format!("{kind}.{group}/{own}"),
        None => format!("{kind}/{own}"),
    }
}

fn validate(class: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
    let controller = text(&class["spec"]["controller"]);
    if controller.len() > CONTROLLER_MAX {
        problems.push(Problem::too_long("spec.controller", CONTROLLER_MAX));
    }
    problems.extend(names::domain_prefixed_path(controller, "spec.controller"));
    if is_set(&class["spec"]["parameters"]) {
        problems.extend(validate_parameters(&class["spec"]["parameters"]));
    }
    problems
}

fn validate_parameters(parameters: &Value) -> Vec<Problem> {
    let mut problems = validate_reference(parameters, "spec.parameters");
    let path = "spec.parameters.namespace";
    match (parameters["scope"].as_str(), parameters["namespace"].as_str()) {
        (None, _) => problems.push(Problem::required("spec.parameters.scope", "")),
        (Some("Namespace"), None) => {
            problems.push(Problem::required(path, "`parameters.scope` is set to 'Namespace'"));
        }
        (Some("Namespace"), Some(namespace)) => {
            problems.extend(invalid_each(path, namespace, names::label(namespace)));
        }
        (Some("Cluster"), Some(_)) => {
            problems.push(Problem::forbidden(path, "`parameters.scope` is set to 'Cluster'"));
        }
        (Some("Cluster"), None) => {}
        (Some(other), _) => {
            problems.push(Problem::not_supported("spec.parameters.scope", other, &["Cluster", "Namespace"]));
        }
    }
    problems
}
