//! IPv4 ranges, and the choice of a free pair of them for a cluster without root.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::str::FromStr;

use crate::Error;

/// The first and last second byte of the ranges that a loopback cluster may take.
const PAIRS: std::ops::RangeInclusive<u8> = 42..=127;
/// Where a cluster remembers its choice, below its data directory.
const REMEMBERED: &str = "loopback-network";

/// `base/prefix`; the host bits of `base` are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    /// Host bits of `address` are dropped; `prefix` is at most 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { base: address.to_bits() & mask(prefix), prefix }
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base
    }

    /// How many addresses it holds.
    pub fn len(&self) -> u64 {
        1 << (32 - self.prefix)
    }

    pub fn is_empty(&self) -> bool {
        false
    }

    /// The address after the base; the last one when there is no other.
    pub fn first(&self) -> Ipv4Addr {
        self.nth(1).unwrap_or(Ipv4Addr::from_bits(self.base))
    }

    /// The address that many after the base.
    pub fn nth(&self, index: u64) -> Option<Ipv4Addr> {
        (index < self.len()).then(|| Ipv4Addr::from_bits(self.base + index as u32))
    }

    /// The `index`th part of `prefix` bits, for a node's share.
    pub fn part(&self, prefix: u8, index: u32) -> Option<Self> {
        let bits = prefix.checked_sub(self.prefix).filter(|_| prefix <= 32)?;
        (u64::from(index) < 1_u64 << bits).then(|| {
            let offset = u64::from(index) << (32 - prefix);
            Self { base: self.base + offset as u32, prefix }
        })
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= 32)?;
            Some(Self::new(address.parse().ok()?, prefix))
        });
        parsed.ok_or_else(|| Error::NotARange(text.to_owned()))
    }
}

/// The pair that this cluster has; no other cluster of this machine takes it while this value lives.
#[derive(Debug)]
pub struct Chosen {
    pub cluster: Cidr,
    pub service: Cidr,
    /// A name in the network namespace, which is exactly where two clusters could clash; the kernel frees it when
    /// the process ends, however it ends.
    _lock: UnixListener,
}

/// The pair of /16 ranges in 127.0.0.0/8 that this data directory remembers, else the first free one.
///
/// # Errors
/// [`Error::InUse`] when another running cluster has the remembered pair, [`Error::NoRangeLeft`], [`Error::File`].
pub fn choose_loopback(data_directory: &Path) -> Result<Chosen, Error> {
    let path = data_directory.join(REMEMBERED);
    let file = |source| Error::File { path: path.display().to_string(), source };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let cluster: Cidr = text.trim().parse()?;
            let octet = Ipv4Addr::from_bits(cluster.base).octets()[1];
            return take(octet).ok_or(Error::InUse(cluster));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(error)),
    }
    let chosen = PAIRS.step_by(2).find_map(take).ok_or(Error::NoRangeLeft)?;
    fs::write(&path, chosen.cluster.to_string()).map_err(file)?;
    Ok(chosen)
}

fn take(octet: u8) -> Option<Chosen> {
    let name = SocketAddr::from_abstract_name(format!("amphipod-127.{octet}")).ok()?;
    let lock = UnixListener::bind_addr(&name).ok()?;
    let range = |octet| Cidr::new(Ipv4Addr::new(127, octet, 0, 0), 16);
    Some(Chosen { cluster: range(octet), service: range(octet + 1), _lock: lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_parse_contain_and_divide() {
        let range: Cidr = "10.42.7.9/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.42.0.0/16");
        assert_eq!(range.first(), Ipv4Addr::new(10, 42, 0, 1));
        assert!(range.contains(Ipv4Addr::new(10, 42, 255, 255)) && !range.contains(Ipv4Addr::new(10, 43, 0, 0)));
        assert_eq!(range.part(24, 3).map(|part| part.to_string()), Some("10.42.3.0/24".into()));
        assert_eq!((range.part(24, 256), range.part(8, 0)), (None, None));
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().len(), 1 << 32);
        for bad in ["10.42.0.0", "10.42.0.0/33", "x/8", ""] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn two_clusters_never_share_a_pair_and_each_keeps_its_own() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = choose_loopback(one.path()).unwrap();
        let second = choose_loopback(two.path()).unwrap();
        assert_ne!(first.cluster, second.cluster);
        assert!(matches!(choose_loopback(one.path()), Err(Error::InUse(range)) if range == first.cluster));
        let kept = first.cluster;
        drop(first);
        assert_eq!(choose_loopback(one.path()).unwrap().cluster, kept);
    }
}
