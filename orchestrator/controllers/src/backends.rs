//! Which pods stand behind a Service and on which ports. `endpoint_slice` and `endpoints` publish them.

use std::net::IpAddr;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::selector::{Labels, matches_pairs};
use amphipod_api::{Change, Informer};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::pods::{condition, is_terminal};

pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// The selector of a Service whose endpoints are made from pods; `None` for all others.
pub fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then_some(selector)
}

pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The Service's families of address as EndpointSlices name them.
pub fn families(service: &Service) -> Vec<String> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_default();
    if families.is_empty() { vec!["IPv4".to_owned()] } else { families }
}

/// A pod's addresses of one family; none for a pod that has run to its end.
pub fn addresses(pod: &Pod, family: &str) -> Vec<String> {
    if is_terminal(pod) {
        return Vec::new();
    }
    let Some(status) = &pod.status else { return Vec::new() };
    let mut all: Vec<String> = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    if all.is_empty() {
        all.extend(status.pod_ip.clone());
    }
    let is_of_family = |ip: &String| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (family == "IPv4"));
    all.into_iter().filter(is_of_family).collect()
}

/// The port of a pod that a Service's port leads to; `None` when the pod has no port of that name and protocol.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found = ports.find(|found| {
        found.name.as_ref() == Some(name) && protocol(found.protocol.as_ref()) == protocol(port.protocol.as_ref())
    });
    found.map(|found| found.container_port)
}

pub fn protocol(named: Option<&String>) -> &str {
    named.map_or("TCP", String::as_str)
}

/// The name under which a pod is found in DNS below its governing Service.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.as_ref() == service.metadata.name.as_ref()).then_some(hostname)
}

pub fn node_name(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty())
}

pub fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.namespace(),
        name: pod.metadata.name.clone(),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// Calls `wake` with every Service whose endpoints a change of a pod may have changed.
pub async fn follow_pods(pods: Informer<Pod>, services: &Informer<Service>, wake: impl Fn(ObjectKey) + Send + Sync) {
    let mut changes = pods.subscribe();
    let wake_for = |pod: &Pod| {
        for service in services.in_namespace(&pod.namespace().unwrap_or_default()) {
            if selector(&service).is_some_and(|selector| matches_pairs(selector, pod.metadata.labels.as_ref())) {
                wake(key_of(&service.metadata));
            }
        }
    };
    while let Some(change) = changes.next().await {
        match change {
            Change::Applied { now, before: Some(before) } if same(&before, &now) => {}
            Change::Applied { now, before } => {
                if let Some(before) = before.filter(|before| before.metadata.labels != now.metadata.labels) {
                    wake_for(&before);
                }
                wake_for(&now);
            }
            Change::Deleted(pod) => wake_for(&pod),
            Change::Resynced => services.list().iter().for_each(|service| wake(key_of(&service.metadata))),
        }
    }
}

/// Whether two states of a pod make the same endpoints.
fn same(before: &Pod, now: &Pod) -> bool {
    let meta = |pod: &Pod| (pod.uid(), pod.metadata.deletion_timestamp.is_some());
    let ready = |pod: &Pod| condition(pod, "Ready").map(|ready| ready.status.clone());
    let ips = |pod: &Pod| pod.status.as_ref().map(|status| (status.pod_ip.clone(), status.pod_ips.clone()));
    meta(before) == meta(now)
        && before.metadata.labels == now.metadata.labels
        && is_terminal(before) == is_terminal(now)
        && ready(before) == ready(now)
        && ips(before) == ips(now)
        && before.spec == now.spec
}
