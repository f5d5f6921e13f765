//! Names, networks and listeners: everything that can be refused before anything runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use amphipod_net::cidr::{Chosen, Cidr, choose_loopback};
use amphipod_net::{Mode, Network, Options};

use super::Settings;
use crate::failure::refuse;

/// The ranges of pods and of Services. Chosen ones belong to this cluster while the value lives.
pub struct Networks {
    pub cluster: Cidr,
    pub service: Cidr,
    _chosen: Option<Chosen>,
}

/// The ranges asked for now or when the data was made; else a pair that no other cluster of this machine has.
pub fn networks(settings: &Settings) -> anyhow::Result<Networks> {
    let wanted = |flag: &str, asked: &Option<String>, kept: &str| -> anyhow::Result<Option<Cidr>> {
        let kept = std::fs::read_to_string(settings.data.path().join(kept)).ok();
        asked.as_deref().or(kept.as_deref().map(str::trim)).map(|text| range(flag, text)).transpose()
    };
    let cluster = wanted("--cluster-cidr", &settings.cluster_cidr, "cluster-cidr")?;
    let service = wanted("--service-cidr", &settings.service_cidr, "service-cidr")?;
    let chosen = match (cluster, service) {
        (Some(_), Some(_)) => None,
        _ => Some(choose_loopback(settings.data.path()).map_err(|error| match error {
            amphipod_net::Error::InUse(_) => refuse(format!("{} is in use: {error}", settings.data.path().display())),
            other => refuse(other.to_string()),
        })?),
    };
    let or = |asked: Option<Cidr>, of: fn(&Chosen) -> Cidr| asked.or(chosen.as_ref().map(of));
    let pair = or(cluster, |chosen| chosen.cluster).zip(or(service, |chosen| chosen.service));
    let (cluster, service) = pair.expect("a range that was not asked for was chosen");
    if cluster.contains(service.first()) || service.contains(cluster.first()) {
        return Err(refuse(format!("the ranges of pods {cluster} and of Services {service} overlap")));
    }
    if settings.cluster_cidr.is_some() {
        settings.data.remember("cluster-cidr", &cluster.to_string())?;
    }
    if settings.service_cidr.is_some() {
        settings.data.remember("service-cidr", &service.to_string())?;
    }
    Ok(Networks { cluster, service, _chosen: chosen })
}

fn range(flag: &str, text: &str) -> anyhow::Result<Cidr> {
    let range: Cidr = text.parse().map_err(|error| refuse(format!("{flag}: {error}")))?;
    if !range.first().is_loopback() || !(16..=24).contains(&range.prefix()) {
        return Err(refuse(format!("{flag} {text}: choose a /16 to /24 inside 127.0.0.0/8, which needs no rights")));
    }
    Ok(range)
}

pub fn network(settings: &Settings, networks: &Networks, node: &str) -> Arc<Network> {
    let (low, high) = settings.node_ports;
    Network::new(Options {
        mode: Mode::Loopback,
        cluster_cidr: networks.cluster,
        service_cidr: networks.service,
        pod_cidr: networks.cluster,
        node_ip: networks.cluster.first(),
        node_ports: low..=high,
        cluster_domain: "cluster.local".to_owned(),
        node_name: node.to_owned(),
    })
}

/// The address of Service `kubernetes`: the first of the range.
pub fn service_ip(networks: &Networks) -> IpAddr {
    networks.service.first().into()
}

/// The API listens on 127.0.0.1 and on the node's own address, both on one port.
pub fn api_listeners(settings: &Settings, node_ip: Ipv4Addr) -> anyhow::Result<Vec<TcpListener>> {
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port)), "--port")?;
    let port = first.local_addr()?.port();
    let second = listen(SocketAddr::from((node_ip, port)), "--port")?;
    Ok(vec![first, second])
}

/// A listener, or one line that says whose flag to change.
pub fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|error| {
        refuse(format!("cannot listen on {address}: {error}; choose another port with {flag} (0 takes any)"))
    })
}

/// This machine's name, as a node may be called.
pub fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "node".to_owned() } else { name }
}
