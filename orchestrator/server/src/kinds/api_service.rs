//! APIService: which server answers for a group and version. Those that name no service are answered here.

use serde_json::{Value, json};

use super::conditions::STATUSES;
use super::json::{fill, is_empty, is_set, items, present, set, text};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, drop_status, keep_status, metadata, names};

const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;

pub static API_SERVICE: Kind = Kind {
    group: "apiregistration.k8s.io",
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    storage: "apiregistration.k8s.io/apiservices",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    defaults: |service| {
        if let Some(service) = present(service, "spec").and_then(|spec| present(spec, "service")) {
            fill(service, "port", 443);
        }
    },
    prepare_create: |service| {
        drop_status(service);
        if !is_set(&service["spec"]["service"]) && service.is_object() {
            let available = json!({
                "type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
                "lastTransitionTime": service["metadata"]["creationTimestamp"],
            });
            set(service, "status", json!({ "conditions": [available] }));
        }
    },
    prepare_update: keep_status,
    validate,
    columns: &[
        NAME,
        string("Service", "The reference to the service that hosts this API endpoint."),
        string("Available", "Whether this service is available."),
        AGE,
    ],
    row: |service, now| {
        let backend = &service["spec"]["service"];
        let shown = match is_set(backend) {
            true => format!("{}/{}", text(&backend["namespace"]), text(&backend["name"])),
            false => "Local".to_owned(),
        };
        vec![name(service), shown.into(), available(service).into(), age(service, now)]
    },
    ..PLAIN
};

fn available(service: &Value) -> String {
    let conditions = items(&service["status"]["conditions"]);
    match conditions.iter().find(|condition| condition["type"] == "Available") {
        None => "Unknown".to_owned(),
        Some(condition) if condition["status"] == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text(&condition["status"]), text(&condition["reason"])),
    }
}

fn validate(service: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_plain(service, Scope::Cluster, names::path_segment);
    let spec = &service["spec"];
    let (group, version) = (text(&spec["group"]), text(&spec["version"]));
    let (wanted, given) = (format!("{version}.{group}"), text(&service["metadata"]["name"]));
    if !given.is_empty() && names::path_segment(given).is_empty() && given != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        problems.push(Problem::invalid("metadata.name", given, &detail));
    }
    match (group, version) {
        ("", "v1") => {}
        ("", _) => {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            problems.push(Problem::required("spec.group", detail));
        }
        (group, _) => problems.extend(invalid_each("spec.group", group, names::subdomain(group))),
    }
    problems.extend(invalid_each("spec.version", version, names::dns_1035(version)));
    for (field, most) in [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)] {
        let given = spec[field].as_i64().unwrap_or(0);
        if given <= 0 || given > most {
            let detail = format!("must be positive and less than {most}");
            problems.push(Problem::invalid(format!("spec.{field}"), given, &detail));
        }
    }
    problems.extend(validate_backend(spec));
    for (index, condition) in items(&service["status"]["conditions"]).iter().enumerate() {
        let status = text(&condition["status"]);
        if !STATUSES.contains(&status) {
            let field = format!("status.conditions[{index}].status");
            problems.push(Problem::not_supported(field, status, &["True", "False", "Unknown"]));
        }
    }
    problems
}

fn validate_backend(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (trusting, bundled) = (spec["insecureSkipTLSVerify"] == true, !is_empty(&spec["caBundle"]));
    if !is_set(&spec["service"]) {
        if bundled {
            let bytes = text(&spec["caBundle"]).len() / 4 * 3;
            let detail = "local APIServices may not have a caBundle";
            problems.push(Problem::invalid("spec.caBundle", format!("{bytes} bytes"), detail));
        }
        if trusting {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            problems.push(Problem::invalid("spec.insecureSkipTLSVerify", true, detail));
        }
        return problems;
    }
    for field in ["namespace", "name"] {
        if is_empty(&spec["service"][field]) {
            problems.push(Problem::required(format!("spec.service.{field}"), ""));
        }
    }
    if trusting && bundled {
        let detail = "may not be true if caBundle is present";
        problems.push(Problem::invalid("spec.insecureSkipTLSVerify", true, detail));
    }
    problems
}
