//! Recent events, one bounded ring for each resource. A watcher is a cursor in a ring: a slow one falls off its end
//! and learns so (`Expired`); it never holds up the machine. Written by whoever applies, read by every [`Watch`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{Error, Event, ResourceId, Revision, Watch};

pub(crate) const RING_BYTES_MAX: usize = 64 << 20;
pub(crate) const RINGS_BYTES_MAX: usize = 512 << 20;

/// Events handed to a watcher at once; more only to keep a shared revision together.
const EVENTS_PER_CALL: usize = 512;
/// The event, its place in the ring and the bookkeeping of the objects it keeps.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// How much history is kept, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub ring_bytes: usize,
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ring_bytes: RING_BYTES_MAX, total_bytes: RINGS_BYTES_MAX }
    }
}

#[derive(Debug)]
pub(crate) struct Feed {
    limits: Limits,
    /// Nothing at or before this revision was ever in a ring.
    floor: Revision,
    rings: RwLock<HashMap<ResourceId, Arc<Ring>>>,
    total_bytes: AtomicUsize,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// Every event up to here lies in its ring.
    revision: AtomicU64,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Ring {
    events: Mutex<Events>,
    wake: watch::Sender<()>,
}

#[derive(Debug)]
struct Events {
    queue: VecDeque<Arc<Event>>,
    /// The position of the first event of the queue, counted from the beginning of the ring.
    first: u64,
    bytes: usize,
    /// Every event of this resource after this revision is in the queue.
    floor: Revision,
}

impl Feed {
    /// An empty feed that continues after `floor`.
    pub fn new(floor: Revision, limits: Limits) -> Self {
        Self {
            limits,
            floor,
            rings: RwLock::default(),
            total_bytes: AtomicUsize::new(0),
            progress: Arc::new(Progress { revision: AtomicU64::new(floor), closed: AtomicBool::new(false) }),
        }
    }

    /// Takes the events of a batch, in order, and wakes who waits for them. `revision` is the one after the batch.
    pub fn publish(&self, events: &[Arc<Event>], revision: Revision) {
        let mut woken: Vec<(ResourceId, Arc<Ring>)> = Vec::new();
        for event in events {
            let resource = event.current.key.resource();
            let ring = match woken.iter().find(|(id, _)| *id == resource) {
                Some((_, ring)) => ring.clone(),
                None => {
                    let ring = self.ring(resource);
                    woken.push((resource, ring.clone()));
                    ring
                }
            };
            self.push(&ring, event.clone());
        }
        self.shrink();
        self.progress.revision.store(revision, Ordering::Release);
        for (_, ring) in woken {
            ring.wake.send_replace(());
        }
    }

    /// A cursor after `after`, which the caller knows to be reached.
    pub fn watch(&self, resource: ResourceId, after: Revision) -> Result<Cursor, Error> {
        let ring = self.ring(resource);
        let woken = ring.wake.subscribe();
        let (next, floor) = {
            let events = ring.events.lock();
            let skipped = events.queue.partition_point(|event| event.revision <= after);
            (events.first + skipped as u64, events.floor)
        };
        if after < floor {
            return Err(Error::Expired { asked: after, oldest: floor });
        }
        Ok(Cursor { ring, woken, next, after, progress: self.progress.clone() })
    }

    /// Ends every watch: what was published can still be read.
    pub fn close(&self) {
        self.progress.closed.store(true, Ordering::Release);
        for ring in self.rings.read().values() {
            ring.wake.send_replace(());
        }
    }

    fn ring(&self, resource: ResourceId) -> Arc<Ring> {
        if let Some(ring) = self.rings.read().get(&resource) {
            return ring.clone();
        }
        let mut rings = self.rings.write();
        let floor = self.floor;
        rings.entry(resource).or_insert_with(|| Arc::new(Ring::new(floor))).clone()
    }

    fn push(&self, ring: &Ring, event: Arc<Event>) {
        let mut events = ring.events.lock();
        let weight = weight(&event);
        events.bytes += weight;
        events.queue.push_back(event);
        let mut freed = 0;
        while events.bytes > self.limits.ring_bytes {
            freed += events.drop_first();
        }
        drop(events);
        self.total_bytes.fetch_add(weight, Ordering::Relaxed);
        self.total_bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Takes from the fullest ring until all of them together are small enough.
    fn shrink(&self) {
        while self.total_bytes.load(Ordering::Relaxed) > self.limits.total_bytes {
            let rings = self.rings.read();
            let Some(fullest) = rings.values().max_by_key(|ring| ring.events.lock().bytes) else { return };
            let freed = fullest.events.lock().drop_first();
            self.total_bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }
}

impl Ring {
    fn new(floor: Revision) -> Self {
        let events = Events { queue: VecDeque::new(), first: 0, bytes: 0, floor };
        Self { events: Mutex::new(events), wake: watch::Sender::new(()) }
    }
}

impl Events {
    /// Forgets the oldest event and tells how many bytes that freed.
    fn drop_first(&mut self) -> usize {
        let Some(event) = self.queue.pop_front() else { return 0 };
        self.first += 1;
        self.floor = event.revision;
        let freed = weight(&event);
        self.bytes -= freed;
        freed
    }
}

/// The object and the version that it replaced.
fn weight(event: &Event) -> usize {
    let previous = event.previous.as_ref().map_or(0, |object| object.weight());
    EVENT_OVERHEAD_BYTES + event.current.weight() + previous
}

/// Where a watcher stands in its ring.
pub(crate) struct Cursor {
    ring: Arc<Ring>,
    woken: watch::Receiver<()>,
    next: u64,
    after: Revision,
    progress: Arc<Progress>,
}

impl Cursor {
    fn take(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        let events = self.ring.events.lock();
        if self.next < events.first {
            return Err(Error::Expired { asked: self.after, oldest: events.floor });
        }
        let start = usize::try_from(self.next - events.first).expect("a ring is shorter than memory");
        let mut batch: Vec<Arc<Event>> = Vec::new();
        for event in events.queue.range(start..) {
            let split = batch.last().is_some_and(|last| last.revision != event.revision);
            if batch.len() >= EVENTS_PER_CALL && split {
                break;
            }
            batch.push(event.clone());
        }
        drop(events);
        self.next += batch.len() as u64;
        // A watch may begin at a revision that is visible before its events are.
        batch.retain(|event| event.revision > self.after);
        if let Some(last) = batch.last() {
            self.after = last.revision;
        }
        Ok(batch)
    }
}

#[async_trait]
impl Watch for Cursor {
    async fn next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            self.woken.mark_unchanged();
            let batch = self.take()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            let closed = self.progress.closed.load(Ordering::Acquire);
            if closed || self.woken.changed().await.is_err() {
                return Err(Error::Unavailable("shutting down".into()));
            }
        }
    }

    fn revision(&self) -> Revision {
        // Read before the ring is: every event up to here is then either in the ring or behind the cursor.
        let published = self.progress.revision.load(Ordering::Acquire);
        let events = self.ring.events.lock();
        let drained = self.next >= events.first + events.queue.len() as u64;
        if drained { self.after.max(published) } else { self.after }
    }
}

#[cfg(test)]
mod tests;
