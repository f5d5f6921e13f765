//! Many waiting writes, one log entry. While up to [`ENTRIES_IN_FLIGHT`] entries are on their way, writes gather;
//! then all that wait travel together, each failing or succeeding alone. Nothing lingers for company.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::machine::{Command, Outcome};
use crate::{Error, Op};

/// Writes that may wait before new ones are refused.
const QUEUE_MAX: usize = 16 * 1024;
const ENTRY_COMMANDS_MAX: usize = 1024;
const ENTRY_BYTES_MAX: usize = 1 << 20;
const ENTRIES_IN_FLIGHT: usize = 4;

/// Puts one entry into the log; resolves when it is applied, or with the reason why it never will be here.
pub(crate) type Propose = Box<dyn Fn(u64, Arc<Vec<Command>>) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

type Answer = oneshot::Sender<Result<Outcome, Error>>;

/// A command and who waits for its outcome.
#[derive(Debug)]
struct Pending {
    command: Command,
    answer: Answer,
}

/// Where writes queue up.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Pending>,
}

/// Who waits for which entry. A ticket names an entry within this process only.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    last_ticket: AtomicU64,
    waiting: Mutex<HashMap<u64, Vec<Answer>>>,
}

impl Proposer {
    /// The proposer and the loop that its owner must run.
    pub fn new(waiters: Arc<Waiters>, propose: Propose) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, pending) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, run(pending, waiters, propose))
    }

    pub async fn submit(&self, command: Command) -> Result<Outcome, Error> {
        let (answer, outcome) = oneshot::channel();
        self.queue.try_send(Pending { command, answer }).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::Full("too many writes are waiting"),
            TrySendError::Closed(_) => Error::Unavailable("shutting down".into()),
        })?;
        outcome.await.unwrap_or_else(|_| Err(Error::Unavailable("shutting down".into())))
    }
}

impl Waiters {
    /// Hands out the outcomes of an entry, if it was proposed here.
    pub fn answer(&self, ticket: u64, outcomes: Vec<Outcome>) {
        let Some(waiting) = self.waiting.lock().remove(&ticket) else { return };
        for (answer, outcome) in waiting.into_iter().zip(outcomes) {
            // Whoever gave up waiting has dropped the other end.
            let _ = answer.send(Ok(outcome));
        }
    }

    fn fail(&self, ticket: u64, error: &Error) {
        let waiting = self.waiting.lock().remove(&ticket);
        for answer in waiting.into_iter().flatten() {
            let _ = answer.send(Err(error.clone()));
        }
    }

    fn enter(&self, waiting: Vec<Answer>) -> u64 {
        let ticket = self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting.lock().insert(ticket, waiting);
        ticket
    }
}

async fn run(mut queue: mpsc::Receiver<Pending>, waiters: Arc<Waiters>, propose: Propose) {
    let mut in_flight = FuturesUnordered::new();
    let mut batch: Vec<Pending> = Vec::new();
    loop {
        if in_flight.len() >= ENTRIES_IN_FLIGHT {
            in_flight.next().await;
            continue;
        }
        if batch.is_empty() {
            tokio::select! {
                received = queue.recv_many(&mut batch, ENTRY_COMMANDS_MAX) => if received == 0 { break },
                Some(()) = in_flight.next() => continue,
            }
        }
        let rest = batch.split_off(cut(&batch));
        let (commands, answers) = batch.drain(..).map(|pending| (pending.command, pending.answer)).unzip();
        batch = rest;
        let ticket = waiters.enter(answers);
        let applied = propose(ticket, Arc::new(commands));
        let waiters = waiters.clone();
        in_flight.push(async move {
            if let Err(error) = applied.await {
                waiters.fail(ticket, &error);
            }
        });
    }
    while in_flight.next().await.is_some() {}
}

/// How many of the waiting commands fit into one entry; at least one.
fn cut(batch: &[Pending]) -> usize {
    let mut bytes = 0;
    let fits = batch.iter().take_while(|pending| {
        let fits = bytes < ENTRY_BYTES_MAX;
        bytes += size(&pending.command);
        fits
    });
    fits.count()
}

fn size(command: &Command) -> usize {
    let Command::Txn(txn) = command else { return 64 };
    let bodies = txn.ops.iter().map(|op| match op {
        Op::Put { payload, .. } => payload.body.len() + payload.managed_fields.len() + 256,
        Op::Delete { .. } | Op::Charge { .. } | Op::Allocate { .. } | Op::Release { .. } => 128,
    });
    bodies.sum::<usize>() + 64
}
