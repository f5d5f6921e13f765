//! Filters by the node itself: cordoned, named by the pod, its host ports.

use super::taints::tolerates;
use crate::pod::{Class, HostPort};
use crate::snapshot::Node;
use k8s_openapi::api::core::v1::Taint;

pub fn unschedulable(class: &Class, node: &Node) -> Vec<String> {
    let cordon = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    let refused = node.unschedulable && !tolerates(&class.tolerations, &cordon);
    refused.then(|| "node(s) were unschedulable".into()).into_iter().collect()
}

pub fn name(class: &Class, node: &Node) -> Vec<String> {
    let other = class.node_name.as_ref().is_some_and(|name| *name != node.name);
    other.then(|| "node(s) didn't match the requested node name".into()).into_iter().collect()
}

pub fn ports(class: &Class, node: &Node) -> Vec<String> {
    let taken = class.ports.iter().any(|wanted| node.ports.keys().any(|used| collide(wanted, used)));
    taken.then(|| "node(s) didn't have free ports for the requested pod ports".into()).into_iter().collect()
}

fn collide(a: &HostPort, b: &HostPort) -> bool {
    let any = "0.0.0.0";
    a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || a.0 == any || b.0 == any)
}
