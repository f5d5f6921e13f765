//! Pods that wait for a node. Five places, as upstream's queue has them:
//!
//! ```text
//!  gated ─► active (priority, then since when) ─► tried ─► bound
//!             ▲                                     └─► parked ─► a change that may help, or 5 minutes ─┐
//!             └────────── backing off (1 s doubling to 10 s) ◄──────────────────────────────────────────┘
//! ```
//!
//! Who backs off only because it was woken early is tried at once when nothing else is active. Parked pods that ask the
//! same and were refused alike are one lot: whether a change helps is asked once for all of them.

mod lots;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hints::Event;
use crate::need::Need;
use crate::plugins::Plugins;
use lots::Lots;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that nothing woke is tried again after this.
pub const PARKED_MAX: Duration = Duration::from_secs(300);

/// `(namespace, name)`.
pub type PodKey = Arc<(String, String)>;

/// Higher priority first, then who is active longer.
type Rank = (Reverse<i32>, u64, PodKey);

#[derive(Debug)]
struct Waiting {
    priority: i32,
    attempts: u32,
    /// When it was first seen, and when it was last tried.
    since: Instant,
    tried_at: Instant,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Gated,
    Active(u64),
    /// Popped; its fate is being decided, or its binding is under way.
    Tried,
    BackingOff(Instant),
    /// After an error; never tried early.
    Failing(Instant),
    Parked(Instant),
}

/// How many wait where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lengths {
    pub active: usize,
    pub backing_off: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

/// A pod whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub key: PodKey,
    /// How often it was tried, this time included.
    pub attempts: u32,
    pub since: Instant,
}

#[derive(Default)]
pub struct Queue {
    active: BTreeSet<Rank>,
    backing_off: BTreeSet<(Instant, PodKey)>,
    failing: BTreeSet<(Instant, PodKey)>,
    parked: BTreeSet<(Instant, PodKey)>,
    lots: Lots,
    pods: HashMap<PodKey, Waiting>,
    gated: usize,
    turns: u64,
}

impl Queue {
    /// A pod that wants a node. One that already waits keeps its place and its back-off.
    pub fn add(&mut self, key: &PodKey, priority: i32, now: Instant) {
        match self.pods.get_mut(key) {
            Some(waiting) if waiting.place == Place::Gated => self.activate(key),
            Some(waiting) if waiting.priority == priority => {}
            Some(_) => self.rank(key, priority),
            None => {
                let waiting = Waiting { priority, attempts: 0, since: now, tried_at: now, place: Place::Tried };
                self.pods.insert(key.clone(), waiting);
                self.activate(key);
            }
        }
    }

    fn rank(&mut self, key: &PodKey, priority: i32) {
        let is_active = matches!(self.pods.get(key).map(|waiting| &waiting.place), Some(Place::Active(_)));
        if is_active {
            self.leave(key);
        }
        self.pods.entry(key.clone()).and_modify(|waiting| waiting.priority = priority);
        if is_active {
            self.activate(key);
        }
    }

    /// A pod that must not be tried yet.
    pub fn gate(&mut self, key: &PodKey, priority: i32, now: Instant) {
        self.leave(key);
        let fresh = || Waiting { priority, attempts: 0, since: now, tried_at: now, place: Place::Gated };
        self.pods.entry(key.clone()).or_insert_with(fresh).place = Place::Gated;
        self.gated += 1;
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &PodKey) {
        self.leave(key);
        self.pods.remove(key);
    }

    /// The next pod to try; it stays known until `remove`, `park` or `fail`.
    pub fn next(&mut self, now: Instant) -> Option<Turn> {
        self.wake_due(now);
        if self.active.is_empty() {
            let early = self.backing_off.first().map(|(_, key)| key.clone());
            early.into_iter().for_each(|key| self.rouse(&key));
        }
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.place = Place::Tried;
        waiting.attempts += 1;
        waiting.tried_at = now;
        Some(Turn { key, attempts: waiting.attempts, since: waiting.since })
    }

    fn wake_due(&mut self, now: Instant) {
        let is_due = |entry: &&(Instant, PodKey)| entry.0 <= now;
        let places = [&self.backing_off, &self.failing, &self.parked].into_iter();
        let due: Vec<PodKey> = places.flat_map(|place| place.iter().take_while(is_due)).map(|e| e.1.clone()).collect();
        due.iter().for_each(|key| self.rouse(key));
    }

    fn rouse(&mut self, key: &PodKey) {
        self.leave(key);
        self.activate(key);
    }

    /// Whether a pod can be tried at once.
    pub fn is_ready(&self) -> bool {
        !self.active.is_empty() || !self.backing_off.is_empty()
    }

    /// When the next pod may be tried, if none can be at once.
    pub fn wake_at(&self) -> Option<Instant> {
        let first = |places: &BTreeSet<(Instant, PodKey)>| places.first().map(|(until, _)| *until);
        [first(&self.failing), first(&self.parked)].into_iter().flatten().min()
    }

    /// It could not be placed: it waits for a change that may help.
    pub fn park(&mut self, key: &PodKey, need: &Arc<Need>, refused_by: Plugins, now: Instant) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let until = now + PARKED_MAX;
        waiting.place = Place::Parked(until);
        self.parked.insert((until, key.clone()));
        self.lots.put(key, need, refused_by);
    }

    /// Something went wrong that time may mend: it is tried again after its back-off.
    pub fn fail(&mut self, key: &PodKey, now: Instant) {
        self.leave(key);
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let until = now + backoff(waiting.attempts);
        waiting.place = Place::Failing(until);
        self.failing.insert((until, key.clone()));
    }

    /// The pod itself changed: what refused it may not matter any more.
    pub fn changed(&mut self, key: &PodKey, now: Instant) {
        if matches!(self.pods.get(key).map(|waiting| &waiting.place), Some(Place::Parked(_))) {
            self.back_off(key, now);
        }
    }

    /// Wakes those whom the event may help. How many that were.
    pub fn wake(&mut self, event: &Event, now: Instant) -> usize {
        if self.parked.is_empty() {
            return 0;
        }
        let woken = self.lots.helped_by(event);
        woken.iter().for_each(|key| self.back_off(key, now));
        woken.len()
    }

    /// Tried again when its back-off, counted from the last try, is over.
    fn back_off(&mut self, key: &PodKey, now: Instant) {
        self.leave(key);
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let until = waiting.tried_at + backoff(waiting.attempts);
        if until <= now {
            return self.activate(key);
        }
        waiting.place = Place::BackingOff(until);
        self.backing_off.insert((until, key.clone()));
    }

    pub fn lengths(&self) -> Lengths {
        Lengths {
            active: self.active.len(),
            backing_off: self.backing_off.len() + self.failing.len(),
            unschedulable: self.parked.len(),
            gated: self.gated,
        }
    }

    /// Which plugins keep how many parked pods.
    pub fn refusals(&self) -> HashMap<crate::plugins::Plugin, usize> {
        self.lots.refusals()
    }

    pub fn keys(&self) -> Vec<PodKey> {
        self.pods.keys().cloned().collect()
    }

    pub fn knows(&self, key: &PodKey) -> bool {
        self.pods.contains_key(key)
    }

    fn activate(&mut self, key: &PodKey) {
        self.turns += 1;
        let Some(waiting) = self.pods.get_mut(key) else { return };
        if waiting.place == Place::Gated {
            self.gated -= 1;
        }
        waiting.place = Place::Active(self.turns);
        self.active.insert((Reverse(waiting.priority), self.turns, key.clone()));
    }

    /// Takes it out of where it is.
    fn leave(&mut self, key: &PodKey) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        match std::mem::replace(&mut waiting.place, Place::Tried) {
            Place::Gated => self.gated -= 1,
            Place::Active(turn) => _ = self.active.remove(&(Reverse(waiting.priority), turn, key.clone())),
            Place::Tried => {}
            Place::BackingOff(until) => _ = self.backing_off.remove(&(until, key.clone())),
            Place::Failing(until) => _ = self.failing.remove(&(until, key.clone())),
            Place::Parked(until) => {
                self.parked.remove(&(until, key.clone()));
                self.lots.remove(key);
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(4)).min(BACKOFF_MAX)
}
