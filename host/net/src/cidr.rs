//! IPv4 networks.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: u32,
    bits: u8,
}

impl Cidr {
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.base
    }

    /// The address `index` places after the network's own; `None` past its end.
    pub fn nth(&self, index: u32) -> Option<Ipv4Addr> {
        (index < self.size()).then(|| Ipv4Addr::from(self.base + index))
    }

    pub fn prefix_length(&self) -> u8 {
        self.bits
    }

    /// How many addresses it has.
    pub fn size(&self) -> u32 {
        1 << (32 - self.bits)
    }

    /// Where in the network this address lies.
    pub fn position(&self, address: Ipv4Addr) -> Option<u32> {
        self.contains(address).then(|| u32::from(address) - self.base)
    }

    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.contains(Ipv4Addr::from(other.base)) || other.contains(Ipv4Addr::from(self.base))
    }

    fn mask(&self) -> u32 {
        u32::MAX << (32 - self.bits)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    /// Between /8 and /28, without bits set behind the prefix.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Cidr { text: text.to_owned() };
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let base = u32::from(address.parse::<Ipv4Addr>().map_err(|_| wrong())?);
        let bits = bits.parse::<u8>().ok().filter(|bits| (8..=28).contains(bits)).ok_or_else(wrong)?;
        let cidr = Self { base, bits };
        if base & !cidr.mask() != 0 { Err(wrong()) } else { Ok(cidr) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_know_their_members() {
        let cidr: Cidr = "127.42.0.0/16".parse().unwrap();
        assert_eq!(cidr.to_string(), "127.42.0.0/16");
        assert_eq!(cidr.nth(1), Some(Ipv4Addr::new(127, 42, 0, 1)));
        assert_eq!(cidr.nth(65_536), None);
        assert_eq!(cidr.position(Ipv4Addr::new(127, 42, 1, 0)), Some(256));
        assert!(!cidr.contains(Ipv4Addr::new(127, 43, 0, 0)));
        assert!(cidr.overlaps(&"127.42.128.0/24".parse().unwrap()));
        for wrong in ["", "127.42.0.0", "127.42.0.0/99", "127.42.0.1/16", "x/16", "127.42.0.0/4"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
