//! The log as openraft sees it: what is not purged lies in memory for reading, and in `log.rs` for good.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::log::{Facts, Log, Recovered};
use crate::raft::types::{Entry, LogId, RaftVote, Types, ballot, entry, log_id, position, record, vote};
use crate::record::Record;

#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<Log>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    facts: Facts,
    /// Without gap; the first follows the purge floor.
    entries: VecDeque<Entry>,
}

impl LogStore {
    pub fn start(recovered: Recovered) -> io::Result<Self> {
        let entries = recovered.entries.into_iter().map(|(at, content)| entry(at, content)).collect();
        let seen = Arc::new(Mutex::new(Seen { facts: recovered.facts, entries }));
        Ok(Self { log: Arc::new(Log::start(recovered.tail)?), seen })
    }

    pub fn is_starved(&self) -> bool {
        self.log.is_starved()
    }

    /// Waits for what is on its way, then closes the files; blocks.
    pub fn close(&self) {
        self.log.close();
    }

    /// Returns once the record is durable.
    async fn durable(&self, record: Record) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.log.submit(vec![record], Some(done));
        written.await.unwrap_or_else(|_| Err(io::Error::other("the log is closed")))
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let seen = self.seen.lock();
        let Some(first) = seen.entries.front().map(|entry| entry.log_id.index) else { return Ok(Vec::new()) };
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let length = seen.entries.len() as u64;
        let from = from.saturating_sub(first).min(length);
        let until = until.saturating_sub(first).clamp(from, length);
        Ok(seen.entries.range(from as usize..until as usize).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.seen.lock().facts.vote.map(vote))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let seen = self.seen.lock();
        let purged = seen.facts.purged.map(log_id);
        let last = seen.entries.back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        self.durable(Record::Vote(ballot(vote))).await?;
        self.seen.lock().facts.vote = Some(ballot(vote));
        Ok(())
    }

    /// Travels with the next write: losing it only means applying what is committed once more.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let committed = committed.as_ref().map(position);
        self.seen.lock().facts.committed = committed;
        self.log.submit(vec![Record::Committed(committed)], None);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.seen.lock().facts.committed.map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut seen = self.seen.lock();
        let mut records = Vec::new();
        for entry in entries {
            records.push(record(&entry));
            seen.entries.push_back(entry);
        }
        // Under the lock, so that the log has the order that readers see.
        self.log.submit(records, Some(Box::new(move |result| callback.io_completed(result))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        {
            let mut seen = self.seen.lock();
            while seen.entries.back().is_some_and(|entry| last.is_none_or(|last| entry.log_id.index > last.index)) {
                seen.entries.pop_back();
            }
        }
        self.durable(Record::TruncatedAfter(last.as_ref().map(position))).await
    }

    async fn purge(&mut self, floor: LogId) -> Result<(), io::Error> {
        {
            let mut seen = self.seen.lock();
            while seen.entries.front().is_some_and(|entry| entry.log_id.index <= floor.index) {
                seen.entries.pop_front();
            }
            seen.facts.purged = Some(position(&floor));
        }
        self.durable(Record::Purged(position(&floor))).await
    }
}
