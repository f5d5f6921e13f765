//! Accepts for every Service on its cluster address and its node ports, and hands each connection to an endpoint: the
//! socket itself when the endpoint is a container here that takes it, copied bytes otherwise.
//!
//! ```text
//!  Service or slice changes ─► Table entry ─► wanted listeners ─ compare ─► open | close
//!  accept ─► pick ─┬─ nobody ───────────► reset
//!                  ├─ pod here, takes it ► delivered, not a byte is copied
//!                  └─ else ─────────────► connect, copy both ways
//! ```
//! A port without an endpoint has no listener, so the kernel refuses the connection.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{Informer, key_of};
use amphipod_api::{Change, labels};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::services::{Entry, Key, Kind, build};
use crate::{Mode, Network, Picked, listen};

/// Copied connections at once, in all.
pub const COPIED_MAX: usize = 8_192;
/// How long the other side may take to accept a copied connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After the machine ran out of files, accepting rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Entry of the slices' index.
const BY_SERVICE: &str = "net-by-service";

/// Where one listener accepts; its Service port is found in the table at each connection.
type Address = SocketAddr;

pub(crate) async fn run(network: Arc<Network>, services: Informer<Service>, slices: Informer<EndpointSlice>) {
    slices.index(BY_SERVICE, |slice| {
        service_of(slice).map(|(namespace, name)| format!("{namespace}/{name}")).into_iter().collect()
    });
    let (mut service_changes, mut slice_changes) = (services.subscribe(), slices.subscribe());
    services.synced().await;
    slices.synced().await;
    let mut proxy = Proxy {
        network,
        services,
        slices,
        listeners: HashMap::new(),
        tasks: JoinSet::new(),
        copies: Arc::new(Semaphore::new(COPIED_MAX)),
    };
    loop {
        let changed = tokio::select! {
            change = service_changes.next() => change.map(|change| match change {
                Change::Applied { now: service, .. } | Change::Deleted(service) => Some(key_of(&service.metadata)),
                Change::Resynced => None,
            }),
            change = slice_changes.next() => change.map(|change| match change {
                Change::Applied { now: slice, .. } | Change::Deleted(slice) => service_of(&slice).or_else(|| Some(Key::default())),
                Change::Resynced => None,
            }),
            Some(_) = proxy.tasks.join_next() => continue,
        };
        match changed {
            Some(Some(key)) => proxy.refresh(&key),
            Some(None) => proxy.refresh_all(),
            None => return,
        }
    }
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(labels::SERVICE_NAME)?;
    Some((slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

struct Proxy {
    network: Arc<Network>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    /// Every listener that is open, with the Service port it stands for.
    listeners: HashMap<Address, (Key, u16, AbortHandle)>,
    tasks: JoinSet<()>,
    copies: Arc<Semaphore>,
}

impl Proxy {
    fn refresh_all(&mut self) {
        let mut keys: HashSet<Key> = self.network.table.read().keys().cloned().collect();
        keys.extend(self.services.list().iter().map(|service| key_of(&service.metadata)));
        for key in keys {
            self.refresh(&key);
        }
    }

    fn refresh(&mut self, key: &Key) {
        let node = &self.network.options.node_name;
        let entry = self.services.get(&key.0, &key.1).map(|service| {
            let slices = self.slices.indexed(BY_SERVICE, &format!("{}/{}", key.0, key.1));
            build(&service, &slices, node)
        });
        let wanted = entry.as_ref().map(|entry| wanted(entry, &self.network)).unwrap_or_default();
        let before = self.network.table.write().set(key, entry);
        if before.is_some() {
            self.listeners.retain(|address, (owner, port, task)| {
                let keep = owner != key || wanted.contains(&(*address, *port));
                if !keep {
                    task.abort();
                }
                keep
            });
        }
        for (address, port) in wanted {
            self.open(key, address, port);
        }
    }

    fn open(&mut self, key: &Key, address: Address, port: u16) {
        if self.listeners.contains_key(&address) {
            return;
        }
        let accepting = listen(address).and_then(watched);
        match accepting {
            Ok(listener) => {
                let front =
                    Front { network: self.network.clone(), key: key.clone(), port, copies: self.copies.clone() };
                let task = self.tasks.spawn(front.accept(listener));
                self.listeners.insert(address, (key.clone(), port, task));
            }
            Err(error) => {
                tracing::warn!(service = %format!("{}/{}", key.0, key.1), %address, %error, "cannot listen for a service")
            }
        }
    }
}

/// The addresses where this Service accepts, each with the Service port it stands for.
fn wanted(entry: &Entry, network: &Network) -> HashSet<(Address, u16)> {
    let options = &network.options;
    let mut wanted = HashSet::new();
    for port in entry.ports.iter().filter(|port| !port.endpoints.is_empty()) {
        let vip = match entry.kind {
            Kind::ClusterIp(ip) => Some(ip).filter(|ip| options.service_cidr.contains(*ip)),
            Kind::Headless | Kind::ExternalName(_) => None,
        };
        wanted.extend(vip.map(|ip| (SocketAddr::from((ip, port.port)), port.port)));
        let own = |ip: &&Ipv4Addr| options.mode == Mode::Loopback && ip.is_loopback() && **ip != options.node_ip;
        wanted.extend(entry.external.iter().filter(own).map(|ip| (SocketAddr::from((*ip, port.port)), port.port)));
        if let Some(node_port) = port.node_port.filter(|port| options.node_ports.contains(port)) {
            for ip in [Ipv4Addr::LOCALHOST, options.node_ip] {
                wanted.insert((SocketAddr::from((ip, node_port)), port.port));
            }
        }
    }
    wanted
}

/// One listening socket of a Service.
struct Front {
    network: Arc<Network>,
    key: Key,
    port: u16,
    copies: Arc<Semaphore>,
}

impl Front {
    async fn accept(self, listener: AsyncFd<TcpListener>) {
        let mut copies = JoinSet::new();
        loop {
            while copies.try_join_next().is_some() {}
            let accepted = accept_one(&listener).await;
            match accepted {
                Ok((socket, client)) => self.hand_on(socket, client, &mut copies),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(service = %self.key.1, %error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn hand_on(&self, socket: OwnedFd, client: Option<SocketAddr>, copies: &mut JoinSet<()>) {
        let entry = self.network.table.read().get(&self.key.0, &self.key.1);
        let index = entry.as_ref().and_then(|entry| entry.ports.iter().position(|port| port.port == self.port));
        let (Some(entry), Some(index)) = (entry, index) else { return reset(&socket) };
        let Picked::Endpoint(to) = self.network.pick_of(&entry, index, client.map(|client| client.ip())) else {
            return reset(&socket);
        };
        let Err(socket) = self.network.deliver_to(to, socket) else { return };
        match self.copies.clone().try_acquire_owned() {
            Ok(permit) => {
                copies.spawn(async move {
                    copy(socket, to).await;
                    drop(permit);
                });
            }
            Err(_) => reset(&socket),
        }
    }
}

/// Accepting by hand spares each delivered socket a registration with the reactor.
fn watched(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a `TcpListener` owns one open descriptor and keeps it, unchanged, until it is dropped.
    #[allow(unsafe_code)]
    let watched = unsafe { AsyncFd::register(listener) };
    Ok(watched?)
}

async fn accept_one(listener: &AsyncFd<TcpListener>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    loop {
        let mut ready = listener.readable().await?;
        let accepted = ready.try_io(|listener| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(rustix::net::acceptfrom_with(listener.get_ref(), flags)?)
        });
        if let Ok(accepted) = accepted {
            let (socket, client) = accepted?;
            return Ok((socket, client.and_then(|client| SocketAddr::try_from(client).ok())));
        }
    }
}

/// Ends the connection with RST when the socket is dropped: the nearest to "connection refused".
fn reset(socket: &OwnedFd) {
    // A socket that cannot linger is closed the ordinary way.
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

async fn copy(client: OwnedFd, to: SocketAddr) {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
    let Ok(Ok(mut endpoint)) = connected else { return reset(&client) };
    let Ok(mut client) = TcpStream::from_std(std::net::TcpStream::from(client)) else { return };
    // Both are only about latency.
    let _ = (client.set_nodelay(true), endpoint.set_nodelay(true));
    // Either side may end as it likes.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await;
}

impl Network {
    /// The client that a guest is, for affinity.
    pub(crate) fn client_of(&self, uid: &str) -> Option<IpAddr> {
        self.address_of(uid).map(IpAddr::V4)
    }
}
