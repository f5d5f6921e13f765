//! Names, networks and listeners: everything that can be refused before anything runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use amphipod_net::{Cidr, Cidrs, Mode, Network, Options, choose_cidrs, claims_folder};

use super::Settings;
use crate::failure::refuse;

/// The networks asked for, else those that the data was made with, else free ones.
pub fn networks(settings: &Settings) -> anyhow::Result<Cidrs> {
    let wanted = |flag: &str, asked: &Option<String>, kept: &str| -> anyhow::Result<Option<Cidr>> {
        let kept = std::fs::read_to_string(settings.data.path().join(kept)).ok();
        let text = asked.as_deref().or(kept.as_deref().map(str::trim));
        let cidr = text.map(|text| text.parse::<Cidr>().map_err(|error| refuse(format!("{flag}: {error}"))));
        cidr.transpose()
    };
    let cluster = wanted("--cluster-cidr", &settings.cluster_cidr, "cluster-cidr")?;
    let service = wanted("--service-cidr", &settings.service_cidr, "service-cidr")?;
    let chosen = choose_cidrs(&claims_folder(), cluster, service).map_err(|error| refuse(error.to_string()))?;
    settings.data.remember("cluster-cidr", &chosen.cluster.to_string())?;
    settings.data.remember("service-cidr", &chosen.service.to_string())?;
    Ok(chosen)
}

pub fn network(settings: &Settings, networks: &Cidrs) -> anyhow::Result<Arc<Network>> {
    let options = Options {
        mode: Mode::Loopback,
        cluster_cidr: networks.cluster,
        service_cidr: networks.service,
        node_ports: settings.node_ports,
    };
    Ok(Arc::new(Network::new(options).map_err(|error| refuse(error.to_string()))?))
}

/// The address of Service `kubernetes`: the first of the network.
pub fn service_ip(networks: &Cidrs) -> IpAddr {
    networks.service.nth(1).expect("a network has at least 16 addresses").into()
}

/// The API listens on 127.0.0.1 and on the node's own address, both on one port.
pub fn api_listeners(settings: &Settings, node_ip: IpAddr) -> anyhow::Result<Vec<TcpListener>> {
    let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port)), "--port")?;
    let port = first.local_addr()?.port();
    let second = listen(SocketAddr::from((node_ip, port)), "--port")?;
    Ok(vec![first, second])
}

/// A listener, or one line that says whose flag to change.
pub fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|error| refuse(format!("cannot listen on {address}: {error}; choose another port with {flag} (0 takes any)")))
}

/// This machine's name, as a node may be called.
pub fn hostname() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "node".to_owned() } else { name }
}
