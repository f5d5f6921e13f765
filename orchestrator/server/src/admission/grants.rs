//! Nobody grants more than they hold: who writes a role or a binding must hold every rule that it gives, or the verbs
//! `escalate` and `bind`. The comparison itself is `authz/escalation.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::authz::index::RoleName;
use crate::authz::{Rbac, is_master};
use crate::kinds::json::{is_set, keep, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const GROUP: &str = "rbac.authorization.k8s.io";

pub struct Grants(pub Arc<Rbac>);

#[async_trait]
impl Admit for Grants {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let Some(object) = &request.object else { return Ok(()) };
        if request.kind.group != GROUP || !request.subresource.is_empty() || is_master(request.identity) {
            return Ok(());
        }
        if request.old.is_some_and(|old| collects_only(object, old)) {
            return Ok(());
        }
        match request.kind.kind {
            "Role" | "ClusterRole" => self.role(request, object),
            _ => self.binding(request, object),
        }
    }
}

impl Grants {
    fn role(&self, request: &AdmissionRequest<'_>, role: &Value) -> Result<(), Status> {
        // As upstream: when it is created, a role's name is not yet part of what is asked.
        let name = if request.operation == Operation::Create { "" } else { request.name };
        let refused = |why: String| Status::forbidden(request.kind, request.name, &why);
        self.0.may_grant(request.identity, (request.namespace, name), &rules(role)).map_err(refused)?;
        let aggregates = |role: &Value| is_set(&role["aggregationRule"]);
        if aggregates(role) || request.old.is_some_and(aggregates) {
            self.0.may_aggregate(request.identity, name).map_err(refused)?;
        }
        Ok(())
    }

    fn binding(&self, request: &AdmissionRequest<'_>, binding: &Value) -> Result<(), Status> {
        let name = text(&binding["roleRef"]["name"]);
        let (plural, namespace, role) = match text(&binding["roleRef"]["kind"]) {
            "Role" => {
                let namespace = request.namespace.to_owned();
                ("roles", request.namespace, RoleName::Namespaced { namespace, name: name.to_owned() })
            }
            _ => ("clusterroles", "", RoleName::Cluster(name.to_owned())),
        };
        if self.0.may_bind_any(request.identity, request.namespace, &role) {
            return Ok(());
        }
        // Read from the store: the index may not have heard of a role that was made a moment ago.
        let stored = request.cluster.get(&format!("{GROUP}/{plural}"), namespace, name);
        let stored = stored.ok_or_else(|| Status::not_found_resource((GROUP, plural), name))?;
        self.0
            .may_bind(request.identity, request.namespace, (&role, &rules(&stored)))
            .map_err(|why| Status::forbidden(request.kind, request.name, &why))
    }
}

fn rules(role: &Value) -> Vec<PolicyRule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

/// Nothing changes but what the garbage collector writes: it needs no right to grant.
fn collects_only(new: &Value, old: &Value) -> bool {
    let mut same = new.clone();
    for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
        keep(&mut same["metadata"], field, &old["metadata"]);
    }
    same == *old
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_and_finalizers_are_no_grant() {
        let old = json!({"metadata": {"name": "r", "finalizers": ["f"]}, "rules": [{"verbs": ["get"]}]});
        let mut new = old.clone();
        new["metadata"]["ownerReferences"] = json!([{"uid": "1"}]);
        new["metadata"]["finalizers"] = json!([]);
        assert!(collects_only(&new, &old));
        new["rules"] = json!([{"verbs": ["*"]}]);
        assert!(!collects_only(&new, &old));
    }
}
