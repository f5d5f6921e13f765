//! Whether they may: the Node authorizer (`authz/nodes.rs`), then Kubernetes' RBAC over a live index of roles and
//! bindings. Matching of one rule is in `authz/rule.rs`, the index in `authz/index.rs`, its feeding in
//! `authz/follow.rs`, what a writer of roles may grant in `authz/escalation.rs`, refusals in `authz/denial.rs`.

pub mod denial;
pub mod escalation;
pub mod follow;
pub mod index;
pub mod nodes;
pub mod rule;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use parking_lot::RwLock;
use serde_json::json;

pub use denial::{denial, denial_text};
pub use index::{Index, Policy};
pub use nodes::Nodes;

use crate::seams::{Attributes, Authorize, Decision, Identity, Rules};

/// Members may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";

/// All authorizers, in the order they are asked; the first that allows wins.
pub struct Authorizers {
    pub nodes: Arc<Nodes>,
    pub rbac: Arc<Rbac>,
}

impl Authorize for Authorizers {
    fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Decision {
        if is_master(identity) {
            return Decision::Allowed { reason: String::new() };
        }
        let of_node = match self.nodes.authorize(identity, attributes) {
            Ok(()) => return Decision::Allowed { reason: String::new() },
            Err(reason) => reason,
        };
        match self.rbac.authorize(identity, attributes) {
            Decision::Denied { reason } => {
                let said = [of_node, reason].into_iter().filter(|reason| !reason.is_empty());
                Decision::Denied { reason: said.collect::<Vec<_>>().join("\n") }
            }
            allowed => allowed,
        }
    }

    fn rules(&self, identity: &Identity, namespace: &str) -> Rules {
        let mut rules = self.rbac.rules(identity, namespace);
        if nodes::node_name(identity).is_some() {
            rules.incomplete = true;
            rules.error = "node authorizer does not support user rule resolution".to_owned();
        }
        rules
    }
}

/// RBAC. Shared by the pipeline (which asks) and `follow` (which keeps it true).
#[derive(Default)]
pub struct Rbac {
    index: RwLock<Index>,
}

impl Rbac {
    /// Changes the policy in place; `follow` and tests do.
    pub fn update(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.index.write());
    }

    /// Every rule that holds for the identity in the namespace (empty: cluster-wide).
    pub fn rules_of(&self, identity: &Identity, namespace: &str) -> Vec<PolicyRule> {
        let mut rules = if is_master(identity) { vec![everything(), every_path()] } else { Vec::new() };
        let index = self.index.read();
        index.visit(identity, namespace, |granted| {
            rules.extend(granted.rules.unwrap_or_default().iter().cloned());
            false
        });
        rules
    }

    fn decide(&self, identity: &Identity, attributes: &Attributes) -> Decision {
        let index = self.index.read();
        let (mut allowed, mut missing) = (None, Vec::new());
        index.visit(identity, &attributes.namespace, |granted| match granted.rules {
            Some(rules) => {
                let matches = rules.iter().any(|rule| rule::matches(rule, attributes));
                if matches {
                    allowed = Some(format!("RBAC: allowed by {granted}"));
                }
                matches
            }
            None => {
                missing.push(granted.binding.role.missing());
                false
            }
        });
        match (allowed, missing.as_slice()) {
            (Some(reason), _) => Decision::Allowed { reason },
            (None, []) => Decision::Denied { reason: String::new() },
            (None, [one]) => Decision::Denied { reason: format!("RBAC: {one}") },
            (None, many) => Decision::Denied { reason: format!("RBAC: [{}]", many.join(", ")) },
        }
    }
}

impl Authorize for Rbac {
    fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Decision {
        if is_master(identity) {
            return Decision::Allowed { reason: String::new() };
        }
        self.decide(identity, attributes)
    }

    fn rules(&self, identity: &Identity, namespace: &str) -> Rules {
        let mut answer = Rules::default();
        for rule in self.rules_of(identity, namespace) {
            let (paths, resources) = (rule.non_resource_urls.unwrap_or_default(), rule.resources.unwrap_or_default());
            if !paths.is_empty() {
                answer.non_resource.push(json!({"verbs": rule.verbs, "nonResourceURLs": paths}));
            }
            if !resources.is_empty() {
                let mut found = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups.unwrap_or_default(), "resources": resources});
                if let Some(names) = rule.resource_names.filter(|names| !names.is_empty()) {
                    found["resourceNames"] = json!(names);
                }
                answer.resource.push(found);
            }
        }
        answer
    }
}

pub(crate) fn is_master(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| group == MASTERS)
}

fn everything() -> PolicyRule {
    let all = || vec!["*".to_owned()];
    PolicyRule { verbs: all(), api_groups: Some(all()), resources: Some(all()), ..PolicyRule::default() }
}

fn every_path() -> PolicyRule {
    let all = || vec!["*".to_owned()];
    PolicyRule { verbs: all(), non_resource_urls: Some(all()), ..PolicyRule::default() }
}

#[cfg(test)]
mod tests;
