//! Outgoing connections of guests: names are resolved in process, Service addresses become an endpoint at once, the
//! pod's own address is the source. `services.rs` has the table; nothing here asks a name server of the cluster.
//!
//! ```text
//!  host ─┬─ address of a Service ─► endpoint          name ─┬─ svc[.ns[.svc[.domain]]] ─► the same
//!        ├─ 127.0.0.1, ::1 ──────► the pod itself           ├─ host.svc…, headless ────► a pod's address
//!        └─ any other ───────────► as it is                 ├─ ExternalName ───────────► that name
//!                                                           └─ else ───────────────────► the system's resolver
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use amphipod_runtime::{Connect, PodName};
use async_trait::async_trait;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::TcpSocket;

use crate::services::Kind;
use crate::{Network, Options, Picked, Table, listen, random_below};

/// How long a connection may take to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many ExternalName Services may follow each other.
const ALIASES_MAX: usize = 8;

/// What a name means inside the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A Service's own address: the port decides further.
    Vip(Ipv4Addr),
    /// One pod's address.
    Pod(Ipv4Addr),
    /// A known name without any address now.
    Nobody,
    Alias(String),
    /// Not a name of this cluster.
    Outside(String),
}

#[async_trait]
impl Connect for Network {
    async fn connect(&self, pod: &PodName, host: &str, port: u16) -> io::Result<OwnedFd> {
        let source = self.address_of(&pod.uid);
        let addresses = self.addresses_for(pod, host, port).await?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}: no such host"));
        for address in addresses {
            let opened = match inside(&self.options, source, address) {
                Ok(address) => self.open(source, address).await,
                Err(refused) => Err(refused),
            };
            match opened {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Network {
    async fn addresses_for(&self, pod: &PodName, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return self.through(pod, SocketAddr::new(ip, port)).map(|address| vec![address]);
        }
        let mut name = bare.to_ascii_lowercase();
        for _ in 0..ALIASES_MAX {
            let target = if name == "localhost" {
                Target::Vip(Ipv4Addr::LOCALHOST)
            } else {
                resolve(&self.table.read(), &self.options.cluster_domain, &pod.namespace, &name)
            };
            match target {
                Target::Vip(ip) => return self.through(pod, SocketAddr::from((ip, port))).map(|address| vec![address]),
                Target::Pod(ip) => return Ok(vec![SocketAddr::from((ip, port))]),
                Target::Nobody => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}: no such host")));
                }
                Target::Alias(other) => name = other,
                Target::Outside(name) => return Ok(tokio::net::lookup_host((name.as_str(), port)).await?.collect()),
            }
        }
        Err(io::Error::other(format!("lookup {host}: too many names in a row")))
    }

    /// An address as the pod sees it, turned into one that can be connected to.
    fn through(&self, pod: &PodName, address: SocketAddr) -> io::Result<SocketAddr> {
        let address = inside(&self.options, self.address_of(&pod.uid), address)?;
        match self.pick(address, self.client_of(&pod.uid)) {
            Some(Picked::Endpoint(endpoint)) => Ok(endpoint),
            Some(Picked::Nobody) => Err(io::ErrorKind::ConnectionRefused.into()),
            None => Ok(address),
        }
    }

    async fn open(&self, source: Option<Ipv4Addr>, to: SocketAddr) -> io::Result<OwnedFd> {
        match dial(source, to).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.open_unbound(source, to).await.ok_or(error)
            }
            done => done,
        }
    }

    /// A port of a pod here that could not be bound: a listener for this one connection, whose other end is delivered.
    async fn open_unbound(&self, source: Option<Ipv4Addr>, to: SocketAddr) -> Option<OwnedFd> {
        if !matches!(to.ip(), IpAddr::V4(ip) if self.options.pod_cidr.contains(ip)) {
            return None;
        }
        let listener = listen(SocketAddr::new(to.ip(), 0)).ok()?;
        let client = dial(source, listener.local_addr().ok()?).await.ok()?;
        let own = std::net::TcpStream::from(client.try_clone().ok()?).local_addr().ok()?;
        let listener = tokio::net::TcpListener::from_std(listener).ok()?;
        let accepted = async {
            loop {
                let (socket, peer) = listener.accept().await.ok()?;
                if peer == own {
                    return socket.into_std().ok();
                }
            }
        };
        let socket = tokio::time::timeout(CONNECT_TIMEOUT, accepted).await.ok()??;
        self.deliver_to(to, OwnedFd::from(socket)).ok()?;
        Some(client)
    }
}

/// The last word on every address, however it was named: a pod's loopback is the pod itself, never this machine's own,
/// and of 127.0.0.0/8 it reaches the cluster's ranges only.
fn inside(options: &Options, own: Option<Ipv4Addr>, address: SocketAddr) -> io::Result<SocketAddr> {
    let ip = address.ip().to_canonical();
    let own = || own.map(IpAddr::V4).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable));
    let ip = match ip {
        _ if ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST) => own()?,
        IpAddr::V6(six) if six.is_loopback() => own()?,
        IpAddr::V4(four) if four.is_loopback() => {
            let known = options.cluster_cidr.contains(four) || options.service_cidr.contains(four);
            if known { ip } else { return Err(io::ErrorKind::ConnectionRefused.into()) }
        }
        other => other,
    };
    Ok(SocketAddr::new(ip, address.port()))
}

/// The search list of a pod (`ns.svc.domain`, `svc.domain`, `domain`, as it is) against the table.
fn resolve(table: &Table, domain: &str, namespace: &str, name: &str) -> Target {
    let (name, absolute) = name.strip_suffix('.').map_or((name, false), |name| (name, true));
    let searched =
        [format!("{name}.{namespace}.svc.{domain}"), format!("{name}.svc.{domain}"), format!("{name}.{domain}")];
    let candidates = searched.iter().filter(|_| !absolute).map(String::as_str).chain([name]);
    for candidate in candidates {
        let Some(inside) = candidate.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else { continue };
        if let Some(target) = inside_name(table, inside) {
            return target;
        }
    }
    match name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')) {
        true => Target::Nobody,
        false => Target::Outside(name.to_owned()),
    }
}

/// A name without the cluster's domain: `svc.ns.svc`, `host.svc.ns.svc`, `1-2-3-4.ns.pod`.
fn inside_name(table: &Table, name: &str) -> Option<Target> {
    let labels: Vec<&str> = name.split('.').collect();
    match labels[..] {
        [ip, _, "pod"] => Some(Target::Pod(ip.replace('-', ".").parse().ok()?)),
        [service, namespace, "svc"] => {
            let entry = table.get(namespace, service)?;
            Some(match &entry.kind {
                Kind::ClusterIp(ip) => Target::Vip(*ip),
                Kind::ExternalName(name) => Target::Alias(name.to_ascii_lowercase()),
                Kind::Headless => one_of(entry.ports.iter().flat_map(|port| &port.endpoints).map(|e| e.ip).collect()),
            })
        }
        [host, service, namespace, "svc"] => {
            let entry = table.get(namespace, service)?;
            let endpoints = entry.ports.iter().flat_map(|port| &port.endpoints);
            let named = |e: &&crate::Endpoint| {
                e.hostname.as_deref() == Some(host) || e.ip.to_string().replace('.', "-") == host
            };
            let found: Vec<_> = endpoints.filter(named).map(|endpoint| endpoint.ip).collect();
            (!found.is_empty()).then(|| one_of(found))
        }
        _ => None,
    }
}

fn one_of(ips: Vec<Ipv4Addr>) -> Target {
    random_below(ips.len()).map_or(Target::Nobody, |index| Target::Pod(ips[index]))
}

async fn dial(source: Option<Ipv4Addr>, to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let (Some(source), true) = (source, to.is_ipv4()) {
        // A loopback address cannot reach the world: there the kernel chooses the source.
        if source.is_loopback() == to.ip().is_loopback() {
            port_chosen_at_connect(&socket)?;
            rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        }
    }
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(to)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(OwnedFd::from(stream.into_std()?))
}

/// Binding an address without choosing a port yet: 28,000 connections to each peer instead of 28,000 in all.
fn port_chosen_at_connect(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the whole call and the pointer and length describe `on`, which outlives it.
    #[allow(unsafe_code)]
    let result = unsafe {
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::build;
    use serde_json::json;
    use std::sync::Arc;

    fn table() -> Table {
        let mut table = Table::default();
        let mut add = |name: &str, namespace: &str, spec: serde_json::Value, endpoints: serde_json::Value| {
            let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
            let slice =
                json!({"metadata": {}, "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": endpoints});
            let slice = Arc::new(serde_json::from_value(slice).unwrap());
            let entry = build(&serde_json::from_value(service).unwrap(), &[slice], "here");
            table.set(&(namespace.to_owned(), name.to_owned()), Some(entry));
        };
        let port = json!([{"port": 80}]);
        add("web", "shop", json!({"clusterIP": "127.43.0.7", "ports": port}), json!([]));
        add(
            "db",
            "shop",
            json!({"clusterIP": "None", "ports": port}),
            json!([{"addresses": ["127.42.0.8"], "hostname": "db-0"}]),
        );
        add("empty", "shop", json!({"clusterIP": "None", "ports": port}), json!([]));
        add("out", "shop", json!({"type": "ExternalName", "externalName": "Example.COM"}), json!([]));
        table
    }

    #[test]
    fn no_name_of_this_machines_loopback_leads_out_of_the_pod() {
        let range = |text: &str| text.parse::<crate::Cidr>().unwrap();
        let options = Options {
            mode: crate::Mode::Loopback,
            cluster_cidr: range("127.42.0.0/16"),
            service_cidr: range("127.43.0.0/16"),
            pod_cidr: range("127.42.0.0/16"),
            node_ip: Ipv4Addr::new(127, 42, 0, 1),
            node_ports: 30_000..=32_767,
            cluster_domain: "cluster.local".into(),
            node_name: "here".into(),
        };
        let own = Ipv4Addr::new(127, 42, 0, 9);
        let check = |ip: &str| {
            let to = inside(&options, Some(own), SocketAddr::new(ip.parse().unwrap(), 80));
            to.map_or_else(|error| error.kind().to_string(), |to| to.ip().to_string())
        };
        for itself in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert_eq!(check(itself), "127.42.0.9", "{itself}");
        }
        for other in ["127.0.0.2", "127.44.0.1", "::ffff:127.1.2.3"] {
            assert_eq!(check(other), "connection refused", "{other}");
        }
        for through in ["127.42.0.1", "127.43.0.1", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(check(through), through);
        }
        assert!(inside(&options, None, SocketAddr::from(([127, 0, 0, 1], 80))).is_err());
    }

    #[test]
    fn names_mean_what_the_cluster_dns_would_say() {
        let (table, vip) = (table(), Target::Vip(Ipv4Addr::new(127, 43, 0, 7)));
        let pod = Target::Pod(Ipv4Addr::new(127, 42, 0, 8));
        let cases = [
            ("shop", "web", vip.clone()),
            ("other", "web", Target::Outside("web".into())),
            ("other", "web.shop", vip.clone()),
            ("other", "web.shop.svc", vip.clone()),
            ("other", "web.shop.svc.cluster.local", vip.clone()),
            ("other", "web.shop.svc.cluster.local.", vip),
            ("other", "web.shop.", Target::Outside("web.shop".into())),
            ("shop", "db", pod.clone()),
            ("shop", "db-0.db", pod.clone()),
            ("other", "db-0.db.shop.svc.cluster.local", pod.clone()),
            ("other", "127-42-0-8.shop.pod.cluster.local", pod),
            ("shop", "empty", Target::Nobody),
            ("shop", "out", Target::Alias("example.com".into())),
            ("shop", "gone.shop.svc.cluster.local", Target::Nobody),
            ("shop", "example.com", Target::Outside("example.com".into())),
        ];
        for (namespace, name, expected) in cases {
            assert_eq!(resolve(&table, "cluster.local", namespace, name), expected, "{name} in {namespace}");
        }
    }
}
