//! What is true, and in which order. The seam is [`Store`]; behind it stand `RaftStore` (an append-only log
//! under openraft, checkpointed into redb) and `MemoryStore`, both around the same deterministic machine.
//!
//! ```text
//!  commit ─► propose.rs ─► log.rs (one fsync for many) ─► machine.rs ─► feed.rs ─► watchers
//!                                                             └─► checkpoint.rs (redb)
//! ```

mod checkpoint;
pub mod conformance;
mod disk;
mod feed;
mod format;
mod key;
mod log;
mod machine;
mod memory;
mod object;
mod pins;
mod propose;
mod raft;
mod record;
mod root;
mod txn;
mod view;

pub use key::{Key, ResourceId};
pub use memory::MemoryStore;
pub use object::{Meta, Object, Payload};
pub use raft::{Options, RaftStore};
pub use txn::{Committed, Guard, Op, Txn};

use std::sync::Arc;

use async_trait::async_trait;

/// The global counter of object changes; it is what clients see as `resourceVersion`.
pub type Revision = u64;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Error {
    /// A guard did not hold when the transaction was applied. Not retriable as it is: read again first.
    /// `index` counts the guards and then, after the last of them, the ops (`Charge` and `Allocate` can fail too).
    #[error("guard {index} does not hold: {found}")]
    Guard { index: usize, found: Found },
    /// The revision lies before what is kept (HTTP 410). Start over from a list.
    #[error("revision {asked} is older than {oldest}, the oldest kept")]
    Expired { asked: Revision, oldest: Revision },
    /// The revision lies in the future (HTTP 504 after a wait).
    #[error("revision {asked} is newer than {current}")]
    TooNew { asked: Revision, current: Revision },
    /// A named limit is reached: state size, queue of waiting writes. Retry later.
    #[error("{0}")]
    Full(&'static str),
    /// This server cannot commit now: no leader, shutting down, disk failed. Retry elsewhere or later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What lies on disk is not what this program wrote. Never retried; the operator must act.
    #[error("{0}")]
    Corrupt(String),
}

/// What stood in the way of a guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Found {
    #[error("the key exists")]
    Exists,
    #[error("the key is absent")]
    Absent,
    #[error("its revision is {0}")]
    Revision(Revision),
    #[error("its uid is {0}")]
    Uid(String),
    #[error("the namespace is absent")]
    NamespaceAbsent,
    #[error("the namespace is terminating")]
    NamespaceTerminating,
    #[error("used {used} of {hard}")]
    QuotaExceeded { used: i64, hard: i64 },
    #[error("the value is allocated")]
    Allocated,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    pub revision: Revision,
    pub change: Change,
    /// The object after the change; for a deletion its last state, stamped with the deletion's revision.
    pub current: Arc<Object>,
    pub previous: Option<Arc<Object>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// A consistent picture of every object at one revision. Cheap to take and to hold for a request.
pub trait Snapshot: Send + Sync {
    fn revision(&self) -> Revision;
    fn get(&self, key: &Key) -> Option<Arc<Object>>;
    /// Objects in key order (namespace, name). `namespace: None` is all of them. Starts after `after`; at most
    /// `limit` (0: no limit).
    fn list(
        &self,
        resource: ResourceId,
        namespace: Option<&str>,
        after: Option<&Key>,
        limit: usize,
    ) -> Vec<Arc<Object>>;
    /// How many objects `list` would give without `after` and `limit`.
    fn count(&self, resource: ResourceId, namespace: Option<&str>) -> usize;
    /// What `Charge` has added up for this counter of a quota; 0 when nothing was charged.
    fn charged(&self, quota: &Key, name: &str) -> i64;
    /// Who holds a value of a pool, if anyone does.
    fn holder(&self, pool: &str, value: u64) -> Option<Key>;
    /// The values of a pool that are taken, ascending.
    fn allocated(&self, pool: &str) -> Vec<u64>;
}

/// A cursor in the ring of one resource's events.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next events, in order, at least one; `Expired` once the cursor fell off the ring.
    async fn next(&mut self) -> Result<Vec<Arc<Event>>, Error>;
    /// Everything up to this revision has been seen through this watch (for bookmarks).
    fn revision(&self) -> Revision;
}

/// The replicated, ordered truth.
#[async_trait]
pub trait Store: Send + Sync {
    /// All or nothing, in log order. Returns only when the log holds it durably (on a quorum) and it is applied.
    async fn commit(&self, txn: Txn) -> Result<Committed, Error>;

    /// The picture now. With several servers: call [`Store::barrier`] before, for a linearizable read.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// The picture at an earlier revision, kept by [`Store::pin`]; `Expired` when it is gone.
    fn snapshot_at(&self, revision: Revision) -> Result<Arc<dyn Snapshot>, Error>;

    /// Keeps this snapshot for later pages of a list (`PINS_MAX`, `PIN_SECONDS`, the oldest goes first).
    fn pin(&self, snapshot: Arc<dyn Snapshot>);

    /// Events of one resource after `after`. `TooNew` for a revision that is not reached yet.
    fn watch(&self, resource: ResourceId, after: Revision) -> Result<Box<dyn Watch>, Error>;

    /// Waits until everything committed before the call, anywhere, is visible here.
    async fn barrier(&self) -> Result<(), Error>;

    /// Waits until this revision is visible here.
    async fn reached(&self, revision: Revision) -> Result<(), Error>;

    /// The id of a resource (`group/plural`, plain `plural` for core), allocated on first use and never reused.
    async fn resource(&self, name: &str) -> Result<ResourceId, Error>;

    /// Why it cannot commit any more, if so; what passes by itself is no reason. Never waits.
    fn health(&self) -> Result<(), Error>;

    /// Writes the checkpoint and closes files. Later calls give `Unavailable`.
    async fn shutdown(&self);
}
