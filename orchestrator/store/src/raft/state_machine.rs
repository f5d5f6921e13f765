//! The machine as openraft sees it. Applying is in memory; what it touched is remembered for the checkpoint, whose
//! position is what openraft is told it may count on after a crash.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{BasicNode, EntryPayload, Membership, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::machine::{Applied, Machine, Row};
use crate::propose::Waiters;
use crate::raft::types::{LogId, Snapshot, SnapshotMeta, StoredMembers, Types, log_id, members, membership, position};
use crate::record::{Members, Position};
use crate::root::Root;
use crate::view::View;
use crate::{Event, Key};

/// What lies between the machine, which adds to it, and the checkpointer, which takes from it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub unsaved: Mutex<Unsaved>,
    /// How far the checkpoint reaches.
    pub saved: Mutex<Place>,
    /// Rung when this many bytes are unsaved.
    pub due: Notify,
    pub due_bytes: usize,
    /// Entries that stay in the log behind the checkpoint.
    pub purge_margin: u64,
}

/// The state, and which of its rows no checkpoint holds yet.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    pub state: State,
    pub keys: HashSet<Key>,
    pub rows: HashSet<Row>,
    /// Roughly what writing it will cost.
    pub bytes: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub root: Root,
    pub place: Place,
}

/// A place in the log, and the members as of there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub applied: Option<Position>,
    pub members: Members,
    pub members_at: Option<Position>,
}

pub(crate) struct StateMachine {
    machine: Machine,
    applied: Option<LogId>,
    members: StoredMembers,
    view: Arc<View>,
    waiters: Arc<Waiters>,
    ledger: Arc<Ledger>,
}

impl StateMachine {
    /// Goes on from the state that the ledger begins with.
    pub fn new(view: Arc<View>, waiters: Arc<Waiters>, ledger: Arc<Ledger>) -> Self {
        let State { root, place } = ledger.unsaved.lock().state.clone();
        let members = StoredMembers::new(place.members_at.map(log_id), membership(&place.members));
        Self { machine: Machine::new(root), applied: place.applied.map(log_id), members, view, waiters, ledger }
    }

    fn remember(&self, applied: &[(u64, Applied)]) {
        let mut unsaved = self.ledger.unsaved.lock();
        for event in applied.iter().flat_map(|(_, applied)| &applied.events) {
            unsaved.bytes += event.current.weight();
            unsaved.keys.insert(event.current.key.clone());
        }
        for row in applied.iter().flat_map(|(_, applied)| &applied.rows) {
            unsaved.bytes += 128;
            unsaved.rows.insert(row.clone());
        }
        unsaved.state.root = self.machine.root().clone();
        unsaved.state.place.applied = self.applied.as_ref().map(position);
        if unsaved.bytes >= self.ledger.due_bytes {
            self.ledger.due.notify_one();
        }
    }

    fn change_members(&mut self, at: LogId, new: Membership<u64, BasicNode>) {
        let mut unsaved = self.ledger.unsaved.lock();
        unsaved.state.place.members = members(&new);
        unsaved.state.place.members_at = Some(position(&at));
        self.members = StoredMembers::new(Some(at), new);
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = ();
    type SnapshotBuilder = Checkpointed;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut applied, mut responders) = (Vec::new(), Vec::new());
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(batch) => applied.push((batch.ticket, self.machine.apply(batch.commands.iter()))),
                EntryPayload::Membership(new) => self.change_members(entry.log_id, new),
            }
            responders.extend(responder);
        }
        self.remember(&applied);
        let events: Vec<Arc<Event>> = applied.iter_mut().flat_map(|(_, applied)| applied.events.drain(..)).collect();
        self.view.publish(self.machine.root().clone(), &events);
        for (ticket, applied) in applied {
            self.waiters.answer(ticket, applied.outcomes);
        }
        responders.into_iter().for_each(|responder| responder.send(()));
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Checkpointed {
        Checkpointed(self.ledger.clone())
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, (): ()) -> Result<(), io::Error> {
        Err(io::Error::other("a group of one has nobody to take a snapshot from"))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(snapshot(&self.ledger.saved.lock()))
    }
}

/// Says how far the checkpoint reaches; the log up to there may go.
pub(crate) struct Checkpointed(Arc<Ledger>);

impl RaftSnapshotBuilder<Types> for Checkpointed {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        snapshot(&self.0.saved.lock()).ok_or_else(|| io::Error::other("there is no checkpoint yet"))
    }
}

fn snapshot(saved: &Place) -> Option<Snapshot> {
    let last_log_id = Some(log_id(saved.applied?));
    let last_membership = StoredMembers::new(saved.members_at.map(log_id), membership(&saved.members));
    let meta = SnapshotMeta { last_log_id, last_membership };
    Some(Snapshot { meta, snapshot: () })
}
