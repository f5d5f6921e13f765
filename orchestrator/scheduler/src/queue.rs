//! Pods waiting for a node: ready ones by priority and age, those backing off, and those that no node takes,
//! which wait for a change that could help them.
//!
//! ```text
//!  add ──► ready ──pop──► (bound)     refused ──► waiting ──wake──► back-off ──due──► ready
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::ObjectKey;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::pod::Class;

pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What may help a pod that no node took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    NodeChanged,
    /// A pod has gone: only those that want room care.
    RoomMade,
}

pub struct Waiting {
    pub pod: Arc<Pod>,
    pub class: Class,
    pub class_key: String,
    attempts: u32,
    place: Place,
}

enum Place {
    Ready(Rank),
    BackingOff(Instant),
    Refused { wants_room: bool, retry_from: Instant },
    Binding,
}

type Rank = (Reverse<i32>, Option<Timestamp>, ObjectKey);

#[derive(Default)]
pub struct Queue {
    pods: HashMap<ObjectKey, Waiting>,
    ready: BTreeSet<Rank>,
    backing_off: BTreeSet<(Instant, ObjectKey)>,
}

impl Queue {
    /// A new pod, or a new state of one that waits; one that is being bound stays as it is.
    pub fn add(&mut self, key: ObjectKey, pod: Arc<Pod>) {
        let class = Class::of(&pod);
        let class_key = class.key();
        let known = self.pods.get_mut(&key);
        if let Some(known) = known.filter(|known| known.pod.metadata.uid == pod.metadata.uid) {
            let same = known.class_key == class_key;
            (known.pod, known.class, known.class_key) = (pod, class, class_key);
            if !same && matches!(known.place, Place::Refused { .. }) {
                self.make_ready(&key);
            }
            return;
        }
        self.remove(&key);
        let rank = rank(&key, &pod);
        self.ready.insert(rank.clone());
        self.pods.insert(key, Waiting { pod, class, class_key, attempts: 0, place: Place::Ready(rank) });
    }

    pub fn remove(&mut self, key: &ObjectKey) -> Option<Waiting> {
        let waiting = self.pods.remove(key)?;
        self.leave(&waiting.place, key);
        Some(waiting)
    }

    pub fn pop(&mut self) -> Option<(ObjectKey, &Waiting)> {
        let (_, _, key) = self.ready.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.place = Place::Binding;
        waiting.attempts += 1;
        Some((key, waiting))
    }

    pub fn refused(&mut self, key: &ObjectKey, wants_room: bool) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.place = Place::Refused { wants_room, retry_from: Instant::now() + backoff(waiting.attempts) };
        }
    }

    pub fn back_off(&mut self, key: &ObjectKey) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let at = Instant::now() + backoff(waiting.attempts);
            waiting.place = Place::BackingOff(at);
            self.backing_off.insert((at, key.clone()));
        }
    }

    pub fn wake(&mut self, wake: Wake) {
        let now = Instant::now();
        for (key, waiting) in &mut self.pods {
            let Place::Refused { wants_room, retry_from } = waiting.place else { continue };
            if wake == Wake::NodeChanged || wants_room {
                let at = retry_from.max(now);
                waiting.place = Place::BackingOff(at);
                self.backing_off.insert((at, key.clone()));
            }
        }
    }

    /// Readies what has backed off long enough; when the next one is due.
    pub fn due(&mut self) -> Option<Instant> {
        while let Some((at, key)) = self.backing_off.first().cloned() {
            if at > Instant::now() {
                return Some(at);
            }
            self.make_ready(&key);
        }
        None
    }

    pub fn keys(&self) -> Vec<ObjectKey> {
        self.pods.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.pods.len()
    }

    fn make_ready(&mut self, key: &ObjectKey) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let rank = rank(key, &waiting.pod);
        let place = std::mem::replace(&mut waiting.place, Place::Ready(rank.clone()));
        self.leave(&place, key);
        self.ready.insert(rank);
    }

    fn leave(&mut self, place: &Place, key: &ObjectKey) {
        match place {
            Place::Ready(rank) => drop(self.ready.remove(rank)),
            Place::BackingOff(at) => drop(self.backing_off.remove(&(*at, key.clone()))),
            Place::Refused { .. } | Place::Binding => {}
        }
    }
}

fn rank(key: &ObjectKey, pod: &Pod) -> Rank {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    (Reverse(priority), pod.metadata.creation_timestamp.as_ref().map(|time| time.0), key.clone())
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(BACKOFF_MAX)
}
