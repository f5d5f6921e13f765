//! One table from Service ports to endpoints, built purely from Services and EndpointSlices. Its consumers: the proxy
//! (who accepts for it) and guests' connections (who dial through it).

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;

/// One port of one Service and who answers it.
#[derive(Debug)]
pub struct Target {
    /// `namespace/name:port`, for logs.
    pub name: String,
    /// Ready endpoints; when none is ready, those that still serve while they end (upstream's fallback).
    pub endpoints: Vec<SocketAddrV4>,
    /// `sessionAffinity: ClientIP`.
    pub sticky: bool,
    turn: AtomicUsize,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.endpoints, self.sticky) == (&other.name, &other.endpoints, other.sticky)
    }
}

impl Target {
    /// The endpoint for a connection from this client: in turn, or always the same when sticky.
    pub fn pick(&self, client: IpAddr) -> Option<SocketAddrV4> {
        let index = if self.sticky {
            let mut hasher = DefaultHasher::new();
            client.hash(&mut hasher);
            hasher.finish() as usize
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        self.endpoints.get(index.checked_rem(self.endpoints.len())?).copied()
    }
}

/// One Service, as connections need it.
#[derive(Debug, Default, PartialEq)]
pub struct Entry {
    /// Cluster address and port → target.
    pub cluster: BTreeMap<SocketAddrV4, Arc<Target>>,
    /// Node port → target.
    pub node: BTreeMap<u16, Arc<Target>>,
    /// Headless: endpoints by port name's port; guests dial them directly.
    pub headless: Vec<Arc<Target>>,
    pub external_name: Option<String>,
    /// Host names of endpoints that have one.
    pub hosts: BTreeMap<String, Ipv4Addr>,
    pub cluster_ip: Option<Ipv4Addr>,
}

/// Builds one Service's entry from the Service and all its slices.
pub fn build(service: &Service, slices: &[Arc<EndpointSlice>]) -> Entry {
    let Some(spec) = &service.spec else { return Entry::default() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Entry { external_name: spec.external_name.clone(), ..Entry::default() };
    }
    let mut entry = Entry { hosts: hosts(slices), ..Entry::default() };
    entry.cluster_ip = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
    let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
    for port in spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP") {
        let target = Arc::new(Target {
            name: format!("{}/{}:{}", service.namespace().unwrap_or_default(), service.name_any(), port.port),
            endpoints: endpoints(port, slices),
            sticky,
            turn: AtomicUsize::new(0),
        });
        match (entry.cluster_ip, u16::try_from(port.port)) {
            (Some(ip), Ok(number)) => _ = entry.cluster.insert(SocketAddrV4::new(ip, number), target.clone()),
            _ => entry.headless.push(target.clone()),
        }
        if let Some(node_port) = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0) {
            entry.node.insert(node_port, target);
        }
    }
    entry
}

fn endpoints(port: &ServicePort, slices: &[Arc<EndpointSlice>]) -> Vec<SocketAddrV4> {
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    for slice in slices {
        let named = |p: &&_| endpoint_port_name(p) == port.name.as_deref().unwrap_or_default();
        let number = slice.ports.iter().flatten().find(named).and_then(|port| u16::try_from(port.port?).ok());
        let Some(number) = number else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            let is_ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let serving = conditions.and_then(|c| c.serving).unwrap_or(is_ready);
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
            let addresses = addresses.map(|address| SocketAddrV4::new(address, number));
            if is_ready {
                ready.extend(addresses);
            } else if serving {
                ending.extend(addresses);
            }
        }
    }
    let mut chosen = if ready.is_empty() { ending } else { ready };
    chosen.sort();
    chosen.dedup();
    chosen
}

fn endpoint_port_name(port: &k8s_openapi::api::discovery::v1::EndpointPort) -> &str {
    port.name.as_deref().unwrap_or_default()
}

fn hosts(slices: &[Arc<EndpointSlice>]) -> BTreeMap<String, Ipv4Addr> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let named = endpoints.filter_map(|endpoint| {
        let address = endpoint.addresses.first()?.parse().ok()?;
        Some((endpoint.hostname.clone()?, address))
    });
    named.collect()
}

/// All Services of the cluster by namespace and name, and their addresses in one index.
#[derive(Default)]
pub struct Table {
    entries: HashMap<(String, String), Arc<Entry>>,
    cluster: HashMap<SocketAddrV4, Arc<Target>>,
    node: HashMap<u16, Arc<Target>>,
}

impl Table {
    /// Puts one Service's entry in place of its old one; `None` removes it.
    pub fn replace(&mut self, namespace: &str, name: &str, entry: Option<Entry>) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(old) = self.entries.remove(&key) {
            old.cluster.keys().for_each(|address| _ = self.cluster.remove(address));
            old.node.keys().for_each(|port| _ = self.node.remove(port));
        }
        if let Some(entry) = entry {
            self.cluster.extend(entry.cluster.iter().map(|(address, target)| (*address, target.clone())));
            self.node.extend(entry.node.iter().map(|(port, target)| (*port, target.clone())));
            self.entries.insert(key, Arc::new(entry));
        }
    }

    pub fn entry(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.entries.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn names(&self) -> Vec<(String, String)> {
        self.entries.keys().cloned().collect()
    }

    pub fn at(&self, address: SocketAddrV4) -> Option<Arc<Target>> {
        self.cluster.get(&address).cloned()
    }

    pub fn at_node_port(&self, port: u16) -> Option<Arc<Target>> {
        self.node.get(&port).cloned()
    }

    /// Every cluster address and node port that someone must accept on.
    pub fn accepted(&self) -> (Vec<SocketAddrV4>, Vec<u16>) {
        (self.cluster.keys().copied().collect(), self.node.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec})).unwrap()
    }

    fn slice(endpoints: serde_json::Value) -> Arc<EndpointSlice> {
        let slice = json!({"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]});
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    fn web(extra: serde_json::Value) -> Service {
        let mut spec = json!({"type": "ClusterIP", "clusterIP": "127.43.0.9",
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        service(spec)
    }

    fn targets(entry: &Entry) -> Vec<String> {
        let shown = |(at, target): (String, &Arc<Target>)| format!("{at} {} {:?}", target.name, target.endpoints);
        let cluster = entry.cluster.iter().map(|(address, target)| (address.to_string(), target));
        let node = entry.node.iter().map(|(port, target)| (port.to_string(), target));
        cluster.chain(node).chain(entry.headless.iter().map(|target| ("headless".to_owned(), target))).map(shown).collect()
    }

    #[test]
    fn ready_endpoints_answer_by_the_name_of_the_port() {
        let slices = [slice(json!([
            {"addresses": ["127.42.0.3"], "conditions": {"ready": true}},
            {"addresses": ["127.42.0.2"], "conditions": {"ready": true}},
            {"addresses": ["127.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]))];
        let entry = build(&web(json!({})), &slices);
        let endpoints = "default/web:80 [127.42.0.2:8080, 127.42.0.3:8080]";
        assert_eq!(targets(&entry), [format!("127.43.0.9:80 {endpoints}"), format!("30080 {endpoints}")]);
    }

    #[test]
    fn ending_endpoints_answer_only_when_none_is_ready() {
        let slices = [slice(json!([
            {"addresses": ["127.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["127.42.0.5"], "conditions": {"ready": false, "serving": false}},
        ]))];
        let entry = build(&web(json!({})), &slices);
        assert!(targets(&entry)[0].ends_with("[127.42.0.4:8080]"), "{:?}", targets(&entry));
    }

    #[test]
    fn headless_and_external_services_have_no_address() {
        let slices = [slice(json!([{"addresses": ["127.42.0.2"], "hostname": "web-0"}]))];
        let headless = build(&service(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]})), &slices);
        assert_eq!(targets(&headless), ["headless default/web:80 [127.42.0.2:8080]"]);
        assert_eq!(headless.hosts["web-0"], Ipv4Addr::new(127, 42, 0, 2));
        let external = build(&service(json!({"type": "ExternalName", "externalName": "example.com"})), &[]);
        assert_eq!(external.external_name.as_deref(), Some("example.com"));
        assert!(targets(&external).is_empty());
    }

    #[test]
    fn endpoints_take_turns_unless_the_service_is_sticky() {
        let slices = [slice(json!([{"addresses": ["127.42.0.2"]}, {"addresses": ["127.42.0.3"]}]))];
        let client = |last| IpAddr::from([127, 0, 0, last]);
        let entry = build(&web(json!({})), &slices);
        let target = entry.cluster.values().next().unwrap();
        let picks: Vec<_> = (0..4).map(|_| target.pick(client(1)).unwrap()).collect();
        assert_eq!((picks[0], picks[1]), (picks[2], picks[3]));
        assert_ne!(picks[0], picks[1]);
        let sticky = build(&web(json!({"sessionAffinity": "ClientIP"})), &slices);
        let target = sticky.cluster.values().next().unwrap();
        assert!((0..9).all(|_| target.pick(client(7)) == target.pick(client(7))));
        let empty = build(&web(json!({})), &[]);
        assert_eq!(empty.cluster.values().next().unwrap().pick(client(1)), None);
    }

    proptest! {
        #[test]
        fn replacing_one_by_one_equals_building_from_scratch(changes in prop::collection::vec((0..6u8, 0..4u8), 1..60)) {
            let mut table = Table::default();
            let mut truth: BTreeMap<u8, u8> = BTreeMap::new();
            let entry = |name: u8, version: u8| build(&web(json!({"clusterIP": format!("127.43.{version}.{name}"),
                "ports": [{"name": "http", "port": 80, "nodePort": 30_000 + u16::from(name)}]})), &[]);
            for (name, version) in changes {
                if version == 0 { truth.remove(&name); } else { truth.insert(name, version); }
                table.replace("default", &name.to_string(), (version != 0).then(|| entry(name, version)));
            }
            let mut fresh = Table::default();
            for (name, version) in &truth {
                fresh.replace("default", &name.to_string(), Some(entry(*name, *version)));
            }
            let sorted = |table: &Table| { let (mut a, mut b) = table.accepted(); a.sort(); b.sort(); (a, b) };
            prop_assert_eq!(sorted(&table), sorted(&fresh));
            for address in sorted(&table).0 {
                prop_assert_eq!(&*table.at(address).unwrap(), &*fresh.at(address).unwrap());
            }
        }
    }
}
