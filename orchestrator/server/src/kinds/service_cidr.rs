//! ServiceCIDR: a range of addresses for services. Each address in use is an `ip_address.rs`.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::json::{child, items, set, text};
use super::problem::immutable;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, STATUS, Scope, keep_status, metadata, names};

pub static SERVICE_CIDR: Kind = Kind {
    group: "networking.k8s.io",
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.networking.v1.ServiceCIDR",
    storage: "networking.k8s.io/servicecidrs",
    defaults: |cidr| {
        child(cidr, "status");
    },
    prepare_create: |cidr| set(cidr, "status", json!({})),
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec.cidrs", &new["spec"]["cidrs"], &old["spec"]["cidrs"]));
        problems
    },
    columns: &[NAME, string("CIDRs", "The ranges from which addresses of services are given."), AGE],
    row: |cidr, now| {
        let ranges: Vec<&str> = items(&cidr["spec"]["cidrs"]).iter().map(text).collect();
        vec![name(cidr), ranges.join(",").into(), age(cidr, now)]
    },
    ..PLAIN
};

/// An address and how many of its bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let network = Self { address: address.parse().ok()?, bits: bits.parse().ok()? };
        (network.bits <= network.width()).then_some(network)
    }

    /// Whether the other one is a true part of this.
    pub fn holds(&self, inner: &Self) -> bool {
        let same_family = self.address.is_ipv4() == inner.address.is_ipv4();
        same_family && self.bits < inner.bits && self.prefix(&self.address) == self.prefix(&inner.address)
    }

    /// The network alone, as it should be written.
    fn masked(&self) -> String {
        let kept = self.prefix(&self.address);
        match self.address {
            IpAddr::V4(_) => {
                let bits = u32::try_from(kept).expect("an IPv4 address has 32 bits");
                format!("{}/{}", std::net::Ipv4Addr::from(bits), self.bits)
            }
            IpAddr::V6(_) => format!("{}/{}", std::net::Ipv6Addr::from(kept), self.bits),
        }
    }

    fn width(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn prefix(&self, address: &IpAddr) -> u128 {
        let number = match address {
            IpAddr::V4(address) => u128::from(u32::from(*address)),
            IpAddr::V6(address) => u128::from(*address),
        };
        let free = u32::from(self.width() - self.bits);
        number.checked_shr(free).and_then(|kept| kept.checked_shl(free)).unwrap_or(0)
    }
}

/// What is wrong with a range of addresses that nothing older allows.
pub(super) fn validate_cidr(cidr: &str, path: &str) -> Option<Problem> {
    let Some(network) = Network::parse(cidr) else {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        return Some(Problem::invalid(path, cidr, detail));
    };
    let written = network.masked();
    let is_masked = Network::parse(&written) == Some(network);
    if !is_masked {
        return Some(Problem::invalid(path, cidr, "must not have bits set beyond the prefix length"));
    }
    (written != cidr).then(|| Problem::invalid(path, cidr, &format!("must be in canonical form (\"{written}\")")))
}

fn validate(cidr: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(cidr, Scope::Cluster, names::subdomain);
    let path = "spec.cidrs";
    let ranges: Vec<&str> = items(&cidr["spec"]["cidrs"]).iter().map(text).collect();
    let families: Vec<Option<bool>> =
        ranges.iter().map(|range| Network::parse(range).map(|network| network.address.is_ipv4())).collect();
    match families.as_slice() {
        [] => problems.push(Problem::required(path, "at least one CIDR required")),
        [_, _, _, ..] => {
            problems.push(Problem::invalid(path, cidr["spec"].clone(), "may only hold up to 2 values"));
        }
        [one, other] if one.is_none() || other.is_none() || one == other => {
            let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            problems.push(Problem::invalid(path, cidr["spec"].clone(), detail));
        }
        _ => {
            let ranges = ranges.iter().enumerate();
            problems.extend(ranges.filter_map(|(index, range)| validate_cidr(range, &format!("{path}[{index}]"))));
        }
    }
    problems
}
