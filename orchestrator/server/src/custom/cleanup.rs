//! The end of a custom kind: its objects are deleted first, and its definition says how far that has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use amphipod_store::Snapshot;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Value, json};

use super::names::put_condition;
use crate::kinds::custom_resource_definition::condition;
use crate::registry::Entry;
use crate::seams::Identity;
use crate::server::Server;

/// What is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Something,
    Nothing,
}

/// A definition whose deletion begins.
pub fn mark(definition: &mut Value, time: &str) {
    if definition["status"].is_object() {
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        put_condition(definition, terminating("True", "InstanceDeletionPending", message), time);
    }
}

/// The condition after a look at what is left.
pub fn tell(definition: &mut Value, left: Left, time: &str) {
    let before = condition(definition, "Terminating").map(|condition| condition["reason"].clone());
    let wanted = match left {
        Left::Something => terminating("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"),
        Left::Nothing => terminating("False", "InstanceDeletionCompleted", "removed all instances"),
    };
    if before.as_ref() != Some(&wanted["reason"]) {
        put_condition(definition, wanted, time);
    }
}

fn terminating(status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": "Terminating", "status": status, "reason": reason, "message": message })
}

/// Asks for the deletion of every object of the kind. What finalizers hold is looked at again later.
pub async fn empty(server: &Server, entry: Option<&Arc<Entry>>, snapshot: &dyn Snapshot) -> Left {
    let Some(entry) = entry else { return Left::Nothing };
    let id = entry.id();
    if snapshot.count(id, None) == 0 {
        return Left::Nothing;
    }
    let there = snapshot.list(id, None, None, 0);
    let waiting = there.iter().filter(|object| !object.meta.terminating);
    let namespaces: BTreeSet<String> = waiting.map(|object| object.key.namespace().to_owned()).collect();
    let kind = GroupVersionKind::gvk(entry.kind.group, entry.kind.version, entry.kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, entry.kind.plural);
    let client = server.client(Identity::system_masters());
    for namespace in namespaces {
        let api: Api<DynamicObject> = match namespace.as_str() {
            "" => Api::all_with(client.clone(), &resource),
            namespace => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        if let Err(error) = api.delete_collection(&DeleteParams::default(), &ListParams::default()).await {
            tracing::debug!(%error, namespace, "objects of a kind that ends were not deleted");
        }
    }
    match server.store.snapshot().count(id, None) {
        0 => Left::Nothing,
        _ => Left::Something,
    }
}
