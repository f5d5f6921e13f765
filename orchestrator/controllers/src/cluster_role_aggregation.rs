//! Keeps the rules of an aggregated ClusterRole what the roles it selects make them. The authorizer knows nothing of
//! aggregation: it reads the rules that are written here.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{Informer, selector};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::context::{Context, follow, found};
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 1;
const MANAGER: &str = "clusterrole-aggregation-controller";

struct Aggregation {
    context: Context,
    roles: Informer<ClusterRole>,
}

pub async fn run(context: Context) {
    let roles = context.informers.of::<ClusterRole>();
    roles.synced().await;
    let queue = Queue::new("ClusterRoleAggregator");
    let this = Arc::new(Aggregation { context, roles: roles.clone() });
    // Any role may be part of any aggregate; there are few of these.
    let each = |_: &ClusterRole| {
        let all = roles.list();
        all.iter().filter(|role| role.aggregation_rule.is_some()).for_each(|role| queue.add(role.name_any()));
    };
    each(&ClusterRole::default());
    tokio::join!(follow(roles.clone(), each), queue.clone().work(WORKERS, this));
}

impl Reconcile<String> for Aggregation {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(role) = self.roles.get("", name) else { return Ok(None) };
        let Some(rules) = aggregated(&role, &self.roles.list()) else { return Ok(None) };
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(None);
        }
        let api: Api<ClusterRole> = Api::all(self.context.client.clone());
        let patch = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        });
        found(api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await).map(|_| None)
    }
}

/// Every rule of every selected role once, in the order of selectors and names; `None` when the role aggregates nothing.
fn aggregated(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    let mut sorted: Vec<&Arc<ClusterRole>> = all.iter().filter(|other| other.name_any() != role.name_any()).collect();
    sorted.sort_by_key(|other| other.name_any());
    let mut rules = Vec::new();
    for wanted in selectors {
        for other in sorted.iter().filter(|other| selector::matches(wanted, other.metadata.labels.as_ref())) {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::Value;

    use super::*;

    fn check(role: Value, others: &[Value], expected: Expect) {
        let parse = |value: &Value| serde_json::from_value::<ClusterRole>(value.clone()).unwrap();
        let all: Vec<_> = others.iter().map(|other| Arc::new(parse(other))).collect();
        let verbs = aggregated(&parse(&role), &all)
            .map(|rules| rules.iter().map(|rule| rule.verbs.join("+")).collect::<Vec<_>>().join(" "));
        expected.assert_eq(&format!("{verbs:?}"));
    }

    #[test]
    fn rules_of_the_selected_are_joined_once() {
        let part = |name: &str, label: &str, verbs: &[&str]| {
            let rules: Vec<Value> = verbs.iter().map(|verb| json!({"verbs": [verb]})).collect();
            json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": rules})
        };
        let parts = [part("b", "edit", &["get", "list"]), part("a", "edit", &["list"]), part("c", "view", &["watch"])];
        let whole = |labels: &[&str]| {
            let selectors: Vec<Value> = labels.iter().map(|label| json!({"matchLabels": {"to": label}})).collect();
            json!({"metadata": {"name": "w"}, "aggregationRule": {"clusterRoleSelectors": selectors}})
        };
        check(whole(&["edit"]), &parts, expect![[r#"Some("list get")"#]]);
        check(whole(&["view", "edit"]), &parts, expect![[r#"Some("watch list get")"#]]);
        check(whole(&["none"]), &parts, expect![[r#"Some("")"#]]);
        check(part("a", "edit", &["get"]), &parts, expect!["None"]);
    }
}
