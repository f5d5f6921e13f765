//! FlowSchema: which requests belong to which priority level (`priority_level.rs`).

use serde_json::Value;

use super::json::{fill, is_set, items, present, text};
use super::problem::invalid_each;
use super::table::{AGE, NAME, age, integer, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, drop_status, flow_defaults, keep_status, metadata, names};

const PRECEDENCE_MAX: i64 = 10_000;
const PRECEDENCE_DEFAULT: i64 = 1_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const SUBJECTS: &[&str] = &["Group", "ServiceAccount", "User"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub static FLOW_SCHEMA: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "FlowSchema",
    plural: "flowschemas",
    singular: "flowschema",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.flowcontrol.v1.FlowSchema",
    storage: "flowcontrol.apiserver.k8s.io/flowschemas",
    update: WITH_SPEC,
    defaults: |schema| {
        let Some(spec) = present(schema, "spec") else { return };
        if spec["matchingPrecedence"] == 0 {
            super::json::remove(spec, "matchingPrecedence");
        }
        fill(spec, "matchingPrecedence", PRECEDENCE_DEFAULT);
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    columns: &[
        NAME,
        string(
            "PriorityLevel",
            "`priorityLevelConfiguration` should reference a PriorityLevelConfiguration in the cluster.",
        ),
        integer(
            "MatchingPrecedence",
            "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request.",
        ),
        string(
            "DistinguisherMethod",
            "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema.",
        ),
        AGE,
        string("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
    ],
    row: |schema, now| {
        let spec = &schema["spec"];
        let method =
            if is_set(&spec["distinguisherMethod"]) { text(&spec["distinguisherMethod"]["type"]) } else { "<none>" };
        let dangling = items(&schema["status"]["conditions"]).iter().find(|condition| condition["type"] == "Dangling");
        vec![
            name(schema),
            text(&spec["priorityLevelConfiguration"]["name"]).into(),
            spec["matchingPrecedence"].as_i64().unwrap_or(0).into(),
            method.into(),
            age(schema, now),
            dangling.map_or("?", |condition| text(&condition["status"])).into(),
        ]
    },
    ..PLAIN
};

fn validate(schema: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(schema, Scope::Cluster, names::subdomain);
    let (spec, own) = (&schema["spec"], text(&schema["metadata"]["name"]));
    problems.extend(validate_precedence(spec["matchingPrecedence"].as_i64().unwrap_or(0), own));
    if is_set(&spec["distinguisherMethod"]) && !METHODS.contains(&text(&spec["distinguisherMethod"]["type"])) {
        let given = text(&spec["distinguisherMethod"]["type"]);
        problems.push(Problem::not_supported("spec.distinguisherMethod.type", given, METHODS));
    }
    let field = "spec.priorityLevelConfiguration.name";
    match text(&spec["priorityLevelConfiguration"]["name"]) {
        "" => problems.push(Problem::required(field, "must reference a priority level")),
        level => problems.extend(invalid_each(field, level, names::subdomain(level))),
    }
    for (index, rule) in items(&spec["rules"]).iter().enumerate() {
        problems.extend(validate_rule(rule, &format!("spec.rules[{index}]")));
    }
    if flow_defaults::mandatory_schema(own).is_some_and(|fixed| fixed != *spec) {
        let detail = format!("spec of '{own}' must equal the fixed value");
        problems.push(Problem::invalid("spec", spec.clone(), &detail));
    }
    problems.extend(validate_conditions(&schema["status"]["conditions"]));
    problems
}

/// `status.conditions` of both flow control kinds.
pub(super) fn validate_conditions(list: &Value) -> Vec<Problem> {
    let types: Vec<&str> = items(list).iter().map(|condition| text(&condition["type"])).collect();
    let mut problems = Vec::new();
    for (index, kind) in types.iter().enumerate() {
        let field = format!("status.conditions[{index}].type");
        if types[..index].contains(kind) {
            problems.push(Problem::duplicate(field.clone(), *kind));
        }
        if kind.is_empty() {
            problems.push(Problem::required(field, "must not be empty"));
        }
    }
    problems
}

fn validate_precedence(given: i64, own: &str) -> Vec<Problem> {
    const PATH: &str = "spec.matchingPrecedence";
    let mut problems = Vec::new();
    if given <= 0 {
        problems.push(Problem::invalid(PATH, given, "must be a positive value"));
    }
    if given > PRECEDENCE_MAX {
        problems.push(Problem::invalid(PATH, given, &format!("must not be greater than {PRECEDENCE_MAX}")));
    }
    if given == 1 && own != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        problems.push(Problem::invalid(PATH, given, detail));
    }
    problems
}

fn validate_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let subjects = items(&rule["subjects"]);
    if subjects.is_empty() {
        problems.push(Problem::required(format!("{path}.subjects"), "subjects must contain at least one value"));
    }
    for (index, subject) in subjects.iter().enumerate() {
        problems.extend(validate_subject(subject, &format!("{path}.subjects[{index}]")));
    }
    let (resources, paths) = (items(&rule["resourceRules"]), items(&rule["nonResourceRules"]));
    if resources.is_empty() && paths.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        problems.push(Problem::required(path, detail));
    }
    for (index, one) in resources.iter().enumerate() {
        problems.extend(validate_resource_rule(one, &format!("{path}.resourceRules[{index}]")));
    }
    for (index, one) in paths.iter().enumerate() {
        problems.extend(validate_path_rule(one, &format!("{path}.nonResourceRules[{index}]")));
    }
    problems
}

fn validate_subject(subject: &Value, path: &str) -> Vec<Problem> {
    let kind = text(&subject["kind"]);
    if !SUBJECTS.contains(&kind) {
        return vec![Problem::not_supported(format!("{path}.kind"), kind, SUBJECTS)];
    }
    let mut problems = Vec::new();
    for (owner, field) in [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")] {
        let (given, field_path) = (&subject[field], format!("{path}.{field}"));
        match (kind == owner, is_set(given)) {
            (true, false) => {
                let detail = format!("{field} is required when subject kind is '{owner}'");
                problems.push(Problem::required(field_path, &detail));
            }
            (true, true) => problems.extend(validate_named(given, field, &field_path)),
            (false, true) => {
                let detail = format!("{field} is forbidden when subject kind is not '{owner}'");
                problems.push(Problem::forbidden(field_path, &detail));
            }
            (false, false) => {}
        }
    }
    problems
}

fn validate_named(given: &Value, field: &str, path: &str) -> Vec<Problem> {
    let own = text(&given["name"]);
    let mut problems = Vec::new();
    if own.is_empty() {
        problems.push(Problem::required(format!("{path}.name"), ""));
    }
    if field != "serviceAccount" {
        return problems;
    }
    if !own.is_empty() && own != "*" {
        problems.extend(invalid_each(&format!("{path}.name"), own, names::subdomain(own)));
    }
    match text(&given["namespace"]) {
        "" => {
            let detail = "must specify namespace for service account";
            problems.push(Problem::required(format!("{path}.namespace"), detail));
        }
        namespace => problems.extend(invalid_each(&format!("{path}.namespace"), namespace, names::label(namespace))),
    }
    problems
}

/// A list that must not be empty, and whose star stands alone. Whether the star is there.
fn validate_list(rule: &Value, field: (&str, &str, &str), path: &str) -> (bool, Option<Problem>) {
    let (field, empty, what) = field;
    let list = items(&rule[field]);
    let star = list.iter().any(|one| one == "*");
    let path = format!("{path}.{field}");
    if list.is_empty() {
        return (false, Some(Problem::required(path, empty)));
    }
    let detail = format!("if '*' is present, must not specify other {what}");
    (star, (star && list.len() > 1).then(|| Problem::invalid(path, rule[field].clone(), &detail)))
}

fn validate_verbs(rule: &Value, path: &str) -> Vec<Problem> {
    let (star, problem) = validate_list(rule, ("verbs", "verbs must contain at least one value", "verbs"), path);
    let mut problems: Vec<Problem> = problem.into_iter().collect();
    let verbs: Vec<&str> = items(&rule["verbs"]).iter().map(text).collect();
    if !star && verbs.iter().any(|verb| !VERBS.contains(verb)) {
        let shown = format!("[{}]", verbs.iter().map(|verb| format!("{verb:?}")).collect::<Vec<_>>().join(","));
        let mut problem = Problem::not_supported(format!("{path}.verbs"), "", VERBS);
        problem.message = problem.message.replacen("\"\"", &shown, 1);
        problems.push(problem);
    }
    problems
}

fn validate_resource_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate_verbs(rule, path);
    let lists = [
        ("apiGroups", "resource rules must supply at least one api group", "api groups"),
        ("resources", "resource rules must supply at least one resource", "resources"),
    ];
    problems.extend(lists.into_iter().filter_map(|list| validate_list(rule, list, path).1));
    let namespaces = items(&rule["namespaces"]);
    if namespaces.is_empty() && rule["clusterScope"] == true {
        return problems;
    }
    let empty = "resource rules that are not cluster scoped must supply at least one namespace";
    let (star, problem) = validate_list(rule, ("namespaces", empty, "namespaces"), path);
    problems.extend(problem);
    for (index, namespace) in namespaces.iter().map(text).enumerate().filter(|_| !star) {
        for complaint in names::label(namespace) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {complaint}");
            problems.push(Problem::invalid(format!("{path}.namespaces[{index}]"), namespace, &detail));
        }
    }
    problems
}

fn validate_path_rule(rule: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate_verbs(rule, path);
    let empty = "nonResourceURLs must contain at least one value";
    let (star, problem) = validate_list(rule, ("nonResourceURLs", empty, "non-resource URLs"), path);
    problems.extend(problem);
    for (index, url) in items(&rule["nonResourceURLs"]).iter().map(text).enumerate().filter(|_| !star) {
        if let Some(complaint) = check_path(url) {
            problems.push(Problem::invalid(format!("{path}.nonResourceURLs[{index}]"), url, complaint));
        }
    }
    problems
}

fn check_path(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}
