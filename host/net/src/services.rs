//! The one table of Services and their endpoints, built from Service and EndpointSlice objects. Its readers are
//! `proxy.rs` (connections from outside) and `connect.rs` (guests): what one reaches, the other reaches too.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `(namespace, name)` of a Service.
pub type Key = ObjectKey;

/// A Service as connections see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub kind: Kind,
    pub ports: Vec<Port>,
    /// `sessionAffinity: ClientIP`: how long a client keeps its endpoint.
    pub affinity: Option<Duration>,
    /// Further addresses it answers on: `externalIPs` and the load balancer's.
    pub external: Vec<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    ClusterIp(Ipv4Addr),
    Headless,
    ExternalName(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub port: u16,
    pub node_port: Option<u16>,
    /// Those that may be chosen: ready ones; when there are none, ending ones that still serve.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
    /// `hostname` of the pod, for names such as `web-0.web`.
    pub hostname: Option<String>,
    pub node: Option<String>,
}

impl Endpoint {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, self.port))
    }
}

/// One Service with the slices that carry its name. TCP only: other protocols have no connections to hand on.
/// `internalTrafficPolicy: Local` keeps the endpoints of `node` alone.
pub fn build(service: &Service, slices: &[Arc<EndpointSlice>], node: &str) -> Entry {
    let spec = service.spec.clone().unwrap_or_default();
    let kind = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
        (Some("ExternalName"), _) => Kind::ExternalName(spec.external_name.clone().unwrap_or_default()),
        (_, Some(ip)) => ip.parse().map_or(Kind::Headless, Kind::ClusterIp),
        _ => Kind::Headless,
    };
    let local_only = spec.internal_traffic_policy.as_deref() == Some("Local");
    let only_node = local_only.then_some(node);
    let tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let ports = spec.ports.iter().flatten().filter(tcp).map(|port| build_port(port, slices, only_node)).collect();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let configured = spec.session_affinity_config.and_then(|config| config.client_ip?.timeout_seconds);
        Duration::from_secs(configured.unwrap_or(10_800).max(0).unsigned_abs().into())
    });
    let ingress = service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    let balancer = ingress.filter_map(|ingress| ingress.ip.as_ref());
    let external = spec.external_ips.iter().flatten().chain(balancer).filter_map(|ip| ip.parse().ok()).collect();
    Entry { key: key_of(&service.metadata), kind, ports, affinity, external }
}

fn build_port(port: &ServicePort, slices: &[Arc<EndpointSlice>], only_node: Option<&str>) -> Port {
    let name = port.name.clone().unwrap_or_default();
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let Some(target) = target_port(slice, &name) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            if only_node.is_some_and(|node| endpoint.node_name.as_deref() != Some(node)) {
                continue;
            }
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let to = match (conditions.ready, conditions.serving, conditions.terminating) {
                (None | Some(true), ..) => &mut ready,
                (_, Some(true), Some(true)) => &mut ending,
                _ => continue,
            };
            let Some(ip) = endpoint.addresses.first().and_then(|ip| ip.parse().ok()) else { continue };
            let (hostname, node) = (endpoint.hostname.clone(), endpoint.node_name.clone());
            to.insert(Endpoint { ip, port: target, hostname, node });
        }
    }
    Port {
        name,
        port: u16::try_from(port.port).unwrap_or(0),
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        endpoints: if ready.is_empty() { ending } else { ready }.into_iter().collect(),
    }
}

/// Slices name their ports as the Service does; one without any name serves a Service with one unnamed port.
fn target_port(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let mut ports = slice.ports.iter().flatten();
    let port = ports.find(|port| port.name.as_deref().unwrap_or_default() == name)?;
    u16::try_from(port.port?).ok()
}

/// Every Service of the cluster, found by name and by address.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<Key, Arc<Entry>>,
    by_vip: HashMap<(Ipv4Addr, u16), (Key, usize)>,
}

impl Table {
    /// Puts or removes one Service. Returns what was there.
    pub fn set(&mut self, key: &Key, entry: Option<Entry>) -> Option<Arc<Entry>> {
        let before = self.entries.remove(key);
        for address in before.iter().flat_map(|entry| vips(entry)) {
            if self.by_vip.get(&address.0).is_some_and(|(owner, _)| owner == key) {
                self.by_vip.remove(&address.0);
            }
        }
        if let Some(entry) = entry {
            for (address, index) in vips(&entry) {
                self.by_vip.insert(address, (key.clone(), index));
            }
            self.entries.insert(key.clone(), Arc::new(entry));
        }
        before
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.entries.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The Service that answers on this address, and which of its ports.
    pub fn by_vip(&self, ip: Ipv4Addr, port: u16) -> Option<(Arc<Entry>, usize)> {
        let (key, index) = self.by_vip.get(&(ip, port))?;
        Some((self.entries.get(key)?.clone(), *index))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.keys()
    }
}

fn vips(entry: &Entry) -> Vec<((Ipv4Addr, u16), usize)> {
    let cluster = match entry.kind {
        Kind::ClusterIp(ip) => Some(ip),
        _ => None,
    };
    let addresses = cluster.into_iter().chain(entry.external.iter().copied());
    let pairs =
        addresses.flat_map(|ip| entry.ports.iter().enumerate().map(move |(index, port)| ((ip, port.port), index)));
    pairs.collect()
}

/// The port that a probe or a URL means by number or by name.
pub fn port_number(port: &IntOrString, named: impl Fn(&str) -> Option<i32>) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => named(name).or_else(|| name.parse().ok()),
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(service: serde_json::Value, slices: serde_json::Value, expected: Expect) {
        let service: Service = serde_json::from_value(service).unwrap();
        let slices: Vec<Arc<EndpointSlice>> = serde_json::from_value(slices).unwrap();
        let entry = build(&service, &slices, "here");
        let ports = entry.ports.iter().map(|port| {
            let endpoints: Vec<_> = port.endpoints.iter().map(|e| e.address().to_string()).collect();
            format!("{}:{}/{:?} -> {endpoints:?}", port.name, port.port, port.node_port)
        });
        let shown = format!("{:?} {:?} {:?}", entry.kind, entry.affinity, ports.collect::<Vec<_>>());
        expected.assert_eq(&shown);
    }

    fn slice(ports: serde_json::Value, endpoints: serde_json::Value) -> serde_json::Value {
        json!({"metadata": {"name": "s"}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints})
    }

    #[test]
    fn ready_endpoints_are_chosen_by_port_name() {
        let service = json!({"spec": {"clusterIP": "127.43.0.9", "sessionAffinity": "ClientIP", "ports": [
            {"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81}, {"port": 53, "protocol": "UDP"}]}});
        let slices = json!([slice(
            json!([{"name": "a", "port": 8080}, {"name": "b", "port": 9090}]),
            json!([
            {"addresses": ["127.42.0.3"], "conditions": {"ready": true}},
            {"addresses": ["127.42.0.2"]},
            {"addresses": ["127.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}}])
        )]);
        check(
            service,
            slices,
            expect![[
                r#"ClusterIp(127.43.0.9) Some(10800s) ["a:80/Some(30080) -> [\"127.42.0.2:8080\", \"127.42.0.3:8080\"]", "b:81/None -> [\"127.42.0.2:9090\", \"127.42.0.3:9090\"]"]"#
            ]],
        );
    }

    #[test]
    fn an_ending_endpoint_serves_only_when_no_other_can() {
        let service = json!({"spec": {"clusterIP": "127.43.0.9", "ports": [{"port": 80}]}});
        let slices = json!([slice(
            json!([{"port": 8080}]),
            json!([
            {"addresses": ["127.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["127.42.0.5"], "conditions": {"ready": false}}])
        )]);
        check(service, slices, expect![[r#"ClusterIp(127.43.0.9) None [":80/None -> [\"127.42.0.4:8080\"]"]"#]]);
    }

    #[test]
    fn local_traffic_policy_keeps_this_node_alone() {
        let service = json!({"spec": {"clusterIP": "None", "internalTrafficPolicy": "Local", "ports": [{"port": 80}]}});
        let slices = json!([slice(
            json!([{"name": "", "port": 8080}]),
            json!([
            {"addresses": ["127.42.0.4"], "nodeName": "there"}, {"addresses": ["127.42.0.5"], "nodeName": "here"}])
        )]);
        check(service, slices, expect![[r#"Headless None [":80/None -> [\"127.42.0.5:8080\"]"]"#]]);
    }

    #[test]
    fn a_changed_service_leaves_its_old_address() {
        let entry = |ip: &str| {
            let service = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
            build(&serde_json::from_value(service).unwrap(), &[], "here")
        };
        let key = ("n".to_owned(), "s".to_owned());
        let (old, new) = (Ipv4Addr::new(127, 43, 0, 1), Ipv4Addr::new(127, 43, 0, 2));
        let mut table = Table::default();
        table.set(&key, Some(entry("127.43.0.1")));
        assert!(table.by_vip(old, 80).is_some());
        table.set(&key, Some(entry("127.43.0.2")));
        assert!(table.by_vip(old, 80).is_none() && table.by_vip(new, 80).is_some());
        table.set(&key, None);
        assert!(table.by_vip(new, 80).is_none() && table.get("n", "s").is_none());
    }
}
