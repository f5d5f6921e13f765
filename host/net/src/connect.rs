//! Opens connections for guests, which may not make sockets: names of Services are resolved in process, the source is
//! the pod's own address, and the connected socket is handed back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use amphipod_runtime::{Connect, PodName};
use async_trait::async_trait;
use tokio::net::TcpSocket;

use crate::Network;
use crate::follow::Services;

const CLUSTER_DOMAIN: &str = "svc.cluster.local";

pub struct Connector {
    network: Arc<Network>,
    services: Services,
}

/// Where a name leads.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Address(SocketAddrV4),
    /// Outside the cluster: ask the system's resolver.
    Outside(String),
    /// A name of the cluster that nothing answers to.
    Nowhere,
}

impl Connector {
    pub fn new(network: Arc<Network>, services: Services) -> Self {
        Self { network, services }
    }

    fn route(&self, pod: &PodName, host: &str, port: u16) -> Route {
        let own = self.network.address_of(&pod.uid);
        if host == "localhost" || host == "::1" {
            return own.map_or(Route::Nowhere, |ip| Route::Address(SocketAddrV4::new(ip, port)));
        }
        match host.parse::<Ipv4Addr>() {
            Ok(Ipv4Addr::LOCALHOST) => own.map_or(Route::Nowhere, |ip| Route::Address(SocketAddrV4::new(ip, port))),
            Ok(ip) => self.through_service(SocketAddrV4::new(ip, port), own),
            Err(_) => self.named(&pod.namespace, host.trim_end_matches('.'), port, own),
        }
    }

    /// A cluster address leads straight to an endpoint; any other address to itself.
    fn through_service(&self, address: SocketAddrV4, own: Option<Ipv4Addr>) -> Route {
        let Some(target) = self.services.at(address) else { return Route::Address(address) };
        let client = IpAddr::V4(own.unwrap_or(Ipv4Addr::LOCALHOST));
        target.pick(client).map_or(Route::Nowhere, Route::Address)
    }

    /// `service`, `service.namespace`, `….svc`, `….svc.cluster.local`, and `host.service.…` of headless Services.
    fn named(&self, own_namespace: &str, host: &str, port: u16, own: Option<Ipv4Addr>) -> Route {
        let in_cluster = host.strip_suffix(CLUSTER_DOMAIN).and_then(|name| name.strip_suffix('.')).or_else(|| host.strip_suffix(".svc"));
        let labels: Vec<&str> = in_cluster.unwrap_or(host).split('.').collect();
        let entry = match labels.as_slice() {
            [service] => self.services.entry(own_namespace, service),
            [service, namespace] => self.services.entry(namespace, service),
            [endpoint, service, namespace] => {
                let address = self.services.entry(namespace, service).and_then(|entry| entry.hosts.get(*endpoint).copied());
                match address {
                    Some(ip) => return Route::Address(SocketAddrV4::new(ip, port)),
                    None => None,
                }
            }
            _ => None,
        };
        let Some(entry) = entry else {
            return if in_cluster.is_some() { Route::Nowhere } else { Route::Outside(host.to_owned()) };
        };
        if let Some(name) = &entry.external_name {
            return Route::Outside(name.clone());
        }
        if let Some(ip) = entry.cluster_ip {
            return self.through_service(SocketAddrV4::new(ip, port), own);
        }
        let client = IpAddr::V4(own.unwrap_or(Ipv4Addr::LOCALHOST));
        let picked = entry.headless.iter().find_map(|target| target.pick(client));
        // A headless name is its endpoints' addresses; the port is the caller's own.
        picked.map_or(Route::Nowhere, |endpoint| Route::Address(SocketAddrV4::new(*endpoint.ip(), port)))
    }

    async fn dial(&self, address: SocketAddr, own: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let (IpAddr::V4(ip), Some(own)) = (address.ip(), own)
            && (ip.is_loopback() || self.network.contains(ip))
        {
            // The port is chosen at connect, so connections to different peers may share one.
            set_bind_address_no_port(&socket)?;
            socket.bind(SocketAddrV4::new(own, 0).into())?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream.into_std()?.into())
    }
}

/// IP_BIND_ADDRESS_NO_PORT, which rustix does not wrap.
#[allow(unsafe_code)]
fn set_bind_address_no_port(socket: &TcpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the length of the call, and the pointer and size describe `on`.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const on).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, pod: &PodName, host: &str, port: u16) -> io::Result<OwnedFd> {
        let own = self.network.address_of(&pod.uid);
        let unreachable = || io::Error::new(io::ErrorKind::NotFound, format!("{host}:{port}: no such host or no ready endpoint"));
        match self.route(pod, host, port) {
            Route::Address(address) => self.dial(SocketAddr::V4(address), own).await,
            Route::Nowhere => Err(unreachable()),
            Route::Outside(name) => {
                let mut last = unreachable();
                for address in tokio::net::lookup_host((name.as_str(), port)).await? {
                    match self.dial(address, own).await {
                        Ok(socket) => return Ok(socket),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::build;
    use crate::{Mode, Options};
    use serde_json::json;

    fn connector() -> (Connector, PodName) {
        let options = Options {
            mode: Mode::Loopback,
            cluster_cidr: "127.94.0.0/16".parse().unwrap(),
            service_cidr: "127.95.0.0/16".parse().unwrap(),
            node_ports: (30_000, 32_767),
        };
        let network = Arc::new(Network::new(options).unwrap());
        network.allocate("u1").unwrap();
        let services = Services::default();
        let put = |name: &str, spec: serde_json::Value, hostname: Option<&str>| {
            let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
            let slice = json!({"metadata": {}, "addressType": "IPv4", "ports": [{"port": 8080}],
                "endpoints": [{"addresses": ["127.94.0.7"], "hostname": hostname}]});
            let slice = Arc::new(serde_json::from_value(slice).unwrap());
            services.replace("shop", name, Some(build(&serde_json::from_value(service).unwrap(), &[slice])));
        };
        put("web", json!({"clusterIP": "127.95.0.3", "ports": [{"port": 80}]}), None);
        put("db", json!({"clusterIP": "None", "ports": [{"port": 5432}]}), Some("db-0"));
        put("far", json!({"type": "ExternalName", "externalName": "example.com"}), None);
        let pod = PodName { namespace: "shop".into(), name: "p".into(), uid: "u1".into() };
        (Connector::new(network, services), pod)
    }

    #[test]
    fn names_lead_where_cluster_dns_would() {
        let (connector, pod) = connector();
        let to = |text: &str| Route::Address(text.parse().unwrap());
        for (host, port, expected) in [
            ("web", 80, to("127.94.0.7:8080")),
            ("web.shop", 80, to("127.94.0.7:8080")),
            ("web.shop.svc", 80, to("127.94.0.7:8080")),
            ("web.shop.svc.cluster.local.", 80, to("127.94.0.7:8080")),
            ("127.95.0.3", 80, to("127.94.0.7:8080")),
            ("127.94.0.7", 99, to("127.94.0.7:99")),
            ("db", 5432, to("127.94.0.7:5432")),
            ("db-0.db.shop.svc.cluster.local", 5432, to("127.94.0.7:5432")),
            ("localhost", 81, to("127.94.0.2:81")),
            ("127.0.0.1", 81, to("127.94.0.2:81")),
            ("far", 443, Route::Outside("example.com".into())),
            ("example.org", 443, Route::Outside("example.org".into())),
            ("none.shop.svc", 80, Route::Nowhere),
        ] {
            assert_eq!(connector.route(&pod, host, port), expected, "{host}:{port}");
        }
    }

    #[tokio::test]
    async fn a_guest_is_seen_under_its_pods_address() {
        let (connector, pod) = connector();
        let listener = tokio::net::TcpListener::bind("127.94.0.8:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (socket, accepted) = tokio::join!(connector.connect(&pod, "127.94.0.8", port), listener.accept());
        assert_eq!(accepted.unwrap().1.ip().to_string(), "127.94.0.2");
        drop(socket.unwrap());
        assert!(connector.connect(&pod, "none.shop.svc", 80).await.is_err());
    }
}
