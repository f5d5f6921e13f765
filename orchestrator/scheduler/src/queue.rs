//! Pods that wait for a node. Three places, as upstream's queue has them:
//!
//! ```text
//!  active (priority, then age) ─► tried ─► bound
//!     ▲                             └─► unschedulable ─► a change that may help ─┐
//!     └───────── backing off (1 s doubling to 10 s) ◄───────────────────────────┘
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that nothing woke is tried again after this.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(300);

/// `(namespace, name)`.
pub type PodKey = (String, String);

/// Higher priority first, then the older pod.
type Rank = (Reverse<i32>, u64, PodKey);

#[derive(Debug, Default)]
struct Waiting {
    rank: Option<Rank>,
    attempts: u32,
    /// Set while it is not active.
    tried_at: Option<Instant>,
    until: Option<Instant>,
}

#[derive(Default)]
pub struct Queue {
    active: BTreeSet<Rank>,
    backing_off: BTreeMap<(Instant, PodKey), Rank>,
    pods: HashMap<PodKey, Waiting>,
    arrivals: u64,
}

impl Queue {
    /// A pod that wants a node. One that already waits keeps its place and its back-off.
    pub fn add(&mut self, key: PodKey, priority: i32) {
        if self.pods.contains_key(&key) {
            return;
        }
        self.arrivals += 1;
        let rank = (Reverse(priority), self.arrivals, key.clone());
        self.active.insert(rank.clone());
        self.pods.insert(key, Waiting { rank: Some(rank), ..Waiting::default() });
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &PodKey) {
        let Some(waiting) = self.pods.remove(key) else { return };
        if let Some(rank) = waiting.rank {
            self.active.remove(&rank);
        }
        if let Some(until) = waiting.until {
            self.backing_off.remove(&(until, key.clone()));
        }
    }

    /// The next pod to try; it stays known until `remove` or `failed`.
    pub fn next(&mut self, now: Instant) -> Option<PodKey> {
        while let Some(entry) = self.backing_off.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, key), rank) = entry.remove_entry();
            if let Some(waiting) = self.pods.get_mut(&key) {
                waiting.until = None;
                waiting.tried_at = None;
            }
            self.active.insert(rank);
        }
        self.active.pop_first().map(|(_, _, key)| key)
    }

    /// When the next pod that backs off may be tried.
    pub fn wake_at(&self) -> Option<Instant> {
        if !self.active.is_empty() {
            return Some(Instant::now());
        }
        self.backing_off.keys().next().map(|(until, _)| *until)
    }

    /// It could not be placed: it waits for a change that may help, at most five minutes.
    pub fn unschedulable(&mut self, key: &PodKey, now: Instant) {
        self.park(key, now, now + UNSCHEDULABLE_MAX);
    }

    /// Something went wrong that time may mend: it is tried again after its back-off.
    pub fn failed(&mut self, key: &PodKey, now: Instant) {
        let until = now + self.pods.get(key).map_or(BACKOFF_FIRST, |waiting| backoff(waiting.attempts));
        self.park(key, now, until);
    }

    /// The cluster changed so that unschedulable pods may fit: each is tried as soon as its back-off is over.
    pub fn cluster_changed(&mut self) {
        let parked: Vec<_> = self.backing_off.keys().cloned().collect();
        for (until, key) in parked {
            let Some(waiting) = self.pods.get_mut(&key) else { continue };
            let Some(tried_at) = waiting.tried_at else { continue };
            let earliest = tried_at + backoff(waiting.attempts.saturating_sub(1));
            if earliest < until
                && let Some(rank) = self.backing_off.remove(&(until, key.clone()))
            {
                waiting.until = Some(earliest);
                self.backing_off.insert((earliest, key), rank);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.pods.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn park(&mut self, key: &PodKey, now: Instant, until: Instant) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.attempts += 1;
        waiting.tried_at = Some(now);
        waiting.until = Some(until);
        if let Some(rank) = waiting.rank.clone() {
            self.backing_off.insert((until, key.clone()), rank);
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempts.min(4)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PodKey {
        ("default".into(), name.into())
    }

    #[test]
    fn priority_goes_before_age() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("old"), 0);
        queue.add(key("young"), 0);
        queue.add(key("important"), 5);
        queue.add(key("old"), 9);
        let order: Vec<_> = std::iter::from_fn(|| queue.next(now)).map(|(_, name)| name).collect();
        assert_eq!(order, ["important", "old", "young"]);
    }

    #[test]
    fn an_unschedulable_pod_is_woken_by_a_change_but_not_before_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"), 0);
        queue.next(now).unwrap();
        queue.unschedulable(&key("a"), now);
        assert_eq!(queue.next(now + Duration::from_secs(60)), None);
        queue.cluster_changed();
        assert_eq!(queue.next(now + Duration::from_millis(900)), None);
        assert_eq!(queue.next(now + Duration::from_secs(1)), Some(key("a")));
        queue.unschedulable(&key("a"), now);
        queue.cluster_changed();
        assert_eq!(queue.next(now + Duration::from_millis(1_900)), None);
        assert_eq!(queue.next(now + Duration::from_secs(2)), Some(key("a")));
        queue.unschedulable(&key("a"), now);
        assert_eq!(queue.next(now + UNSCHEDULABLE_MAX), Some(key("a")), "time alone is enough in the end");
    }

    #[test]
    fn a_removed_pod_is_forgotten_wherever_it_waits() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(key("a"), 0);
        queue.add(key("b"), 0);
        queue.next(now);
        queue.failed(&key("a"), now);
        queue.remove(&key("a"));
        queue.remove(&key("b"));
        assert_eq!(queue.next(now + Duration::from_secs(99)), None);
        assert!(queue.is_empty());
    }
}
