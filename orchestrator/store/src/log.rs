//! The append-only log: segments of zeros that fill with frames. One thread drains everything that waits into one
//! frame, writes it, syncs it, and only then calls back, in order. `raft/log_store.rs` is its one user.
//!
//! ```text
//!  submit ─► queue ─► [ drain ─► write ─► sync ─► call back ]      a write or sync that fails is final:
//!                        └─ segment full ─► next segment           every later submission fails
//! ```
//! A frame is one write, so a torn one is the last and nothing valid follows it; `recover.rs` tells that from damage.

mod frame;
mod recover;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};
use crate::log::frame::{Chain, PREAMBLE_BYTES};
use crate::record::{Ballot, Position, Record};

pub(crate) use recover::{Damage, Recovered, recover};

/// Bytes after which a drain stops; the rest goes into the next frame.
const DRAIN_BYTES_MAX: usize = 4 << 20;
/// The first segment of a new directory, small so that starting is quick.
const FIRST_SEGMENT_BYTES: u64 = 4 << 20;
const SPARE: &str = "spare.tmp";
/// After the next segment could not be made, one write in this time is let through to try again.
const STARVED_RETRY: Duration = Duration::from_secs(1);

/// Called on the log's thread once the records are durable, or can never be known to be.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A handle; the thread ends when it is closed, after everything submitted is durable.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Mutex<Option<Sender<Work>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    starved: Arc<Starved>,
}

/// Since when the disk has had no room for the next segment. Half of the present one is left then.
type Starved = Mutex<Option<Instant>>;

struct Work {
    records: Vec<Record>,
    done: Option<Done>,
}

/// Where writing goes on: made by [`recover`], or by [`Tail::mint`] for a new directory.
pub(crate) struct Tail {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    chain: Chain,
    segment: Segment,
    /// Segments that are full, oldest first.
    sealed: Vec<Segment>,
    /// Said again at the head of every segment, so that old ones can go.
    facts: Facts,
    spare: Option<JoinHandle<io::Result<Arc<dyn DiskFile>>>>,
    starved: Arc<Starved>,
}

struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    length: u64,
    end: u64,
    last_index: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub vote: Option<Ballot>,
    pub committed: Option<Position>,
    pub purged: Option<Position>,
}

impl Log {
    pub fn start(tail: Tail) -> io::Result<Self> {
        // Bounded by its user: the proposer has a few entries in flight.
        let (queue, work) = channel();
        let starved = tail.starved.clone();
        let thread = std::thread::Builder::new().name("store-log".into()).spawn(move || run(tail, &work))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), starved })
    }

    /// Queues records. Without `done` they wait for company and cause no sync of their own.
    pub fn submit(&self, records: Vec<Record>, done: Option<Done>) {
        let work = Work { records, done };
        let refused = match &*self.queue.lock() {
            Some(queue) => queue.send(work).err().map(|unsent| unsent.0),
            None => Some(work),
        };
        if let Some(done) = refused.and_then(|work| work.done) {
            done(Err(io::Error::other("the log is closed")));
        }
    }

    /// Whether writes should be refused because the disk is full. Now and then it says no, so that a write finds out.
    pub fn is_starved(&self) -> bool {
        let mut starved = self.starved.lock();
        match *starved {
            Some(since) if since.elapsed() < STARVED_RETRY => true,
            Some(_) => {
                *starved = Some(Instant::now());
                false
            }
            None => false,
        }
    }

    /// Waits until everything submitted is written; blocks.
    pub fn close(&self) {
        self.queue.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(mut tail: Tail, queue: &Receiver<Work>) {
    let mut failed: Option<String> = None;
    let (mut buffer, mut callbacks) = (Vec::new(), Vec::new());
    let mut lazy: Vec<Record> = Vec::new();
    while let Ok(first) = queue.recv() {
        if first.done.is_none() {
            lazy.extend(first.records);
            continue;
        }
        buffer.clear();
        let mut next = Some(first);
        let mut records = std::mem::take(&mut lazy);
        tail.open_frame(&mut buffer);
        while let Some(work) = next.take() {
            records.extend(work.records);
            records.drain(..).for_each(|record| tail.add(record, &mut buffer));
            callbacks.extend(work.done);
            if buffer.len() < DRAIN_BYTES_MAX {
                next = queue.try_recv().ok();
            }
        }
        if failed.is_none()
            && let Err(error) = tail.write(&mut buffer)
        {
            tracing::error!(%error, "the log cannot be written; no further write is accepted");
            failed = Some(error.to_string());
        }
        for done in callbacks.drain(..) {
            done(failed.as_ref().map_or(Ok(()), |text| Err(io::Error::other(text.clone()))));
        }
        if failed.is_none() {
            tail.tidy();
        }
    }
}

impl Tail {
    /// The log of a new directory, whose `salt` keeps payloads from posing as frames.
    pub fn mint(disk: Arc<dyn Disk>, segment_bytes: u64, salt: u64) -> io::Result<Self> {
        let length = segment_bytes.min(FIRST_SEGMENT_BYTES);
        let mut chain = Chain::new(salt);
        let segment = Segment::create(&*disk, None, (1, length), &Facts::default(), &mut chain)?;
        Ok(Self {
            disk,
            segment_bytes,
            chain,
            segment,
            sealed: Vec::new(),
            facts: Facts::default(),
            spare: None,
            starved: Arc::default(),
        })
    }

    pub fn salt(&self) -> u64 {
        self.chain.salt
    }

    fn open_frame(&self, buffer: &mut Vec<u8>) {
        buffer.resize(frame::HEADER_BYTES, 0);
    }

    fn add(&mut self, record: Record, buffer: &mut Vec<u8>) {
        match &record {
            Record::Entry(position, _) => self.segment.last_index = Some(position.index),
            Record::Vote(ballot) => self.facts.vote = Some(*ballot),
            Record::Committed(position) => self.facts.committed = *position,
            Record::Purged(position) => self.facts.purged = Some(*position),
            Record::TruncatedAfter(_) => {}
        }
        crate::record::encode(&record, buffer);
    }

    /// One write and one sync for everything in the frame.
    fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let needed = frame::padded(buffer.len()) as u64;
        if self.segment.end + needed > self.segment.length {
            self.turn(needed)?;
        }
        self.chain.seal(buffer);
        self.segment.file.write_at(self.segment.end, buffer)?;
        self.segment.file.sync()?;
        self.segment.end += buffer.len() as u64;
        Ok(())
    }

    /// Goes on in a new segment that has room for a frame of `needed` bytes.
    fn turn(&mut self, needed: u64) -> io::Result<()> {
        let room = frame::HEAD_BYTES_MAX + needed;
        let spare = self.spare.take().map(joined);
        let spare = match spare {
            Some(Ok(file)) if file.len()? >= room => Some(file),
            _ => None,
        };
        let plan = (self.segment.number + 1, self.segment_bytes.max(room));
        let mut next = Segment::create(&*self.disk, spare, plan, &self.facts, &mut self.chain)?;
        // The frame at hand was counted while it was gathered.
        next.last_index = self.segment.last_index;
        self.sealed.push(std::mem::replace(&mut self.segment, next));
        Ok(())
    }

    /// What need not be waited for: dropping old segments, preparing the next one.
    fn tidy(&mut self) {
        if let Some(floor) = self.facts.purged {
            let gone =
                self.sealed.iter().take_while(|segment| segment.last_index.is_none_or(|last| last <= floor.index));
            let gone = gone.count();
            for segment in self.sealed.drain(..gone) {
                // One by one and synced, so that no crash leaves a hole.
                let removed = self.disk.remove(&frame::name(segment.number)).and_then(|()| self.disk.sync());
                if let Err(error) = removed {
                    tracing::warn!(%error, "an old log segment cannot be removed");
                }
            }
        }
        let half_full = self.segment.end > self.segment.length / 2;
        if half_full {
            self.prepare();
        }
    }

    /// Makes the next segment aside; tries again after it failed.
    fn prepare(&mut self) {
        if let Some(Err(error)) =
            self.spare.take_if(|spare| spare.is_finished() && self.starved.lock().is_some()).map(joined)
        {
            tracing::warn!(%error, "there is no room for the next log segment; writes are refused");
        }
        if self.spare.is_some() {
            return;
        }
        let (disk, length, starved) = (self.disk.clone(), self.segment_bytes, self.starved.clone());
        let make = std::thread::Builder::new().name("store-spare".into());
        let made = make.spawn(move || {
            let made = disk.create(SPARE, length);
            *starved.lock() = made.is_err().then(Instant::now);
            made
        });
        self.spare = made.ok();
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

impl Segment {
    /// Writes the head, then gives the file its name: a segment that can be seen is whole.
    fn create(
        disk: &dyn Disk,
        spare: Option<Arc<dyn DiskFile>>,
        (number, length): (u64, u64),
        facts: &Facts,
        chain: &mut Chain,
    ) -> io::Result<Self> {
        let file = match spare {
            Some(file) => file,
            None => disk.create(SPARE, length)?,
        };
        let head = frame::head(facts, number, chain);
        file.write_at(0, &head)?;
        file.sync()?;
        disk.rename(SPARE, &frame::name(number))?;
        disk.sync()?;
        let length = file.len()?;
        Ok(Self { number, file, length, end: head.len() as u64, last_index: None })
    }
}
