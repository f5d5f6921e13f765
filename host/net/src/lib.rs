//! Pod addresses, Services and outgoing connections of one node, without a packet filter: the node's agent accepts for
//! every Service and hands connections on. `host/agent` owns the pods; `host/worker` serves what is delivered to it.
//!
//! ```text
//!  Service + EndpointSlice informers ─► services.rs: Table ─┬─► proxy.rs    accept on VIPs and node ports, pick, deliver
//!                                                           └─► connect.rs  guests' outgoing connections, by name
//!  addresses.rs: one address for each pod                       cidr.rs     ranges, and the choice of free ones
//! ```

pub mod addresses;
pub mod cidr;
mod connect;
mod proxy;
pub mod services;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::{Mutex, RwLock};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use addresses::Addresses;
pub use cidr::{Chosen, Cidr};
pub use services::{Endpoint, Table};

/// Connections that wait to be accepted, for each listener.
pub const BACKLOG: i32 = 1_024;
/// How many (service, client) pairs are remembered for session affinity.
pub const AFFINITIES_MAX: usize = 65_536;

/// Why the network cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no free address left in {0}")]
    Full(Cidr),
    #[error("{0:?} is not an IPv4 range such as 10.42.0.0/16")]
    NotARange(String),
    #[error("{0} belongs to another cluster that runs on this machine")]
    InUse(Cidr),
    #[error("no free pair of /16 ranges left in 127.42.0.0 to 127.127.0.0")]
    NoRangeLeft,
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

/// `Loopback`: every address lies in 127.0.0.0/8 and needs no right. `Routed`: the pod range is a local route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Loopback,
    Routed,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub cluster_cidr: Cidr,
    pub service_cidr: Cidr,
    /// This node's part of the cluster's range. Its first address is the node's own in loopback mode.
    pub pod_cidr: Cidr,
    pub node_ip: Ipv4Addr,
    pub node_ports: RangeInclusive<u16>,
    /// `cluster.local`
    pub cluster_domain: String,
    /// The name that EndpointSlices give this node.
    pub node_name: String,
}

/// Hands a connection to a container of a pod on this node; gives the socket back when nobody there takes it.
pub type Deliver = Arc<dyn Fn(Ipv4Addr, u16, OwnedFd) -> Result<(), OwnedFd> + Send + Sync>;

/// The network of one node.
pub struct Network {
    options: Options,
    addresses: Mutex<Addresses>,
    table: RwLock<Table>,
    deliver: RwLock<Option<Deliver>>,
    affinities: Mutex<HashMap<(services::Key, IpAddr), (SocketAddr, Instant)>>,
}

impl Network {
    pub fn new(options: Options) -> Arc<Self> {
        let own = (options.mode == Mode::Loopback).then(|| options.pod_cidr.first());
        let addresses = Addresses::new(options.pod_cidr, own);
        Arc::new(Self {
            addresses: Mutex::new(addresses),
            table: RwLock::default(),
            deliver: RwLock::default(),
            affinities: Mutex::default(),
            options,
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Who takes connections to pods of this node; set once, by the agent.
    pub fn deliver_with(&self, deliver: Deliver) {
        *self.deliver.write() = Some(deliver);
    }

    /// An address for a pod; the same uid gets the same one until [`Network::release`]. `wanted` is what the pod had
    /// before a restart of the agent.
    ///
    /// # Errors
    /// [`Error::Full`]
    pub fn allocate(&self, uid: &str, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
        self.addresses.lock().allocate(uid, wanted)
    }

    pub fn release(&self, uid: &str) {
        self.addresses.lock().release(uid);
    }

    pub fn address_of(&self, uid: &str) -> Option<Ipv4Addr> {
        self.addresses.lock().of(uid)
    }

    /// A listener for one port of a pod, not yet accepting. An error is worth a warning only: Services and peers reach
    /// the port all the same, by delivery.
    ///
    /// # Errors
    /// What the kernel says: no right to ports below 1024, or another program has the port.
    pub fn listen(&self, ip: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
        listen(SocketAddr::from((ip, port)))
    }

    /// Follows Services and EndpointSlices and serves them until `shutdown`.
    pub async fn run(self: Arc<Self>, informers: Informers, shutdown: CancellationToken) {
        let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
        tokio::select! {
            () = proxy::run(self, services, slices) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// An endpoint of the Service that owns this address and port, chosen for this client.
    fn pick(&self, to: SocketAddr, client: Option<IpAddr>) -> Option<Picked> {
        let IpAddr::V4(ip) = to.ip() else { return None };
        let (entry, index) = self.table.read().by_vip(ip, to.port())?;
        Some(self.pick_of(&entry, index, client))
    }

    fn pick_of(&self, entry: &Arc<services::Entry>, port: usize, client: Option<IpAddr>) -> Picked {
        let endpoints = &entry.ports[port].endpoints;
        let Some(random) = random_below(endpoints.len()) else { return Picked::Nobody };
        let (Some(keep), Some(client)) = (entry.affinity, client) else {
            return Picked::Endpoint(endpoints[random].address());
        };
        let lives = |address| endpoints.iter().any(|endpoint| endpoint.address() == address);
        let kept = (entry.key.clone(), client);
        Picked::Endpoint(self.affine(kept, keep, endpoints[random].address(), lives))
    }

    /// The endpoint that this client had lately, else `fresh`, which it then keeps for `keep`.
    fn affine(
        &self,
        client: (services::Key, IpAddr),
        keep: Duration,
        fresh: SocketAddr,
        lives: impl Fn(SocketAddr) -> bool,
    ) -> SocketAddr {
        let mut affinities = self.affinities.lock();
        let now = Instant::now();
        if affinities.len() >= AFFINITIES_MAX {
            affinities.retain(|_, (_, until)| *until > now);
        }
        let known = affinities.get(&client).filter(|(address, until)| *until > now && lives(*address));
        let address = known.map_or(fresh, |(address, _)| *address);
        if affinities.len() < AFFINITIES_MAX {
            affinities.insert(client, (address, now + keep));
        }
        address
    }

    /// Gives the socket to the pod when it lives here and takes it.
    fn deliver_to(&self, to: SocketAddr, socket: OwnedFd) -> Result<(), OwnedFd> {
        let IpAddr::V4(ip) = to.ip() else { return Err(socket) };
        if !self.options.pod_cidr.contains(ip) {
            return Err(socket);
        }
        let deliver = self.deliver.read().clone();
        match deliver {
            Some(deliver) => deliver(ip, to.port(), socket),
            None => Err(socket),
        }
    }
}

/// What a Service port offers right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Picked {
    Endpoint(SocketAddr),
    Nobody,
}

fn random_below(length: usize) -> Option<usize> {
    (length > 0).then(|| rand::random_range(0..length))
}

/// A listener as all of ours are: close-on-exec, non-blocking, address reusable after a restart.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
