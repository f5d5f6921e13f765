//! Nothing is created in a namespace that is absent or on its way out; some namespaces never go.
//! The store's guard says the same at commit; here it is said before other plug-ins complain of what follows from it.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::kinds::Scope;
use crate::kinds::json::is_set;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub struct NamespaceLifecycle;

#[async_trait]
impl Admit for NamespaceLifecycle {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let kind = request.kind;
        if kind.group.is_empty() && kind.kind == "Namespace" {
            if request.operation == Operation::Delete && IMMORTAL.contains(&request.name) {
                return Err(Status::forbidden(kind, request.name, "this namespace may not be deleted"));
            }
            return Ok(());
        }
        let creates = request.operation == Operation::Create && request.subresource.is_empty();
        if !creates || kind.scope != Scope::Namespaced || kind.group == "authorization.k8s.io" {
            return Ok(());
        }
        match state(request.cluster.get("namespaces", "", request.namespace).as_ref()) {
            State::Active => Ok(()),
            State::Absent => Err(Status::not_found_resource(("", "namespaces"), request.namespace)),
            State::Terminating => Err(terminating(request)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Active,
    Terminating,
}

fn state(namespace: Option<&Value>) -> State {
    match namespace {
        None => State::Absent,
        Some(namespace) if is_set(&namespace["metadata"]["deletionTimestamp"]) => State::Terminating,
        Some(namespace) if namespace["status"]["phase"] == "Terminating" => State::Terminating,
        Some(_) => State::Active,
    }
}

fn terminating(request: &AdmissionRequest<'_>) -> Status {
    let namespace = request.namespace;
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    Status::forbidden(request.kind, request.name, &why).with_causes(vec![cause])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_timestamp_or_phase_means_terminating() {
        assert_eq!(state(None), State::Absent);
        assert_eq!(state(Some(&json!({ "status": { "phase": "Active" } }))), State::Active);
        assert_eq!(state(Some(&json!({ "status": { "phase": "Terminating" } }))), State::Terminating);
        assert_eq!(state(Some(&json!({ "metadata": { "deletionTimestamp": "x" } }))), State::Terminating);
    }
}
