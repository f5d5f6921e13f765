//! Makes the Endpoints of a Service from its pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::backends;
use crate::pods::{is_ready, is_terminating};

pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses in one object.
pub const ADDRESSES_MAX: usize = 1000;

type PortsKey = Vec<(String, String, i32, String)>;

/// What to write, as a change of `current` if there is one; `None` when it is right already.
/// `pods` are those that the Service selects.
pub fn plan(service: &Service, pods: &[Arc<Pod>], current: Option<&Endpoints>) -> Option<Endpoints> {
    let mut subsets = subsets(service, pods);
    let is_truncated = truncate(&mut subsets);
    let before = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    let mut after = before.clone();
    after.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    after.metadata.labels = Some(labels(service));
    let annotations = after.annotations_mut();
    annotations.remove(OVER_CAPACITY);
    if is_truncated {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    let is_same = after.subsets.as_deref().unwrap_or_default() == before.subsets.as_deref().unwrap_or_default()
        && after.labels() == before.labels()
        && after.annotations() == before.annotations();
    (current.is_none() || !is_same).then_some(after)
}

pub fn addresses_of(endpoints: &Endpoints) -> usize {
    endpoints.subsets.iter().flatten().map(|subset| count(&subset.addresses) + count(&subset.not_ready_addresses)).sum()
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels.remove(backends::HEADLESS);
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    if matches!(address, "" | "None") {
        labels.insert(backends::HEADLESS.into(), String::new());
    }
    labels
}

/// One subset for each list of ports that pods resolve to.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let family = backends::families(service).swap_remove(0);
    let publishes_all = backends::publishes_not_ready(service);
    let mut subsets: BTreeMap<PortsKey, EndpointSubset> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| publishes_all || !is_terminating(&pod.metadata)) {
        let Some(ip) = backends::addresses(pod, &family).into_iter().next() else { continue };
        let Some(ports) = ports(service, pod) else { continue };
        let address = EndpointAddress {
            ip,
            hostname: backends::hostname(pod, service),
            node_name: backends::node_name(pod),
            target_ref: Some(backends::target(pod)),
        };
        let subset = subsets.entry(ports_key(&ports)).or_insert_with(|| EndpointSubset {
            ports: Some(ports).filter(|ports| !ports.is_empty()),
            ..EndpointSubset::default()
        });
        let list = if publishes_all || is_ready(pod) { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<_> = subsets.into_values().collect();
    for list in subsets.iter_mut().flat_map(|subset| [&mut subset.addresses, &mut subset.not_ready_addresses]) {
        let uid = |address: &EndpointAddress| address.target_ref.as_ref().and_then(|target| target.uid.clone());
        list.iter_mut()
            .for_each(|list| list.sort_by_cached_key(|address| (address.ip.parse::<IpAddr>().ok(), uid(address))));
    }
    subsets
}

/// The pod's ports; only a headless Service may have none.
fn ports(service: &Service, pod: &Pod) -> Option<Vec<EndpointPort>> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let is_portless = backends::is_headless(service) && ports.clone().next().is_none();
    let resolved = ports.filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: backends::target_port(pod, port)?,
            protocol: Some(backends::protocol(port.protocol.as_ref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    let mut resolved: Vec<_> = resolved.collect();
    resolved.sort_by_key(|port| (port.name.clone(), port.protocol.clone(), port.port));
    (is_portless || !resolved.is_empty()).then_some(resolved)
}

fn ports_key(ports: &[EndpointPort]) -> PortsKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ports.iter().map(|port| (text(&port.name), text(&port.protocol), port.port, text(&port.app_protocol))).collect()
}

/// Leaves at most `ADDRESSES_MAX`: ready ones first, each subset its share. Returns whether any had to go.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let unready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + unready <= ADDRESSES_MAX {
        return false;
    }
    let unready_max = ADDRESSES_MAX.saturating_sub(ready);
    share(subsets.iter_mut().map(|subset| &mut subset.addresses), ready, ADDRESSES_MAX);
    share(subsets.iter_mut().map(|subset| &mut subset.not_ready_addresses), unready, unready_max);
    subsets.retain(|subset| count(&subset.addresses) + count(&subset.not_ready_addresses) > 0);
    true
}

/// Cuts lists of `total` addresses to `max` in proportion, rounding up while there is room.
fn share<'a>(lists: impl Iterator<Item = &'a mut Option<Vec<EndpointAddress>>>, total: usize, max: usize) {
    let mut room = max;
    for list in lists.filter(|list| list.is_some()) {
        let fair = (count(list) * max).div_ceil(total.max(1));
        let kept = fair.min(room).min(count(list));
        room -= kept;
        list.iter_mut().for_each(|list| list.truncate(kept));
        list.take_if(|list| list.is_empty());
    }
}

fn count(list: &Option<Vec<EndpointAddress>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests;
