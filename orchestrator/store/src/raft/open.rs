//! Opening a data directory: who holds it, what it is, whether checkpoint and log fit together; then the replay.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, Lock, RealDisk};
use crate::feed::Limits;
use crate::format::{self, Identity};
use crate::log::{self, Damage, Facts, Recovered, Tail};
use crate::propose::{Propose, Proposer, Waiters};
use crate::raft::log_store::LogStore;
use crate::raft::network::NoPeers;
use crate::raft::state_machine::{Ledger, State, StateMachine, Unsaved};
use crate::raft::types::{Batch, Types};
use crate::raft::{Options, RaftStore, keep_checkpointing};
use crate::view::View;

const HEARTBEAT_MILLISECONDS: u64 = 250;
const ELECTION_MILLISECONDS: (u64, u64) = (1000, 2000);

/// What a directory held.
struct Found {
    identity: Identity,
    state: State,
    checkpoint: Checkpoint,
    recovered: Recovered,
}

impl RaftStore {
    /// Opens the directory, replays what the checkpoint lacks and can then write at once. `Corrupt` when what lies
    /// there is not what was written; `Unavailable` when it cannot be used now (in use, read-only, no space).
    pub async fn open(options: Options) -> Result<Self, Error> {
        let directory = options.directory.clone();
        let refused = move |error| {
            Error::Unavailable(format!("the data directory {} cannot be used: {error}", directory.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&options.directory).map_err(&refused)?;
        let lock = Lock::take(&options.directory).map_err(&refused)?;
        let held = || refused(std::io::Error::other("another process has it open"));
        let lock = lock.ok_or_else(held)?;
        let disk = Arc::new(RealDisk(options.directory.clone()));
        Self::open_on(disk, options, Some(lock)).await
    }

    pub(crate) async fn open_on(disk: Arc<dyn Disk>, options: Options, lock: Option<Lock>) -> Result<Self, Error> {
        let segment_bytes = options.segment_bytes;
        let found = tokio::task::spawn_blocking(move || find(&disk, segment_bytes));
        let found = found.await.map_err(|error| Error::Unavailable(error.to_string()))??;
        let view = Arc::new(View::new(found.state.root.clone(), Limits::default()));
        let waiters = Arc::new(Waiters::default());
        let ledger = Arc::new(Ledger {
            saved: Mutex::new(found.state.place.clone()),
            unsaved: Mutex::new(Unsaved { state: found.state, ..Unsaved::default() }),
            due: Notify::new(),
            due_bytes: options.checkpoint_bytes,
            purge_margin: options.purge_margin,
        });
        let machine = StateMachine::new(view.clone(), waiters.clone(), ledger.clone());
        let log = LogStore::start(found.recovered).map_err(|error| Error::Unavailable(error.to_string()))?;
        let raft = join(found.identity, log.clone(), machine).await?;
        let checkpoint = Arc::new(tokio::sync::Mutex::new(found.checkpoint));
        let (proposer, proposals) = Proposer::new(waiters, propose(raft.clone()));
        let (mut proposing, mut checkpointing) = (JoinSet::new(), JoinSet::new());
        proposing.spawn(proposals);
        let every = options.checkpoint_every;
        checkpointing.spawn(keep_checkpointing(raft.clone(), ledger.clone(), checkpoint.clone(), every));
        Ok(Self {
            options,
            raft,
            log,
            view,
            ledger,
            checkpoint,
            proposer: Mutex::new(Some(proposer)),
            closed: AtomicBool::new(false),
            proposing: tokio::sync::Mutex::new(proposing),
            checkpointing: Mutex::new(checkpointing),
            lock: Mutex::new(lock),
        })
    }
}

/// Reads a directory, or makes a new one: format, then log, then checkpoint, so that a crash between any two can be
/// told from a loss.
fn find(disk: &Arc<dyn Disk>, segment_bytes: u64) -> Result<Found, Error> {
    let identity = format::identify(&**disk)?;
    let recovered = log::recover(disk, segment_bytes).map_err(damaged)?;
    let checkpoint = Checkpoint::open(disk.clone())?;
    let fresh = recovered.as_ref().is_none_or(|log| log.entries.is_empty() && log.facts == Facts::default());
    let recovered = match recovered {
        Some(recovered) => recovered,
        None if checkpoint.is_some() => return Err(corrupt("the log is missing")),
        None => {
            let tail = Tail::mint(disk.clone(), segment_bytes, identity.salt);
            let tail = tail.map_err(|error| Error::Unavailable(format!("the log cannot be made: {error}")))?;
            Recovered { facts: Facts::default(), entries: Default::default(), tail }
        }
    };
    let checkpoint = match checkpoint {
        Some(checkpoint) => checkpoint,
        None if fresh => Checkpoint::mint(disk.clone())?,
        None => return Err(corrupt("the checkpoint is missing")),
    };
    let state = checkpoint.load()?;
    fit(&identity, &state, &recovered)?;
    Ok(Found { identity, state, checkpoint, recovered })
}

/// Refuses a checkpoint and a log that were not written together.
fn fit(identity: &Identity, state: &State, log: &Recovered) -> Result<(), Error> {
    if log.tail.salt() != identity.salt {
        return Err(corrupt("the log belongs to another data directory"));
    }
    let applied = state.place.applied.map(|at| at.index);
    let floor = log.facts.purged.map(|at| at.index);
    let last = log.entries.back().map(|(at, _)| at.index).or(floor);
    if applied < floor {
        return Err(corrupt("the checkpoint is older than the beginning of the log"));
    }
    if applied > last {
        return Err(corrupt("the log ends before the checkpoint"));
    }
    Ok(())
}

/// Starts the group of one, makes it its own leader and waits until the whole log is applied.
async fn join(identity: Identity, log: LogStore, machine: StateMachine) -> Result<Raft<Types, StateMachine>, Error> {
    let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
    let config = Config {
        cluster_name: "amphipod".into(),
        heartbeat_interval: HEARTBEAT_MILLISECONDS,
        election_timeout_min: ELECTION_MILLISECONDS.0,
        election_timeout_max: ELECTION_MILLISECONDS.1,
        // We say what is purged, never above the checkpoint.
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|error| unavailable(&error))?);
    let raft = Raft::new(identity.node, config, NoPeers, log, machine).await.map_err(|error| unavailable(&error))?;
    if raft.is_initialized().await.map_err(|error| unavailable(&error))? {
        raft.trigger().elect(false).await.map_err(|error| unavailable(&error))?;
    } else {
        let members = BTreeMap::from([(identity.node, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| unavailable(&error))?;
    }
    let leads = raft.wait(None).metrics(|seen| seen.state.is_leader(), "leads itself").await;
    leads.map_err(|error| unavailable(&error))?;
    raft.wait_for_recovery(None).await.map_err(|error| unavailable(&error))?;
    Ok(raft)
}

fn propose(raft: Raft<Types, StateMachine>) -> Propose {
    Box::new(move |ticket, commands| {
        let raft = raft.clone();
        Box::pin(async move {
            let written = raft.client_write(Batch { ticket, commands }).await;
            written.map(drop).map_err(|error| Error::Unavailable(error.to_string()))
        })
    })
}

fn damaged(damage: Damage) -> Error {
    match damage {
        Damage::Io(error) => Error::Unavailable(format!("the log cannot be read: {error}")),
        Damage::Corrupt { .. } | Damage::Missing(_) => corrupt(&damage.to_string()),
    }
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(format!("{what}: restore the data directory from a backup"))
}
