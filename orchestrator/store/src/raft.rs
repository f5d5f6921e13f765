//! The store of a server: the machine behind openraft, a group of one from the first day. Opening reads the
//! checkpoint and replays the log; then writes go proposer → log → machine, and the checkpointer follows behind.
//!
//! ```text
//!  open ─► load ─► replay ─► serving ─► shutdown: refuse, drain, checkpoint, close
//!                               └─► the log fails: every write is refused, reads go on; restart
//! ```

mod log_store;
mod network;
mod open;
pub(crate) mod state_machine;
#[cfg(test)]
mod tests;
mod types;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::checkpoint::Checkpoint;
use crate::disk::Lock;
use crate::machine::{Command, Outcome};
use crate::propose::Proposer;
use crate::raft::log_store::LogStore;
use crate::raft::state_machine::{Ledger, StateMachine, Unsaved};
use crate::raft::types::Types;
use crate::view::View;
use crate::{Committed, Error, Op, ResourceId, Revision, Snapshot, Store, Txn, Watch};

const SEGMENT_BYTES: u64 = 64 << 20;
const CHECKPOINT_BYTES: usize = 16 << 20;
const CHECKPOINT_SECONDS: u64 = 60;
/// Unsaved changes beyond which writes are refused: the checkpointer cannot keep up.
const UNSAVED_BYTES_MAX: usize = 256 << 20;
/// Entries (of at most a MiB) kept behind the checkpoint: away from what openraft may still look at, and quick to read.
const PURGE_MARGIN: u64 = 16;
/// Heartbeats of nodes: they must pass when the state is full.
const LEASES: &str = "coordination.k8s.io/leases";

/// How to open a store. Only `directory` has no default.
#[derive(Debug, Clone)]
pub struct Options {
    /// Made if it is missing; one process at a time.
    pub directory: PathBuf,
    /// Weight of all objects, in bytes, beyond which creations are refused; deletions, updates and leases pass.
    pub state_bytes_max: Option<usize>,
    /// Length of a log segment; they are filled with zeros ahead of use.
    pub segment_bytes: u64,
    /// A checkpoint is due after this many changed bytes, or this long after the last one.
    pub checkpoint_bytes: usize,
    pub checkpoint_every: Duration,
    /// Entries that stay in the log behind the checkpoint.
    pub purge_margin: u64,
}

impl Options {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            state_bytes_max: None,
            segment_bytes: SEGMENT_BYTES,
            checkpoint_bytes: CHECKPOINT_BYTES,
            checkpoint_every: Duration::from_secs(CHECKPOINT_SECONDS),
            purge_margin: PURGE_MARGIN,
        }
    }
}

pub struct RaftStore {
    options: Options,
    raft: Raft<Types, StateMachine>,
    log: LogStore,
    view: Arc<View>,
    ledger: Arc<Ledger>,
    checkpoint: Arc<tokio::sync::Mutex<Checkpoint>>,
    proposer: Mutex<Option<Proposer>>,
    closed: AtomicBool,
    /// The proposer's loop, which ends when its last handle goes.
    proposing: tokio::sync::Mutex<JoinSet<()>>,
    /// The checkpointer's loop, which ends when it is dropped.
    checkpointing: Mutex<JoinSet<()>>,
    lock: Mutex<Option<Lock>>,
}

impl RaftStore {
    /// Resolves when this store can no longer write, with the reason: the process should then end and be restarted.
    pub async fn failed(&self) -> Error {
        let mut running = self.raft.metrics();
        loop {
            if let Err(fatal) = &running.borrow_and_update().running_state {
                return Error::Unavailable(fatal.to_string());
            }
            if running.changed().await.is_err() {
                return shutting_down();
            }
        }
    }

    /// What all objects weigh, in bytes, and the limit: for readiness and metrics.
    pub fn weight(&self) -> (usize, Option<usize>) {
        (self.view.root().weight, self.options.state_bytes_max)
    }

    /// Writes a checkpoint now and lets go of the log before it.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        checkpoint(&self.raft, &self.ledger, &self.checkpoint).await
    }

    async fn submit(&self, command: Command) -> Result<Outcome, Error> {
        let proposer = self.proposer.lock().clone();
        match proposer {
            Some(proposer) => proposer.submit(command).await,
            None => Err(shutting_down()),
        }
    }

    fn serving(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(shutting_down()) } else { Ok(()) }
    }

    fn room(&self, txn: &Txn) -> Result<(), Error> {
        if self.ledger.unsaved.lock().bytes > UNSAVED_BYTES_MAX {
            return Err(Error::Full("the disk cannot keep up with the writes"));
        }
        let root = self.view.root();
        let starved = self.log.is_starved();
        if !starved && self.options.state_bytes_max.is_none_or(|max| root.weight < max) {
            return Ok(());
        }
        let leases = root.resources.get(LEASES).copied();
        let mut puts = txn.ops.iter().filter_map(|op| match op {
            Op::Put { key, .. } if Some(key.resource()) != leases => Some(key),
            _ => None,
        });
        if starved {
            return if puts.next().is_some() {
                Err(Error::Full("the disk of the data directory is full"))
            } else {
                Ok(())
            };
        }
        let created = puts.any(|key| !root.objects.contains_key(key));
        if created { Err(Error::Full("the state has reached its size limit: delete something first")) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for RaftStore {
    fn health(&self) -> Result<(), Error> {
        self.serving()?;
        let mut metrics = self.raft.metrics();
        let state = metrics.borrow_and_update().running_state.clone();
        state.map_err(|fatal| Error::Unavailable(fatal.to_string()))
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        self.serving()?;
        self.room(&txn)?;
        match self.submit(Command::Txn(txn)).await? {
            Outcome::Txn(result) => result,
            Outcome::Intern(_) => unreachable!("a transaction has the outcome of one"),
        }
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.view.root()
    }

    fn snapshot_at(&self, revision: Revision) -> Result<Arc<dyn Snapshot>, Error> {
        self.view.snapshot_at(revision)
    }

    fn pin(&self, snapshot: Arc<dyn Snapshot>) {
        self.view.pin(snapshot);
    }

    fn watch(&self, resource: ResourceId, after: Revision) -> Result<Box<dyn Watch>, Error> {
        self.serving()?;
        self.view.watch(resource, after)
    }

    /// In a group of one nothing is acknowledged before it is visible here.
    async fn barrier(&self) -> Result<(), Error> {
        self.serving()
    }

    async fn reached(&self, revision: Revision) -> Result<(), Error> {
        self.serving()?;
        self.view.reached(revision).await
    }

    async fn resource(&self, name: &str) -> Result<ResourceId, Error> {
        self.serving()?;
        if let Some(id) = self.view.root().resources.get(name) {
            return Ok(*id);
        }
        match self.submit(Command::Intern(name.into())).await? {
            Outcome::Intern(result) => result,
            Outcome::Txn(_) => unreachable!("a name has the outcome of one"),
        }
    }

    async fn shutdown(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.view.close();
        self.proposer.lock().take();
        while self.proposing.lock().await.join_next().await.is_some() {}
        self.checkpointing.lock().abort_all();
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(%error, "the last checkpoint failed; the log will be replayed");
        }
        self.checkpoint.lock().await.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the replicated log did not stop cleanly");
        }
        let log = self.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::warn!(%error, "the log did not close cleanly");
        }
        self.lock.lock().take();
    }
}

/// Runs until it is dropped.
async fn keep_checkpointing(
    raft: Raft<Types, StateMachine>,
    ledger: Arc<Ledger>,
    file: Arc<tokio::sync::Mutex<Checkpoint>>,
    every: Duration,
) {
    loop {
        // Timed out or rung: either way it is time.
        let _ = tokio::time::timeout(every, ledger.due.notified()).await;
        if let Err(error) = checkpoint(&raft, &ledger, &file).await {
            tracing::warn!(%error, "a checkpoint failed; the log is kept and it is tried again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn checkpoint(
    raft: &Raft<Types, StateMachine>,
    ledger: &Arc<Ledger>,
    file: &Arc<tokio::sync::Mutex<Checkpoint>>,
) -> Result<(), Error> {
    let mut file = file.clone().lock_owned().await;
    let taken = {
        let mut unsaved = ledger.unsaved.lock();
        let state = unsaved.state.clone();
        if state.place == *ledger.saved.lock() {
            return Ok(());
        }
        std::mem::replace(&mut *unsaved, Unsaved { state, ..Unsaved::default() })
    };
    let work = tokio::task::spawn_blocking(move || (file.save(&taken.state, (&taken.keys, &taken.rows)), taken));
    let (saved, taken) = work.await.map_err(|error| Error::Unavailable(error.to_string()))?;
    if let Err(error) = saved {
        let mut unsaved = ledger.unsaved.lock();
        unsaved.keys.extend(taken.keys);
        unsaved.rows.extend(taken.rows);
        unsaved.bytes += taken.bytes;
        return Err(error);
    }
    let applied = taken.state.place.applied;
    *ledger.saved.lock() = taken.state.place;
    if let Some(applied) = applied {
        purge(raft, applied.index, ledger.purge_margin).await;
    }
    Ok(())
}

/// Lets openraft drop the log that the checkpoint covers. Not doing so is harmless: the next checkpoint tries again.
async fn purge(raft: &Raft<Types, StateMachine>, saved: u64, margin: u64) {
    let Some(upto) = saved.checked_sub(margin) else { return };
    let told = async {
        raft.trigger().snapshot().await.ok()?;
        let wait = raft.wait(Some(Duration::from_secs(5)));
        wait.metrics(|seen| seen.snapshot.is_some_and(|id| id.index >= saved), "the checkpoint is known").await.ok()?;
        raft.trigger().purge_log(upto).await.ok()?;
        let wait = raft.wait(Some(Duration::from_secs(5)));
        wait.metrics(|seen| seen.purged.is_some_and(|id| id.index >= upto), "the log is purged").await.ok()
    };
    if told.await.is_none() {
        tracing::debug!(upto, "the log was not purged");
    }
}

fn shutting_down() -> Error {
    Error::Unavailable("shutting down".into())
}
