//! Who is meant: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT` of a node, pod or service, and where that is. Pure.

use std::net::IpAddr;

use serde_json::Value;

use crate::kinds::json::{items, text};
use crate::reply::Status;

/// A name as the address has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `http`, `https`, or nothing.
    pub scheme: &'a str,
    pub name: &'a str,
    /// A number or a name, or nothing.
    pub port: &'a str,
}

impl<'a> Asked<'a> {
    pub fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme @ ("" | "http" | "https"), name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The agent of this node, through the relay.
    Agent(String),
    Address {
        is_tls: bool,
        ip: IpAddr,
        port: u16,
    },
}

impl Target {
    /// `10.0.0.1:80`, as Host headers and redirects have it.
    pub fn authority(&self) -> String {
        match self {
            Self::Agent(node) => node.clone(),
            Self::Address { ip, port, .. } => std::net::SocketAddr::new(*ip, *port).to_string(),
        }
    }
}

fn address(scheme: &str, ip: &str, port: &str) -> Result<Target, Status> {
    let is_tls = scheme == "https";
    let ip = ip.parse().ok().filter(is_proxied).ok_or_else(|| Status::bad_request("address not allowed"))?;
    let usual = if is_tls { "443" } else { "80" };
    let port = if port.is_empty() { usual } else { port };
    let port = port.parse().map_err(|_| Status::bad_request(format!("invalid port number {port:?}")))?;
    Ok(Target::Address { is_tls, ip, port })
}

/// Not what only this machine itself, or nobody, is reached by. Pods may have other addresses of 127.0.0.0/8.
fn is_proxied(ip: &IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_own = ip.to_string() == "127.0.0.1" || *ip == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    !is_own && !ip.is_unspecified() && !ip.is_multicast() && !is_link_local
}

/// The port asked for, else the first that a container declares.
pub fn of_pod(pod: &Value, asked: &Asked<'_>) -> Result<Target, Status> {
    let declared = items(&pod["spec"]["containers"]).iter().find_map(|container| {
        let port = items(&container["ports"]).first()?;
        Some(port["containerPort"].as_u64()?.to_string())
    });
    let port = if asked.port.is_empty() { declared.unwrap_or_default() } else { asked.port.to_owned() };
    address(asked.scheme, text(&pod["status"]["podIP"]), &port)
}

/// Without a port, or with the agent's own, it is the agent that is meant.
pub fn of_node(node: &Value, asked: &Asked<'_>) -> Result<Target, Status> {
    let own = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().unwrap_or(0);
    if asked.port.is_empty() || asked.port.parse() == Ok(own) {
        return Ok(Target::Agent(text(&node["metadata"]["name"]).to_owned()));
    }
    let addresses = items(&node["status"]["addresses"]);
    let internal = addresses.iter().find(|address| address["type"] == "InternalIP");
    address(asked.scheme, internal.map_or("", |address| text(&address["address"])), asked.port)
}

/// One of the ready addresses behind the port, which may be named or numbered; `pick` says which.
pub fn of_service(
    service: &Value,
    endpoints: Option<&Value>,
    (asked, id): (&Asked<'_>, &str),
    pick: usize,
) -> Result<Target, Status> {
    let name = asked.name;
    let mut port_name = asked.port;
    if let Ok(number) = asked.port.parse::<u64>() {
        let port = items(&service["spec"]["ports"]).iter().find(|port| port["port"].as_u64() == Some(number));
        let none = || Status::unavailable(format!("no service port {number} found for service {name:?}"));
        port_name = text(&port.ok_or_else(none)?["name"]);
    }
    let Some(endpoints) = endpoints else {
        return Err(Status::not_found_resource(("", "endpoints"), name));
    };
    let subsets = items(&endpoints["subsets"]);
    if subsets.is_empty() {
        return Err(Status::unavailable(format!("no endpoints available for service {name:?}")));
    }
    let mut found: Vec<(&str, u64)> = Vec::new();
    for subset in subsets {
        let port = items(&subset["ports"]).iter().find(|port| text(&port["name"]) == port_name);
        let Some(port) = port.and_then(|port| port["port"].as_u64()) else { continue };
        found.extend(items(&subset["addresses"]).iter().map(|address| (text(&address["ip"]), port)));
    }
    if found.is_empty() {
        return Err(Status::unavailable(format!("no endpoints available for service {id:?}")));
    }
    let (ip, port) = found[pick % found.len()];
    address(asked.scheme, ip, &port.to_string())
}
