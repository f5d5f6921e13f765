//! Mirrors Endpoints that users make for Services without a selector into EndpointSlices, which is what the
//! data path reads. `endpoint_slice` serves the Services that have one and lends its plan.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt;

use crate::context::{Context, follow};
use crate::endpoint_slice::GATHER;
use crate::endpoint_slice::plan::{Family, Group, Write, identity, plan, ports_key, template};
use crate::endpoint_slice::writer::Writer;
use crate::queue::{Queue, Reconcile};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const WORKERS: usize = 2;
/// Addresses mirrored of one subset; upstream's default.
const ADDRESSES_MAX: usize = 1000;

struct Mirror {
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    writer: Writer,
}

pub async fn run(context: Context) {
    let (services, endpoints) = (context.informers.of::<Service>(), context.informers.of::<Endpoints>());
    let writer = Writer::new(context.signed_by("endpoint-slice-mirroring-controller"), MANAGER).await;
    tokio::join!(services.synced(), endpoints.synced());
    let queue = Queue::new("endpoint_slice_mirroring");
    let this = Arc::new(Mirror { services: services.clone(), endpoints: endpoints.clone(), writer });
    let wake = |key: ObjectKey| queue.add_after(key, GATHER);
    let of_slice = |slice: &EndpointSlice| this.writer.seen(slice).into_iter().for_each(wake);
    tokio::join!(
        follow(services, |service| wake(key_of(&service.metadata))),
        follow(endpoints, |endpoints| wake(key_of(&endpoints.metadata))),
        follow(this.writer.slices(), of_slice),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl Reconcile<ObjectKey> for Mirror {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let service = self.services.get(&key.0, &key.1);
        let endpoints = self.endpoints.get(&key.0, &key.1);
        let existing = self.writer.existing(key);
        let writes = match (service, endpoints) {
            (Some(service), Some(endpoints)) if is_mirrored(&service, &endpoints) => {
                plan(&template(&*endpoints, MANAGER), families(&endpoints), existing)
            }
            _ => existing.into_iter().map(Write::Delete).collect(),
        };
        self.writer.apply(key, writes).await.map(|()| None)
    }
}

fn is_mirrored(service: &Service, endpoints: &Endpoints) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let is_refused = endpoints.labels().get(SKIP).is_some_and(|skip| skip == "true");
    selector.is_none_or(|selector| selector.is_empty()) && !is_refused && !endpoints.annotations().contains_key(LEADER)
}

/// IPv4 always, so that Endpoints without addresses have a slice that says so.
fn families(endpoints: &Endpoints) -> Vec<Family> {
    let family = |address_type: &str| Family { address_type: address_type.to_owned(), groups: Default::default() };
    let (mut four, mut six) = (family("IPv4"), family("IPv6"));
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, is_ready) in ready.chain(unready).take(ADDRESSES_MAX) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let family = if ip.is_ipv4() { &mut four } else { &mut six };
            let group = family
                .groups
                .entry(ports_key(&ports))
                .or_insert_with(|| Group { ports: ports.clone(), ..Group::default() });
            let endpoint =
                endpoint(address, ip, EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() });
            group.endpoints.insert(identity(&endpoint), endpoint);
        }
    }
    let six = Some(six).filter(|six| !six.groups.is_empty());
    [four].into_iter().chain(six).collect()
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, conditions: EndpointConditions) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(conditions),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn subsets_become_slices_by_family_and_ports() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "uid": "u"},
            "subsets": [
                {"addresses": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.1.0.2"}], "ports": [{"port": 80}]},
                {"addresses": [{"ip": "10.1.0.3"}], "ports": [{"name": "b", "port": 81}]},
            ],
        }))
        .expect("Endpoints");
        let mut text = String::new();
        for write in plan(&template(&endpoints, MANAGER), families(&endpoints), Vec::new()) {
            let Write::Create(slice) = write else { panic!("{write:?}") };
            assert!(slice.owner_references()[0].kind == "Endpoints" && slice.labels().len() == 2);
            let ports: Vec<_> = slice.ports.iter().flatten().map(|port| port.port.unwrap_or(0)).collect();
            text += &format!("{} {ports:?}", slice.address_type);
            for endpoint in slice.endpoints.into_iter().flatten() {
                let is_ready = endpoint.conditions.and_then(|conditions| conditions.ready);
                text += &format!(" {}={is_ready:?}", endpoint.addresses.join(","));
            }
            text += "\n";
        }
        expect![[r#"
            IPv4 [80] 10.1.0.1=Some(true) 10.1.0.2=Some(false)
            IPv4 [81] 10.1.0.3=Some(true)
            IPv6 [80] fd00::1=Some(true)
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn only_endpoints_of_services_without_selector_are_mirrored() {
        let check = |spec: serde_json::Value, meta: serde_json::Value| {
            let service = serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("a service");
            is_mirrored(&service, &serde_json::from_value(json!({ "metadata": meta })).expect("Endpoints"))
        };
        assert!(check(json!({}), json!({})));
        assert!(!check(json!({"selector": {"a": "b"}}), json!({})));
        assert!(!check(json!({}), json!({"labels": {SKIP: "true"}})));
        assert!(!check(json!({}), json!({"annotations": {LEADER: "{}"}})));
    }
}
