//! Finds the pods of a node.

use std::sync::Arc;

use amphipod_api::Informer;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

const BY_NODE: &str = "spec.nodeName";

/// Makes `pods_on` work; asking again costs nothing.
pub fn index_by_node(pods: &Informer<Pod>) {
    pods.index(BY_NODE, |pod| node_of(pod).map(str::to_owned).into_iter().collect());
}

pub fn pods_on(pods: &Informer<Pod>, node: &Node) -> Vec<Arc<Pod>> {
    pods.indexed(BY_NODE, &node.name_any())
}

/// The node that a pod is bound to.
pub fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}
