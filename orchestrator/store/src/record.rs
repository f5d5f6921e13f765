//! What the log and the checkpoint hold, in our own words: an upgrade of openraft never touches a disk.
//! Encoded with postcard; the order of variants and fields is the format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machine::Command;

/// Where an entry stands, and which leader put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    Entry(Position, Content),
    Vote(Ballot),
    Committed(Option<Position>),
    /// Entries after this index are void.
    TruncatedAfter(Option<Position>),
    /// Entries up to here are in the checkpoint and may be gone.
    Purged(Position),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    Blank,
    Commands(Arc<Vec<Command>>),
    Members(Members),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    pub configs: Vec<BTreeSet<u64>>,
    pub addresses: BTreeMap<u64, String>,
}

/// Appends the encoding of a value to a buffer.
pub(crate) fn encode(value: &impl Serialize, buffer: &mut Vec<u8>) {
    let flavor = Append(buffer);
    postcard::serialize_with_flavor(value, flavor).expect("memory takes any encoding");
}

struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
