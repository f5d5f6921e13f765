//! The node's network: addresses of pods and who listens on them, Services and how a connection finds an endpoint.
//! Deciding is in `services.rs` (pure); `proxy.rs` accepts for everyone outside, `connect.rs` dials for guests.

pub mod cidr;
pub mod connect;
pub mod follow;
pub mod proxy;
pub mod services;

mod addresses;
mod claim;

pub use addresses::Network;
pub use cidr::Cidr;
pub use claim::{Cidrs, choose_cidrs, claims_folder};
pub use connect::Connector;
pub use follow::Services;

use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// Who can bind pod and Service addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Inside 127.0.0.0/8, which any user may bind: nothing on the host is changed.
    Loopback,
    /// Addresses of the host's own routes; needs CAP_NET_ADMIN.
    Routed,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub cluster_cidr: Cidr,
    pub service_cidr: Cidr,
    /// First and last node port.
    pub node_ports: (u16, u16),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{text:?} is no IPv4 network: write it as 127.42.0.0/16")]
    Cidr { text: String },
    #[error("{0} lies outside 127.0.0.0/8: loopback mode can only use addresses that need no route")]
    NotLoopback(Cidr),
    #[error("{0} and {1} overlap")]
    Overlap(Cidr, Cidr),
    #[error("network mode routed is not available yet: use loopback")]
    Routed,
    #[error("no address is left in {0}")]
    Exhausted(Cidr),
    #[error("{0} is in use by another cluster on this machine")]
    Claimed(Cidr),
    #[error("every network between 127.42 and 127.127 is in use by clusters on this machine")]
    NoneFree,
    #[error("cannot keep claims on networks in {folder}")]
    Claims { folder: String, source: std::io::Error },
}

/// Hands a connection to a local Wasm pod, whole.
pub trait Deliver: Send + Sync {
    /// Gives the socket back when no local Wasm pod has this address or serves this port.
    fn deliver(&self, pod_ip: IpAddr, port: u16, socket: OwnedFd) -> Result<(), OwnedFd>;
}
