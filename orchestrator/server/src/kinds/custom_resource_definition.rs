//! CustomResourceDefinition: a kind that its owner describes. What it does to the server is in `custom.rs`; its versions
//! are judged in `custom_resource_definition/versions.rs`.

mod versions;

use serde_json::{Value, json};

use super::json::{fill, fill_text, is_empty, is_set, items, present, set, text};
use super::problem::{immutable, invalid_each};
use super::table::NAME;
use super::{Column, Kind, PLAIN, Problem, STATUS, Scope, UpdateRules, keep_status, metadata, names, table};

pub const GROUP: &str = "apiextensions.k8s.io";
pub const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Groups of Kubernetes' own community, which ask for a reviewer's word.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
pub const APPROVAL: &str = "api-approved.kubernetes.io";

pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    group: GROUP,
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    storage: STORAGE,
    update: UpdateRules { unconditional: false, creates: false, generation: true },
    defaults,
    prepare_create: |definition| {
        let stored = storage_version(definition).to_owned();
        let none = json!({ "plural": "", "kind": "" });
        set(definition, "status", json!({ "conditions": [], "acceptedNames": none, "storedVersions": [stored] }));
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        remember_storage_version(new);
    },
    validate,
    validate_update,
    columns: &[
        NAME,
        Column { name: "Created At", r#type: "date", format: "", description: super::descriptions::AGE, priority: 0 },
    ],
    row: table::default_row,
    ..PLAIN
};

/// The version that is stored.
pub fn storage_version(definition: &Value) -> &str {
    let version = items(&definition["spec"]["versions"]).iter().find(|version| version["storage"] == true);
    version.map_or("", |version| text(&version["name"]))
}

pub fn condition<'v>(definition: &'v Value, kind: &str) -> Option<&'v Value> {
    items(&definition["status"]["conditions"]).iter().find(|condition| condition["type"] == kind)
}

pub fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition["status"] == "True")
}

/// Objects may lie in every version that was ever the stored one.
fn remember_storage_version(definition: &mut Value) {
    let version = Value::from(storage_version(definition));
    let Some(status) = present(definition, "status") else { return };
    if !items(&status["storedVersions"]).contains(&version) {
        match status["storedVersions"].as_array_mut() {
            Some(list) => list.push(version),
            None => set(status, "storedVersions", json!([version])),
        }
    }
}

fn defaults(definition: &mut Value) {
    let Some(spec) = present(definition, "spec") else { return };
    if let Some(names) = present(spec, "names") {
        let kind = text(&names["kind"]).to_owned();
        if !kind.is_empty() {
            fill_text(names, "singular", &kind.to_lowercase());
            fill_text(names, "listKind", &format!("{kind}List"));
        }
    }
    fill(spec, "conversion", json!({ "strategy": "None" }));
    if let Some(conversion) = present(spec, "conversion") {
        fill_text(conversion, "strategy", "None");
        let client = present(conversion, "webhook").and_then(|webhook| present(webhook, "clientConfig"));
        if let Some(service) = client.and_then(|client| present(client, "service")) {
            fill(service, "port", 443);
        }
    }
}

fn validate(definition: &Value) -> Vec<Problem> {
    let spec = &definition["spec"];
    let wanted = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    let mut problems = metadata::validate_plain(definition, Scope::Cluster, names::subdomain);
    if text(&definition["metadata"]["name"]) != wanted {
        let name = text(&definition["metadata"]["name"]);
        problems.push(Problem::invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    }
    problems.extend(approval(definition));
    problems.extend(validate_group(text(&spec["group"])));
    match text(&spec["scope"]) {
        "" => problems.push(Problem::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => problems.push(Problem::not_supported("spec.scope", other, &["Cluster", "Namespaced"])),
    }
    problems.extend(versions::validate(spec));
    for field in ["plural", "singular", "kind", "listKind"] {
        if is_empty(&spec["names"][field]) {
            problems.push(Problem::required(format!("spec.names.{field}"), ""));
        }
    }
    problems.extend(validate_names(&spec["names"], "spec.names"));
    problems.extend(validate_conversion(&spec["conversion"]));
    problems.extend(validate_names(&definition["status"]["acceptedNames"], "status.acceptedNames"));
    problems
}

fn validate_group(group: &str) -> Vec<Problem> {
    if group.is_empty() {
        return vec![Problem::required("spec.group", "")];
    }
    let complaints = names::subdomain(group);
    if !complaints.is_empty() {
        return vec![Problem::invalid("spec.group", group, &complaints.join(","))];
    }
    if !group.contains('.') {
        return vec![Problem::invalid("spec.group", group, "should be a domain with at least one dot")];
    }
    Vec::new()
}

pub fn is_protected(group: &str) -> bool {
    PROTECTED.iter().any(|domain| group == *domain || group.ends_with(&format!(".{domain}")))
}

/// A link to the review, or the word `unapproved…`.
pub fn is_approval(text: &str) -> bool {
    text.starts_with("unapproved")
        || text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some() && uri.scheme().is_some())
}

fn approval(definition: &Value) -> Option<Problem> {
    const WHERE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    if !is_protected(text(&definition["spec"]["group"])) {
        return None;
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    let said = text(&definition["metadata"]["annotations"][APPROVAL]);
    match said {
        "" => {
            let detail = format!("protected groups must have approval annotation \"{APPROVAL}\", {WHERE}");
            Some(Problem::required(field, &detail))
        }
        said if is_approval(said) => None,
        said => {
            let detail = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {WHERE}"
            );
            Some(Problem::invalid(field, said, &detail))
        }
    }
}

fn validate_names(given: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["plural", "singular"] {
        let name = text(&given[field]);
        let complaints = names::dns_1035(name);
        if !name.is_empty() && !complaints.is_empty() {
            problems.push(Problem::invalid(format!("{path}.{field}"), name, &complaints.join(",")));
        }
    }
    for field in ["kind", "listKind"] {
        let name = text(&given[field]);
        let complaints = names::dns_1035(&name.to_lowercase());
        if !name.is_empty() && !complaints.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", complaints.join(","));
            problems.push(Problem::invalid(format!("{path}.{field}"), name, &detail));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in items(&given[field]).iter().map(text).enumerate() {
            let complaints = names::dns_1035(name);
            if !complaints.is_empty() {
                problems.push(Problem::invalid(format!("{path}.{field}[{index}]"), name, &complaints.join(",")));
            }
        }
    }
    let kind = text(&given["kind"]);
    if !kind.is_empty() && given["kind"] == given["listKind"] {
        problems.push(Problem::invalid(format!("{path}.listKind"), kind, "kind and listKind may not be the same"));
    }
    problems
}

fn validate_conversion(conversion: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (path, webhook) = ("spec.conversion", &conversion["webhook"]);
    match text(&conversion["strategy"]) {
        "None" => {
            if is_set(webhook) {
                let detail = "should not be set when strategy is not set to Webhook";
                problems.push(Problem::forbidden(format!("{path}.webhook"), detail));
            }
        }
        "Webhook" => {
            let client = &webhook["clientConfig"];
            if !is_set(client) {
                let detail = "required when strategy is set to Webhook";
                problems.push(Problem::required(format!("{path}.webhook.clientConfig"), detail));
            } else {
                problems.extend(super::webhook_configuration::validate_client(
                    client,
                    &format!("{path}.webhook.clientConfig"),
                ));
            }
            problems.extend(review_versions(&webhook["conversionReviewVersions"]));
        }
        "" => problems.push(Problem::required(format!("{path}.strategy"), "")),
        other => problems.push(Problem::not_supported(format!("{path}.strategy"), other, &["None", "Webhook"])),
    }
    problems
}

fn review_versions(versions: &Value) -> Vec<Problem> {
    let path = "spec.conversion.webhook.conversionReviewVersions";
    let list: Vec<&str> = items(versions).iter().map(text).collect();
    if list.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let mut problems: Vec<Problem> = Vec::new();
    for (index, version) in list.iter().enumerate() {
        let field = format!("{path}[{index}]");
        match list[..index].contains(version) {
            true => problems.push(Problem::invalid(field, *version, "duplicate version")),
            false => problems.extend(invalid_each(&field, version, names::dns_1035(version))),
        }
    }
    if !list.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        problems.push(Problem::invalid(path, versions.clone(), "must include at least one of v1, v1beta1"));
    }
    problems
}

fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    if is_established(old) {
        problems.extend(immutable("spec.scope", &spec["scope"], &before["scope"]));
        problems.extend(immutable("spec.names.kind", &spec["names"]["kind"], &before["names"]["kind"]));
    }
    problems.extend(immutable("spec.group", &spec["group"], &before["group"]));
    problems.extend(immutable("spec.names.plural", &spec["names"]["plural"], &before["names"]["plural"]));
    let stored = items(&new["status"]["storedVersions"]);
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        problems.push(Problem::invalid("status.storedVersions", new["status"]["storedVersions"].clone(), detail));
    }
    let known = |name: &Value| items(&spec["versions"]).iter().any(|version| version["name"] == *name);
    for (index, version) in stored.iter().enumerate() {
        if !known(version) {
            let field = format!("status.storedVersions[{index}]");
            let name = text(version);
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            problems.push(Problem::invalid(field, name, &detail));
        }
    }
    let storage = Value::from(storage_version(new));
    if !stored.is_empty() && !stored.contains(&storage) {
        let detail = format!("must have the storage version {}", text(&storage));
        problems.push(Problem::invalid("status.storedVersions", new["status"]["storedVersions"].clone(), &detail));
    }
    problems
}
