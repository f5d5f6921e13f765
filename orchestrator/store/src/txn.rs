//! What can be asked of the machine: guards that are checked at apply, in log order, and the changes that follow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Key, Meta, Object, Payload, Revision};

/// All or nothing. Integers only, no clock, no randomness: every replica decides the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
    /// All changes get one revision instead of one each.
    pub share_revision: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    Absent(Key),
    Present(Key),
    Revision(Key, Revision),
    Uid(Key, String),
    /// The object of this key, a Namespace, exists and is not terminating.
    NamespaceActive(Key),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A put that changes neither meta nor payload keeps the revision (a no-op write).
    Put {
        key: Key,
        meta: Meta,
        payload: Payload,
    },
    Delete {
        key: Key,
    },
    /// Adds `delta` to the counter `name` of the quota; fails when the sum would pass `hard` and `delta` is positive.
    /// Does nothing when there is no object of this key; the counters go when it is deleted.
    Charge {
        quota: Key,
        name: String,
        delta: i64,
        hard: i64,
    },
    /// Takes one value of a pool (cluster IPs, node ports) for `owner`; fails when another owner holds it.
    Allocate {
        pool: String,
        value: u64,
        owner: Key,
    },
    Release {
        pool: String,
        value: u64,
    },
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The last revision the transaction used; the current one when it changed nothing.
    pub revision: Revision,
    /// For each `Put` and `Delete`, in order: the object after the put, or as it was deleted.
    /// `None` for the deletion of an absent key.
    pub objects: Vec<Option<Arc<Object>>>,
}
