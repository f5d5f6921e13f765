//! Nobody grants what they do not hold: the rule that admission of Roles, ClusterRoles and their bindings asks.
//! `escalate` on a role, or `bind` on the role that a binding names, lifts it.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::index::RoleName;
use super::rule::{covers, list};
use super::{Rbac, is_master};
use crate::seams::{Attributes, Authorize, Decision, Identity};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Rbac {
    /// May the identity write a role (`namespace` empty: a ClusterRole) with these rules? The error is the text
    /// after `… is forbidden: `. Do not ask when an update leaves the rules as they are.
    pub fn may_grant(
        &self,
        identity: &Identity,
        (namespace, name): (&str, &str),
        rules: &[PolicyRule],
    ) -> Result<(), String> {
        let resource = if namespace.is_empty() { "clusterroles" } else { "roles" };
        if self.allowed(identity, ("escalate", resource), (namespace, name)) {
            return Ok(());
        }
        confirm(identity, &self.rules_of(identity, namespace), rules)
    }

    /// May the identity write a binding in `namespace` (empty: cluster-wide) to this role, which has these rules? The
    /// error is the text after `… is forbidden: `.
    pub fn may_bind(
        &self,
        identity: &Identity,
        namespace: &str,
        (role, rules): (&RoleName, &[PolicyRule]),
    ) -> Result<(), String> {
        if self.may_bind_any(identity, namespace, role) {
            return Ok(());
        }
        confirm(identity, &self.rules_of(identity, namespace), rules)
    }

    /// Whether the verb `bind` is held for this role: then its rules do not matter, nor whether it exists.
    pub fn may_bind_any(&self, identity: &Identity, namespace: &str, role: &RoleName) -> bool {
        let (resource, name) = match role {
            RoleName::Cluster(name) => ("clusterroles", name),
            RoleName::Namespaced { name, .. } => ("roles", name),
        };
        self.allowed(identity, ("bind", resource), (namespace, name))
    }

    /// May the identity write an aggregation rule? Such a role can gather anything, so only who holds everything may.
    pub fn may_aggregate(&self, identity: &Identity, name: &str) -> Result<(), String> {
        if self.allowed(identity, ("escalate", "clusterroles"), ("", name)) {
            return Ok(());
        }
        let all = [super::everything(), super::every_path()];
        confirm(identity, &self.rules_of(identity, ""), &all)
            .map_err(|why| format!("must have cluster-admin privileges to use the aggregationRule: {why}"))
    }

    fn allowed(&self, identity: &Identity, (verb, resource): (&str, &str), (namespace, name): (&str, &str)) -> bool {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        is_master(identity) || matches!(self.authorize(identity, &attributes), Decision::Allowed { .. })
    }
}

/// Upstream's refusal, or nothing when every wanted rule is held.
pub fn confirm(identity: &Identity, held: &[PolicyRule], wanted: &[PolicyRule]) -> Result<(), String> {
    let missing = uncovered(held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = compact(missing).iter().map(text).collect();
    lines.sort_unstable();
    let groups = quoted(&identity.groups);
    let user = &identity.user;
    Err(format!(
        "user {user:?} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{}",
        lines.join("\n")
    ))
}

/// The atoms of `wanted` (one verb on one thing) that no single held rule covers.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let atoms = wanted.iter().flat_map(atoms);
    atoms.filter(|atom| !held.iter().any(|rule| covers(rule, atom))).collect()
}

fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| Some(vec![value.clone()]);
    let mut atoms = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for path in list(&rule.non_resource_urls) {
            atoms.push(PolicyRule { verbs: verbs.clone(), non_resource_urls: one(path), ..PolicyRule::default() });
        }
        for (group, resource) in list(&rule.api_groups)
            .iter()
            .flat_map(|group| list(&rule.resources).iter().map(move |resource| (group, resource)))
        {
            let atom = PolicyRule {
                verbs: verbs.clone(),
                api_groups: one(group),
                resources: one(resource),
                ..PolicyRule::default()
            };
            match list(&rule.resource_names) {
                [] => atoms.push(atom),
                names => {
                    atoms.extend(names.iter().map(|name| PolicyRule { resource_names: one(name), ..atom.clone() }))
                }
            }
        }
    }
    atoms
}

/// Verbs on the same thing, together.
fn compact(atoms: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut things: BTreeMap<[Vec<String>; 4], PolicyRule> = BTreeMap::new();
    for atom in atoms {
        let part = |values: &Option<Vec<String>>| list(values).to_vec();
        let thing =
            [part(&atom.api_groups), part(&atom.resources), part(&atom.resource_names), part(&atom.non_resource_urls)];
        match things.get_mut(&thing) {
            Some(rule) if rule.verbs.contains(&atom.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(atom.verbs),
            None => _ = things.insert(thing, atom),
        }
    }
    things.into_values().collect()
}

fn text(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", quoted(values)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Go's `%q` of a list of strings.
fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}
