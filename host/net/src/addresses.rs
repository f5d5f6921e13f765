//! Who has which address of the node's pod network, and listening on them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::{Cidr, Error, Mode, Options};

/// Connections that wait to be accepted, per listener.
const BACKLOG: i32 = 1_024;
/// The network's own address and the node's.
const RESERVED: u32 = 2;

/// The addresses of one node. Pods get theirs in order; a released one rests as long as others are free.
pub struct Network {
    options: Options,
    pods: Mutex<Pods>,
}

#[derive(Default)]
struct Pods {
    by_uid: HashMap<String, Ipv4Addr>,
    by_address: HashMap<Ipv4Addr, String>,
    released: VecDeque<Ipv4Addr>,
    next: u32,
}

impl Network {
    pub fn new(options: Options) -> Result<Self, Error> {
        if options.mode == Mode::Routed {
            return Err(Error::Routed);
        }
        let loopback: Cidr = "127.0.0.0/8".parse()?;
        for cidr in [options.cluster_cidr, options.service_cidr] {
            if !loopback.overlaps(&cidr) {
                return Err(Error::NotLoopback(cidr));
            }
        }
        if options.cluster_cidr.overlaps(&options.service_cidr) {
            return Err(Error::Overlap(options.cluster_cidr, options.service_cidr));
        }
        let pods = Pods { next: RESERVED, ..Pods::default() };
        Ok(Self { options, pods: Mutex::new(pods) })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The node's InternalIP: the first address of its pod network.
    pub fn node_ip(&self) -> IpAddr {
        self.options.cluster_cidr.nth(1).expect("a network has at least 16 addresses").into()
    }

    /// The pod's address; the same for the same uid until it is released.
    pub fn allocate(&self, uid: &str) -> Result<IpAddr, Error> {
        let mut pods = self.pods.lock();
        if let Some(address) = pods.by_uid.get(uid) {
            return Ok((*address).into());
        }
        let fresh = self.options.cluster_cidr.nth(pods.next).filter(|_| pods.next + 1 < self.options.cluster_cidr.size());
        let address = match fresh {
            Some(address) => {
                pods.next += 1;
                address
            }
            None => pods.released.pop_front().ok_or(Error::Exhausted(self.options.cluster_cidr))?,
        };
        pods.by_uid.insert(uid.to_owned(), address);
        pods.by_address.insert(address, uid.to_owned());
        Ok(address.into())
    }

    /// Nobody listens on the pod's address any more.
    pub fn release(&self, uid: &str) {
        let mut pods = self.pods.lock();
        if let Some(address) = pods.by_uid.remove(uid) {
            pods.by_address.remove(&address);
            pods.released.push_back(address);
        }
    }

    /// The address of a pod that has one.
    pub fn address_of(&self, uid: &str) -> Option<Ipv4Addr> {
        self.pods.lock().by_uid.get(uid).copied()
    }

    /// Inside the pod or the Service network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.options.cluster_cidr.contains(address) || self.options.service_cidr.contains(address)
    }

    /// A listener that is not blocking and is not inherited.
    pub fn listen(&self, ip: IpAddr, port: u16) -> io::Result<TcpListener> {
        let IpAddr::V4(ip) = ip else { return Err(io::Error::new(io::ErrorKind::Unsupported, "IPv6 is not served")) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // A pod that comes back to an address must not wait for the old connections' TIME_WAIT.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::V4(SocketAddrV4::new(ip, port)))?;
        listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(cluster: &str) -> Network {
        let options = Options {
            mode: Mode::Loopback,
            cluster_cidr: cluster.parse().unwrap(),
            service_cidr: "127.99.0.0/16".parse().unwrap(),
            node_ports: (30_000, 32_767),
        };
        Network::new(options).unwrap()
    }

    #[test]
    fn a_pod_keeps_its_address_and_a_released_one_rests() {
        let network = network("127.98.0.0/28");
        assert_eq!(network.node_ip().to_string(), "127.98.0.1");
        let first = network.allocate("a").unwrap();
        assert_eq!(first.to_string(), "127.98.0.2");
        assert_eq!(network.allocate("a").unwrap(), first);
        network.release("a");
        assert_eq!(network.allocate("b").unwrap().to_string(), "127.98.0.3");
        for uid in 0..11 {
            network.allocate(&uid.to_string()).unwrap();
        }
        assert_eq!(network.allocate("last").unwrap(), first, "the released one comes back when all others are taken");
        assert!(matches!(network.allocate("none"), Err(Error::Exhausted(_))));
    }

    #[test]
    fn networks_outside_loopback_are_refused() {
        let options = Options {
            mode: Mode::Loopback,
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "127.99.0.0/16".parse().unwrap(),
            node_ports: (30_000, 32_767),
        };
        assert!(matches!(Network::new(options), Err(Error::NotLoopback(_))));
    }

    #[test]
    fn pods_listen_side_by_side_on_one_port() {
        let network = network("127.98.1.0/24");
        let (a, b) = (network.allocate("a").unwrap(), network.allocate("b").unwrap());
        let one = network.listen(a, 0).unwrap();
        let port = one.local_addr().unwrap().port();
        let two = network.listen(b, port).unwrap();
        assert_eq!(two.local_addr().unwrap().ip(), b);
        assert!(network.listen(a, port).is_err());
    }
}
