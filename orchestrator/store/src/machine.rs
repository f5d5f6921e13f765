//! The deterministic machine: the same commands in the same order give the same root, results and events on every
//! replica. No clock, no randomness, no ids. `propose.rs` feeds it; `feed.rs` and `checkpoint.rs` take what it says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::root::Root;
use crate::{Change, Committed, Error, Event, Found, Guard, Key, Meta, Object, Op, Payload, ResourceId, Revision, Txn};

/// One thing the machine can be told. The order of the variants is part of the format on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Txn(Txn),
    /// Gives a resource its id.
    Intern(String),
}

/// What became of one command.
#[derive(Debug)]
pub(crate) enum Outcome {
    Txn(Result<Committed, Error>),
    Intern(Result<ResourceId, Error>),
}

/// A row of state that is not an object, named so that a checkpoint can write it anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    Charge(Key, Arc<str>),
    Pool(Arc<str>, u64),
    Resource(Arc<str>),
}

/// What a batch did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    pub events: Vec<Arc<Event>>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Default)]
pub(crate) struct Machine {
    root: Root,
}

impl Machine {
    pub fn new(root: Root) -> Self {
        Self { root }
    }

    /// The state as it stands; clone it to keep it.
    pub fn root(&self) -> &Root {
        &self.root
    }

    pub fn apply<'a>(&mut self, commands: impl IntoIterator<Item = &'a Command>) -> Applied {
        let mut applied = Applied::default();
        for command in commands {
            let outcome = match command {
                Command::Txn(txn) => Outcome::Txn(self.transact(txn, &mut applied)),
                Command::Intern(name) => Outcome::Intern(self.intern(name, &mut applied)),
            };
            applied.outcomes.push(outcome);
        }
        applied
    }

    fn transact(&mut self, txn: &Txn, applied: &mut Applied) -> Result<Committed, Error> {
        for (index, guard) in txn.guards.iter().enumerate() {
            self.check(guard).map_err(|found| Error::Guard { index, found })?;
        }
        self.reserve(txn, applied)?;
        let shared = txn.share_revision.then_some(self.root.revision + 1);
        let mut objects = Vec::with_capacity(txn.ops.len());
        for op in &txn.ops {
            let revision = shared.unwrap_or(self.root.revision + 1);
            match op {
                Op::Put { key, meta, payload } => objects.push(Some(self.put(revision, (key, meta, payload), applied))),
                Op::Delete { key } => objects.push(self.delete(revision, key, applied)),
                Op::Charge { .. } | Op::Allocate { .. } | Op::Release { .. } => {}
            }
        }
        Ok(Committed { revision: self.root.revision, objects })
    }

    fn check(&self, guard: &Guard) -> Result<(), Found> {
        let find = |key| self.root.objects.get(key);
        match guard {
            Guard::Absent(key) => find(key).map_or(Ok(()), |_| Err(Found::Exists)),
            Guard::Present(key) => find(key).map(drop).ok_or(Found::Absent),
            Guard::Revision(key, wanted) => match find(key) {
                None => Err(Found::Absent),
                Some(object) if object.revision == *wanted => Ok(()),
                Some(object) => Err(Found::Revision(object.revision)),
            },
            Guard::Uid(key, wanted) => match find(key) {
                None => Err(Found::Absent),
                Some(object) if object.meta.uid == *wanted => Ok(()),
                Some(object) => Err(Found::Uid(object.meta.uid.clone())),
            },
            Guard::NamespaceActive(key) => match find(key) {
                None => Err(Found::NamespaceAbsent),
                Some(object) if object.meta.terminating => Err(Found::NamespaceTerminating),
                Some(_) => Ok(()),
            },
        }
    }

    /// Does the ops that can fail, before those that cannot, and takes them back when one fails.
    fn reserve(&mut self, txn: &Txn, applied: &mut Applied) -> Result<(), Error> {
        if !txn.ops.iter().any(|op| matches!(op, Op::Charge { .. } | Op::Allocate { .. } | Op::Release { .. })) {
            return Ok(());
        }
        // Clones are pointers; a refused transaction costs the copies of the few nodes it touched.
        let (charges, pools, rows) = (self.root.charges.clone(), self.root.pools.clone(), applied.rows.len());
        for (index, op) in txn.ops.iter().enumerate() {
            if let Err(found) = self.reserve_one(op, applied) {
                (self.root.charges, self.root.pools) = (charges, pools);
                applied.rows.truncate(rows);
                return Err(Error::Guard { index: txn.guards.len() + index, found });
            }
        }
        Ok(())
    }

    fn reserve_one(&mut self, op: &Op, applied: &mut Applied) -> Result<(), Found> {
        match op {
            Op::Put { .. } | Op::Delete { .. } => {}
            // A quota that is gone limits nothing and counts nothing.
            Op::Charge { quota, .. } if !self.root.objects.contains_key(quota) => {}
            Op::Charge { quota, name, delta, hard } => {
                let counter = (quota.clone(), Arc::<str>::from(name.as_str()));
                let used = self.root.charges.get(&counter).copied().unwrap_or(0);
                let sum = used.saturating_add(*delta);
                if *delta > 0 && sum > *hard {
                    return Err(Found::QuotaExceeded { used, hard: *hard });
                }
                applied.rows.push(Row::Charge(counter.0.clone(), counter.1.clone()));
                self.root.charges.insert_mut(counter, sum);
            }
            Op::Allocate { pool, value, owner } => {
                let slot = (Arc::<str>::from(pool.as_str()), *value);
                if self.root.pools.get(&slot).is_some_and(|holder| holder != owner) {
                    return Err(Found::Allocated);
                }
                applied.rows.push(Row::Pool(slot.0.clone(), slot.1));
                self.root.pools.insert_mut(slot, owner.clone());
            }
            Op::Release { pool, value } => {
                let slot = (Arc::<str>::from(pool.as_str()), *value);
                self.root.pools.remove_mut(&slot);
                applied.rows.push(Row::Pool(slot.0, slot.1));
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        revision: Revision,
        (key, meta, payload): (&Key, &Meta, &Payload),
        applied: &mut Applied,
    ) -> Arc<Object> {
        let existing = self.root.objects.get(key);
        if let Some(same) = existing.filter(|object| *object.meta == *meta && object.holds(payload)) {
            return same.clone();
        }
        let created = existing.map_or(revision, |object| object.create_revision);
        // Metadata seldom changes with the rest: then every version shares it.
        let meta = match existing.filter(|object| *object.meta == *meta) {
            Some(object) => object.meta.clone(),
            None => Arc::new(meta.clone()),
        };
        let current = Arc::new(Object::new(key.clone(), created, revision, meta, payload));
        self.root.revision = revision;
        let previous = self.root.insert(current.clone());
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        applied.events.push(Arc::new(Event { revision, change, current: current.clone(), previous }));
        current
    }

    fn delete(&mut self, revision: Revision, key: &Key, applied: &mut Applied) -> Option<Arc<Object>> {
        let previous = self.root.remove(key)?;
        self.root.revision = revision;
        self.forget_charges(key, applied);
        let current = Arc::new(previous.at(revision));
        let event = Event { revision, change: Change::Deleted, current: current.clone(), previous: Some(previous) };
        applied.events.push(Arc::new(event));
        Some(current)
    }

    /// The counters of a quota go with it.
    fn forget_charges(&mut self, quota: &Key, applied: &mut Applied) {
        let first = (quota.clone(), Arc::<str>::from(""));
        let counters = self.root.charges.range(first..).map(|(counter, _)| counter.clone());
        for counter in counters.take_while(|(key, _)| key == quota).collect::<Vec<_>>() {
            self.root.charges.remove_mut(&counter);
            applied.rows.push(Row::Charge(counter.0, counter.1));
        }
    }

    fn intern(&mut self, name: &str, applied: &mut Applied) -> Result<ResourceId, Error> {
        if let Some(id) = self.root.resources.get(name) {
            return Ok(*id);
        }
        // Names are never taken back, so their number is the last id that was given.
        let next = self.root.resources.size() + 1;
        let id = ResourceId(u16::try_from(next).map_err(|_| Error::Full("every resource id is in use"))?);
        let name: Arc<str> = name.into();
        self.root.resources.insert_mut(name.clone(), id);
        applied.rows.push(Row::Resource(name));
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
