//! RoleBinding and ClusterRoleBinding.

use serde_json::Value;

use super::json::{child, fill_text, is_empty, items, items_mut, text};
use super::problem::invalid_each;
use super::role::UPSERT;
use super::table::{AGE, NAME, age, name, string, wide};
use super::{Kind, PLAIN, Problem, Scope, metadata, names};

const GROUP: &str = "rbac.authorization.k8s.io";
const ROLE_REF: &str = "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. \
    If the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.";
const CLUSTER_ROLE_REF: &str = "RoleRef can only reference a ClusterRole in the global namespace. \
    If the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.";

pub static ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    schema: "io.k8s.api.rbac.v1.RoleBinding",
    storage: "rbac.authorization.k8s.io/rolebindings",
    update: UPSERT,
    defaults,
    validate: |binding| validate(binding, Scope::Namespaced),
    validate_update,
    columns: &[
        NAME,
        string("Role", ROLE_REF),
        AGE,
        wide("Users", "Users in the roleBinding"),
        wide("Groups", "Groups in the roleBinding"),
        wide("ServiceAccounts", "ServiceAccounts in the roleBinding"),
    ],
    row,
    ..PLAIN
};

pub static CLUSTER_ROLE_BINDING: Kind = Kind {
    group: GROUP,
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    scope: Scope::Cluster,
    schema: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    storage: "rbac.authorization.k8s.io/clusterrolebindings",
    update: UPSERT,
    defaults,
    validate: |binding| validate(binding, Scope::Cluster),
    validate_update,
    columns: &[
        NAME,
        string("Role", CLUSTER_ROLE_REF),
        AGE,
        wide("Users", "Users in the clusterRoleBinding"),
        wide("Groups", "Groups in the clusterRoleBinding"),
        wide("ServiceAccounts", "ServiceAccounts in the clusterRoleBinding"),
    ],
    row,
    ..PLAIN
};

fn defaults(binding: &mut Value) {
    if let Some(reference) = child(binding, "roleRef") {
        fill_text(reference, "apiGroup", GROUP);
    }
    for subject in items_mut(binding, "subjects") {
        if matches!(text(&subject["kind"]), "User" | "Group") {
            fill_text(subject, "apiGroup", GROUP);
        }
    }
}

fn validate(binding: &Value, scope: Scope) -> Vec<Problem> {
    let mut problems = metadata::validate_plain(binding, scope, names::path_segment);
    let reference = &binding["roleRef"];
    let group = text(&reference["apiGroup"]);
    if group != GROUP {
        problems.push(Problem::not_supported("roleRef.apiGroup", group, &[GROUP]));
    }
    let kinds: &[&str] = if scope == Scope::Cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
    let kind = text(&reference["kind"]);
    if !kinds.contains(&kind) {
        problems.push(Problem::not_supported("roleRef.kind", kind, kinds));
    }
    match text(&reference["name"]) {
        "" => problems.push(Problem::required("roleRef.name", "")),
        name => problems.extend(invalid_each("roleRef.name", name, names::path_segment(name))),
    }
    for (index, subject) in items(&binding["subjects"]).iter().enumerate() {
        problems.extend(validate_subject(subject, &format!("subjects[{index}]")));
    }
    problems
}

fn validate_subject(subject: &Value, path: &str) -> Vec<Problem> {
    let (kind, name, group) = (text(&subject["kind"]), text(&subject["name"]), text(&subject["apiGroup"]));
    let mut problems = Vec::new();
    if name.is_empty() {
        problems.push(Problem::required(format!("{path}.name"), ""));
    }
    let wanted = match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                problems.extend(invalid_each(&format!("{path}.name"), name, names::subdomain(name)));
            }
            if is_empty(&subject["namespace"]) {
                problems.push(Problem::required(format!("{path}.namespace"), ""));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            problems.push(Problem::not_supported(format!("{path}.kind"), other, &kinds));
            return problems;
        }
    };
    if group != wanted {
        problems.push(Problem::not_supported(format!("{path}.apiGroup"), group, &[wanted]));
    }
    problems
}

fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    if new["roleRef"] != old["roleRef"] {
        problems.push(Problem::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef"));
    }
    problems
}

fn row(binding: &Value, now: i64) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let found = items(&binding["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let shown = found.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
            _ => text(&subject["name"]).to_owned(),
        });
        shown.collect::<Vec<_>>().join(", ").into()
    };
    let reference = &binding["roleRef"];
    vec![
        name(binding),
        format!("{}/{}", text(&reference["kind"]), text(&reference["name"])).into(),
        age(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
