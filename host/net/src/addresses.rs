//! Which pod of this node has which address. Addresses are given in turn, so that a freed one rests before it is used again.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use crate::{Cidr, Error};

#[derive(Debug)]
pub struct Addresses {
    range: Cidr,
    taken: HashSet<Ipv4Addr>,
    by_uid: HashMap<String, Ipv4Addr>,
    next: u64,
}

impl Addresses {
    /// The base and the last address of the range, and the node's `own`, are never given.
    pub fn new(range: Cidr, own: Option<Ipv4Addr>) -> Self {
        Self { range, taken: own.into_iter().collect(), by_uid: HashMap::new(), next: 1 }
    }

    /// The address of this pod; `wanted` when it is free, else the next free one.
    ///
    /// # Errors
    /// [`Error::Full`]
    pub fn allocate(&mut self, uid: &str, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
        if let Some(known) = self.by_uid.get(uid) {
            return Ok(*known);
        }
        let wanted = wanted.filter(|ip| self.range.contains(*ip) && !self.taken.contains(ip));
        let ip = wanted.or_else(|| self.next_free()).ok_or(Error::Full(self.range))?;
        self.taken.insert(ip);
        self.by_uid.insert(uid.to_owned(), ip);
        Ok(ip)
    }

    pub fn release(&mut self, uid: &str) {
        if let Some(ip) = self.by_uid.remove(uid) {
            self.taken.remove(&ip);
        }
    }

    pub fn of(&self, uid: &str) -> Option<Ipv4Addr> {
        self.by_uid.get(uid).copied()
    }

    fn next_free(&mut self) -> Option<Ipv4Addr> {
        let usable = self.range.len().saturating_sub(2);
        for _ in 0..usable {
            let index = self.next;
            self.next = if index >= usable { 1 } else { index + 1 };
            let ip = self.range.nth(index)?;
            if !self.taken.contains(&ip) {
                return Some(ip);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_rest_after_release_and_run_out() {
        let own = Ipv4Addr::new(127, 42, 0, 1);
        let mut addresses = Addresses::new("127.42.0.0/29".parse().unwrap(), Some(own));
        let last = |ip: Result<Ipv4Addr, Error>| ip.map(|ip| ip.octets()[3]).ok();
        assert_eq!(last(addresses.allocate("a", None)), Some(2));
        assert_eq!(last(addresses.allocate("a", None)), Some(2), "a pod keeps its address");
        addresses.release("a");
        assert_eq!(last(addresses.allocate("b", None)), Some(3), "a freed address rests");
        assert_eq!(last(addresses.allocate("c", Some(Ipv4Addr::new(127, 42, 0, 5)))), Some(5));
        assert_eq!(last(addresses.allocate("d", Some(Ipv4Addr::new(127, 42, 0, 5)))), Some(4), "taken");
        assert_eq!(last(addresses.allocate("e", Some(Ipv4Addr::new(10, 0, 0, 5)))), Some(6), "foreign");
        assert_eq!(last(addresses.allocate("f", None)), Some(2));
        assert!(matches!(addresses.allocate("g", None), Err(Error::Full(_))));
    }
}
