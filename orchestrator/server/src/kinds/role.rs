//! Role and ClusterRole.

use serde_json::Value;

use super::json::{is_empty, is_set, items};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, labels, metadata, names};

pub(super) const UPSERT: UpdateRules = UpdateRules { unconditional: true, creates: true, generation: false };

pub static ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "Role",
    plural: "roles",
    singular: "role",
    schema: "io.k8s.api.rbac.v1.Role",
    storage: "rbac.authorization.k8s.io/roles",
    update: UPSERT,
    validate: |role| {
        let mut problems = metadata::validate_plain(role, Scope::Namespaced, names::path_segment);
        problems.extend(validate_rules(&role["rules"], Scope::Namespaced));
        problems
    },
    ..PLAIN
};

pub static CLUSTER_ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    scope: Scope::Cluster,
    schema: "io.k8s.api.rbac.v1.ClusterRole",
    storage: "rbac.authorization.k8s.io/clusterroles",
    update: UPSERT,
    validate: |role| {
        let mut problems = metadata::validate_plain(role, Scope::Cluster, names::path_segment);
        problems.extend(validate_rules(&role["rules"], Scope::Cluster));
        problems.extend(validate_aggregation(&role["aggregationRule"]));
        problems
    },
    ..PLAIN
};

fn validate_rules(rules: &Value, scope: Scope) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, rule) in items(rules).iter().enumerate() {
        let at = |field: &str| format!("rules[{index}].{field}");
        let mut need = |field: &str, detail: &str| {
            if is_empty(&rule[field]) {
                problems.push(Problem::required(at(field), detail));
            }
        };
        need("verbs", "verbs must contain at least one value");
        if is_empty(&rule["nonResourceURLs"]) {
            need("apiGroups", "resource rules must supply at least one api group");
            need("resources", "resource rules must supply at least one resource");
            continue;
        }
        let path = at("nonResourceURLs");
        let urls = rule["nonResourceURLs"].clone();
        if scope == Scope::Namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            problems.push(Problem::invalid(path.clone(), urls.clone(), detail));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !is_empty(&rule[*field])) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            problems.push(Problem::invalid(path, urls, detail));
        }
    }
    problems
}

fn validate_aggregation(rule: &Value) -> Vec<Problem> {
    if !is_set(rule) {
        return Vec::new();
    }
    let path = "aggregationRule.clusterRoleSelectors";
    let selectors = items(&rule["clusterRoleSelectors"]);
    if selectors.is_empty() {
        return vec![Problem::required(
            path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        )];
    }
    let selectors = selectors.iter().enumerate();
    selectors.flat_map(|(index, selector)| labels::validate_selector(selector, &format!("{path}[{index}]"))).collect()
}
