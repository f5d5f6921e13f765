//! What a node's conditions say.

use k8s_openapi::api::core::v1::{Node, NodeCondition};

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}
