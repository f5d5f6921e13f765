//! Accepts for every Service on this node: cluster addresses and node ports. A connection for a local Wasm pod is
//! handed over whole; for anything else its bytes are copied.
//!
//! ```text
//!  client ─► listener (one task each) ─► Target::pick ─┬─► Deliver: the worker serves the socket itself
//!                                                      └─► connect, copy both ways
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::follow::Services;
use crate::services::Target;
use crate::{Deliver, Network};

/// Connections copied at once, per listener.
const COPIES_MAX: usize = 4_096;
const CONNECT_SECONDS: u64 = 10;
/// A listener that cannot be bound is tried again after this.
const BIND_RETRY_SECONDS: u64 = 5;

/// What a listener stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Front {
    Cluster(SocketAddrV4),
    Node(IpAddr, u16),
}

impl Front {
    fn address(self) -> (IpAddr, u16) {
        match self {
            Self::Cluster(address) => ((*address.ip()).into(), address.port()),
            Self::Node(ip, port) => (ip, port),
        }
    }

    fn target(self, services: &Services) -> Option<Arc<Target>> {
        match self {
            Self::Cluster(address) => services.at(address),
            Self::Node(_, port) => services.at_node_port(port),
        }
    }
}

/// Serves until the token is cancelled. Addresses that this process serves itself (the API) are left alone.
pub async fn run(network: Arc<Network>, services: Services, deliver: Arc<dyn Deliver>, shutdown: CancellationToken) {
    let mut changed = services.changed();
    let mut proxy = Proxy { network, services, deliver, running: HashMap::new(), tasks: JoinSet::new() };
    loop {
        let complete = proxy.reconcile();
        let retry = tokio::time::sleep(Duration::from_secs(BIND_RETRY_SECONDS));
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = changed.changed() => if changed.is_err() { return },
            () = retry, if !complete => {}
            Some(_) = proxy.tasks.join_next() => {}
        }
    }
}

struct Proxy {
    network: Arc<Network>,
    services: Services,
    deliver: Arc<dyn Deliver>,
    running: HashMap<Front, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on what is new, stops what is gone; false when something could not be bound.
    fn reconcile(&mut self) -> bool {
        let wanted = self.wanted();
        self.running.retain(|front, task| {
            let keep = wanted.contains(front);
            if !keep {
                task.abort();
            }
            keep
        });
        let mut complete = true;
        for front in wanted {
            if !self.running.contains_key(&front) {
                complete &= self.start(front);
            }
        }
        complete
    }

    fn wanted(&self) -> Vec<Front> {
        let (addresses, ports) = self.services.accepted();
        let own = |address: &SocketAddrV4| self.network.contains(*address.ip());
        let cluster = addresses.into_iter().filter(own).map(Front::Cluster);
        let nodes = [IpAddr::V4(Ipv4Addr::LOCALHOST), self.network.node_ip()];
        let node = ports.into_iter().flat_map(|port| nodes.map(|ip| Front::Node(ip, port)));
        cluster.chain(node).collect()
    }

    fn start(&mut self, front: Front) -> bool {
        let (ip, port) = front.address();
        let listener = self.network.listen(ip, port).and_then(TcpListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%ip, port, %error, "cannot listen for a Service");
                metrics::counter!("amphipod_proxy_bind_failures_total").increment(1);
                return false;
            }
        };
        let accepting = accept(listener, front, self.services.clone(), self.deliver.clone());
        self.running.insert(front, self.tasks.spawn(accepting));
        true
    }
}

async fn accept(listener: TcpListener, front: Front, services: Services, deliver: Arc<dyn Deliver>) {
    let mut copies = JoinSet::new();
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of descriptors, most likely: the next accept may find one.
            Err(_) => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        while copies.try_join_next().is_some() {}
        let Some(endpoint) = front.target(&services).and_then(|target| target.pick(peer.ip())) else {
            reset(&socket);
            continue;
        };
        let socket = match hand_over(socket, endpoint, &*deliver) {
            Ok(()) => continue,
            Err(socket) => socket,
        };
        match socket {
            Some(socket) if copies.len() < COPIES_MAX => _ = copies.spawn(copy(socket, endpoint)),
            Some(socket) => reset(&socket),
            None => {}
        }
    }
}

/// `Err(Some)`: nobody local took it.
fn hand_over(socket: TcpStream, endpoint: SocketAddrV4, deliver: &dyn Deliver) -> Result<(), Option<TcpStream>> {
    let Ok(socket) = socket.into_std() else { return Err(None) };
    let ip = IpAddr::V4(*endpoint.ip());
    deliver.deliver(ip, endpoint.port(), OwnedFd::from(socket)).map_err(|socket| {
        TcpStream::from_std(std::net::TcpStream::from(socket)).ok()
    })
}

async fn copy(mut client: TcpStream, endpoint: SocketAddrV4) {
    let connecting = TcpStream::connect(SocketAddr::V4(endpoint));
    let Ok(Ok(mut server)) = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS), connecting).await else {
        return reset(&client);
    };
    // Either end may be gone already; the copy then ends at once.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// As close to "connection refused" as an accepted connection gets: the peer sees a reset.
fn reset(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::build;
    use crate::{Mode, Options};
    use parking_lot::Mutex;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Takes connections for one address and answers on the socket itself, as a worker does.
    #[derive(Default)]
    struct Local {
        serves: Mutex<Option<SocketAddrV4>>,
    }

    impl Deliver for Local {
        fn deliver(&self, ip: IpAddr, port: u16, socket: OwnedFd) -> Result<(), OwnedFd> {
            if self.serves.lock().is_none_or(|address| (IpAddr::V4(*address.ip()), address.port()) != (ip, port)) {
                return Err(socket);
            }
            rustix::io::write(&socket, b"handed over").expect("the socket is open");
            Ok(())
        }
    }

    fn entry(cluster: SocketAddrV4, endpoint: Option<SocketAddrV4>) -> crate::services::Entry {
        let service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": cluster.ip().to_string(),
            "ports": [{"port": cluster.port()}]}});
        let slices = endpoint.map(|endpoint| {
            let slice = json!({"metadata": {}, "addressType": "IPv4", "ports": [{"port": endpoint.port()}],
                "endpoints": [{"addresses": [endpoint.ip().to_string()]}]});
            Arc::new(serde_json::from_value(slice).unwrap())
        });
        let slices: Vec<_> = slices.into_iter().collect();
        build(&serde_json::from_value(service).unwrap(), &slices)
    }

    async fn ask(address: SocketAddrV4) -> std::io::Result<String> {
        let mut text = String::new();
        TcpStream::connect(SocketAddr::V4(address)).await?.read_to_string(&mut text).await?;
        Ok(text)
    }

    /// Awaits the listener: connection refused only means that the proxy has not yet seen the change.
    async fn ask_until(address: SocketAddrV4, accepted: impl Fn(&std::io::Result<String>) -> bool) {
        loop {
            let answer = ask(address).await;
            if accepted(&answer) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn connections_are_handed_over_copied_or_reset() {
        let options = Options {
            mode: Mode::Loopback,
            cluster_cidr: "127.96.0.0/16".parse().unwrap(),
            service_cidr: "127.97.0.0/16".parse().unwrap(),
            node_ports: (30_000, 32_767),
        };
        let network = Arc::new(Network::new(options).unwrap());
        let remote = TcpListener::bind("127.96.0.9:0").await.unwrap();
        let SocketAddr::V4(endpoint) = remote.local_addr().unwrap() else { panic!("IPv4 was bound") };
        let cluster = SocketAddrV4::new(Ipv4Addr::new(127, 97, 0, 5), endpoint.port());
        let (services, local, shutdown) = (Services::default(), Arc::new(Local::default()), CancellationToken::new());
        let running = tokio::spawn(run(network, services.clone(), local.clone(), shutdown.clone()));
        let answering = tokio::spawn(async move {
            loop {
                let (mut socket, _) = remote.accept().await.unwrap();
                socket.write_all(b"copied").await.unwrap();
            }
        });

        services.replace("default", "web", Some(entry(cluster, Some(endpoint))));
        ask_until(cluster, |answer| answer.as_ref().is_ok_and(|text| text == "copied")).await;

        *local.serves.lock() = Some(endpoint);
        ask_until(cluster, |answer| answer.as_ref().is_ok_and(|text| text == "handed over")).await;

        services.replace("default", "web", Some(entry(cluster, None)));
        let is = |kind| move |answer: &std::io::Result<String>| answer.as_ref().is_err_and(|error| error.kind() == kind);
        ask_until(cluster, is(std::io::ErrorKind::ConnectionReset)).await;

        services.replace("default", "web", None);
        ask_until(cluster, is(std::io::ErrorKind::ConnectionRefused)).await;
        shutdown.cancel();
        running.await.unwrap();
        answering.abort();
    }
}
