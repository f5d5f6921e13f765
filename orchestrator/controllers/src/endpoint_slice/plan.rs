//! Decides which EndpointSlices of a Service to write. Endpoints stay in the slice they are in; new ones fill
//! slices that change anyway, then whole new slices, then the fullest slice that can take the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphipod_api::labels::{ENDPOINT_SLICE_MANAGED_BY, SERVICE_NAME};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::backends;
use crate::pods::{controlled_by, controller_of, is_ready, is_terminating};

pub const ENDPOINTS_MAX: usize = 100;

#[derive(Debug)]
pub enum Write {
    Create(EndpointSlice),
    /// Carries the resource version it was planned on.
    Update(EndpointSlice),
    Delete(EndpointSlice),
}

/// Endpoints of one family of address, in groups of equal ports.
pub struct Family {
    pub address_type: String,
    pub groups: BTreeMap<PortsKey, Group>,
}

/// What makes two lists of ports equal.
pub type PortsKey = Vec<(String, String, Option<i32>, String)>;

#[derive(Default)]
pub struct Group {
    pub ports: Vec<EndpointPort>,
    /// By `identity`.
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// `pods` are those that the Service selects; `zone` is where a node stands.
pub fn family(
    service: &Service,
    address_type: &str,
    pods: &[Arc<Pod>],
    zone: impl Fn(&str) -> Option<String>,
) -> Family {
    let mut groups: BTreeMap<PortsKey, Group> = BTreeMap::new();
    for pod in pods {
        let addresses = backends::addresses(pod, address_type);
        if addresses.is_empty() {
            continue;
        }
        let ports = ports(service, pod);
        let group = groups.entry(ports_key(&ports)).or_insert_with(|| Group { ports, ..Group::default() });
        let mut endpoint = endpoint(service, pod, addresses);
        endpoint.zone = endpoint.node_name.as_deref().and_then(&zone);
        group.endpoints.insert(identity(&endpoint), endpoint);
    }
    Family { address_type: address_type.to_owned(), groups }
}

/// A terminating pod may still serve but is ready no more, unless the Service publishes all.
fn endpoint(service: &Service, pod: &Pod, addresses: Vec<String>) -> Endpoint {
    let (serving, terminating) = (is_ready(pod), is_terminating(&pod.metadata));
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(backends::publishes_not_ready(service) || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: backends::hostname(pod, service),
        node_name: backends::node_name(pod),
        target_ref: Some(backends::target(pod)),
        ..Endpoint::default()
    }
}

/// Ports that the pod has; slices name them as the Service does.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let resolved = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(backends::target_port(pod, port)?),
            protocol: Some(backends::protocol(port.protocol.as_ref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

pub fn ports_key(ports: &[EndpointPort]) -> PortsKey {
    let mut key: PortsKey = ports
        .iter()
        .map(|port| {
            let name = port.name.clone().unwrap_or_default();
            (
                name,
                backends::protocol(port.protocol.as_ref()).to_owned(),
                port.port,
                port.app_protocol.clone().unwrap_or_default(),
            )
        })
        .collect();
    key.sort();
    key
}

/// What turns `existing`, the slices of one manager and Service, into the wanted endpoints. No families: none at all.
/// `template` is what new slices look like, their owner included.
pub fn plan(template: &EndpointSlice, wanted: Vec<Family>, existing: Vec<EndpointSlice>) -> Vec<Write> {
    let owner = |slice: &EndpointSlice| controller_of(&slice.metadata).map(|owner| owner.uid.clone());
    let mut writes = Vec::new();
    let mut by_type: BTreeMap<String, Vec<EndpointSlice>> = BTreeMap::new();
    for slice in existing.into_iter().filter(|slice| !is_terminating(&slice.metadata)) {
        if owner(&slice) == owner(template) {
            by_type.entry(slice.address_type.clone()).or_default().push(slice);
        } else {
            writes.push(Write::Delete(slice));
        }
    }
    for family in wanted {
        let existing = by_type.remove(&family.address_type).unwrap_or_default();
        writes.extend(plan_family(template, family, existing));
    }
    writes.extend(by_type.into_values().flatten().map(Write::Delete));
    writes
}

fn plan_family(template: &EndpointSlice, mut family: Family, existing: Vec<EndpointSlice>) -> Vec<Write> {
    if family.groups.is_empty() {
        // A Service without endpoints has one slice that says so.
        family.groups.insert(PortsKey::new(), Group::default());
    }
    let mut by_ports: BTreeMap<PortsKey, Vec<EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        by_ports.entry(ports_key(slice.ports.as_deref().unwrap_or_default())).or_default().push(slice);
    }
    let template = EndpointSlice { address_type: family.address_type, ..template.clone() };
    let mut pass = Pass { template, new: Vec::new(), changed: Vec::new(), spare: Vec::new() };
    for (key, group) in family.groups {
        pass.fill(group, by_ports.remove(&key).unwrap_or_default());
    }
    pass.spare.extend(by_ports.into_values().flatten());
    pass.writes()
}

/// Name, labels and owner of new slices: the Service, or the Endpoints that they mirror.
pub fn template<K: Resource<DynamicType = ()>>(owner: &K, manager: &str) -> EndpointSlice {
    let mut labels = owner.labels().clone();
    labels.remove(backends::HEADLESS);
    labels.insert(SERVICE_NAME.into(), owner.name_any());
    labels.insert(ENDPOINT_SLICE_MANAGED_BY.into(), manager.into());
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name_any())),
            namespace: owner.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controlled_by(owner)]),
            ..ObjectMeta::default()
        },
        ..EndpointSlice::default()
    }
}

/// What an endpoint keeps while its conditions change: its pod or else its address.
pub fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    uid.or_else(|| endpoint.addresses.first().cloned()).unwrap_or_default()
}

struct Pass {
    template: EndpointSlice,
    new: Vec<EndpointSlice>,
    changed: Vec<EndpointSlice>,
    spare: Vec<EndpointSlice>,
}

impl Pass {
    fn fill(&mut self, group: Group, existing: Vec<EndpointSlice>) {
        let mut wanted = group.endpoints;
        let is_placeholder = wanted.is_empty();
        let (mut same, mut changed) = (Vec::new(), Vec::new());
        for mut slice in existing {
            let is_changed = self.refresh(&mut slice, &mut wanted);
            if count(&slice) == 0 && !(is_placeholder && same.is_empty() && changed.is_empty()) {
                self.spare.push(slice);
            } else if is_changed {
                changed.push(slice);
            } else {
                same.push(slice);
            }
        }
        let is_missing = same.is_empty() && changed.is_empty();
        let mut missing: Vec<_> = wanted.into_values().collect();
        changed.sort_by_key(|slice| std::cmp::Reverse(count(slice)));
        for slice in &mut changed {
            let room = ENDPOINTS_MAX.saturating_sub(count(slice)).min(missing.len());
            slice.endpoints.get_or_insert_default().extend(missing.drain(..room));
        }
        while missing.len() >= ENDPOINTS_MAX {
            let rest = missing.split_off(ENDPOINTS_MAX);
            self.add(&group.ports, std::mem::replace(&mut missing, rest));
        }
        if !missing.is_empty() {
            let fits = |slice: &EndpointSlice| count(slice) + missing.len() <= ENDPOINTS_MAX;
            let fullest = (0..same.len()).filter(|index| fits(&same[*index])).max_by_key(|index| count(&same[*index]));
            match fullest {
                Some(index) => {
                    let mut slice = same.swap_remove(index);
                    slice.endpoints.get_or_insert_default().append(&mut missing);
                    changed.push(slice);
                }
                None => self.add(&group.ports, missing),
            }
        } else if is_placeholder && is_missing {
            self.add(&group.ports, Vec::new());
        }
        self.changed.append(&mut changed);
    }

    /// Takes the slice's endpoints out of those wanted. Returns whether the slice must be written.
    fn refresh(&self, slice: &mut EndpointSlice, wanted: &mut BTreeMap<String, Endpoint>) -> bool {
        let before = slice.endpoints.take().unwrap_or_default();
        let now: Vec<_> = before.iter().filter_map(|endpoint| wanted.remove(&identity(endpoint))).collect();
        let is_changed = now != before || slice.metadata.labels != self.template.metadata.labels;
        slice.metadata.labels.clone_from(&self.template.metadata.labels);
        slice.endpoints = Some(now);
        is_changed
    }

    fn add(&mut self, ports: &[EndpointPort], endpoints: Vec<Endpoint>) {
        self.new.push(EndpointSlice {
            ports: Some(ports.to_vec()),
            endpoints: Some(endpoints),
            ..self.template.clone()
        });
    }

    /// A slice that would go becomes one that would come: half the writes, and readers see no gap.
    fn writes(mut self) -> Vec<Write> {
        let mut writes: Vec<_> = self.changed.into_iter().map(Write::Update).collect();
        for new in self.new {
            writes.push(match self.spare.pop() {
                Some(spare) => {
                    let metadata = ObjectMeta { labels: new.metadata.labels, ..spare.metadata };
                    Write::Update(EndpointSlice { metadata, ..new })
                }
                None => Write::Create(new),
            });
        }
        writes.extend(self.spare.into_iter().map(Write::Delete));
        writes
    }
}

fn count(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests;
