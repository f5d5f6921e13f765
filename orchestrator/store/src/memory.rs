//! The machine behind a lock: a [`Store`] for tests, and the model that `RaftStore` is held against. Nothing is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::feed::Limits;
use crate::machine::{Command, Machine, Outcome};
use crate::root::Root;
use crate::view::View;
use crate::{Committed, Error, ResourceId, Revision, Snapshot, Store, Txn, Watch};

pub struct MemoryStore {
    machine: Mutex<Machine>,
    view: View,
    closed: AtomicBool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::with_history(Limits::default())
    }

    pub(crate) fn with_history(limits: Limits) -> Self {
        let view = View::new(Root::default(), limits);
        Self { machine: Mutex::default(), view, closed: AtomicBool::new(false) }
    }

    fn apply(&self, command: Command) -> Result<Outcome, Error> {
        self.serving()?;
        let mut machine = self.machine.lock();
        let mut applied = machine.apply([&command]);
        // Under the lock, so that what is published is in order.
        self.view.publish(machine.root().clone(), &applied.events);
        Ok(applied.outcomes.pop().expect("one command has one outcome"))
    }

    fn serving(&self) -> Result<(), Error> {
        let closed = self.closed.load(Ordering::Acquire);
        if closed { Err(Error::Unavailable("shutting down".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn health(&self) -> Result<(), Error> {
        self.serving()
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        match self.apply(Command::Txn(txn))? {
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

    async fn barrier(&self) -> Result<(), Error> {
        self.serving()
    }

    async fn reached(&self, revision: Revision) -> Result<(), Error> {
        self.serving()?;
        self.view.reached(revision).await
    }

    async fn resource(&self, name: &str) -> Result<ResourceId, Error> {
        match self.apply(Command::Intern(name.into()))? {
            Outcome::Intern(result) => result,
            Outcome::Txn(_) => unreachable!("a name has the outcome of one"),
        }
    }

    async fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.view.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_store_conforms() {
        crate::conformance::conformance(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
    }
}
