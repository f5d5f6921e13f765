//! Which pods are to leave, and since when. One entry for each pod that its node's taints drive away.
//!
//! ```text
//!  ── taints ──► waiting since … ── time is up ──► evicted ── the pod is gone ──►
//!                    └── taints gone ──► cancelled
//! ```

use std::collections::HashMap;
use std::time::Duration;

use amphipod_api::informer::ObjectKey;
use jiff::Timestamp;
use parking_lot::Mutex;

#[derive(Default)]
pub struct Appointments(Mutex<HashMap<ObjectKey, Appointment>>);

struct Appointment {
    uid: String,
    since: Timestamp,
    evicted: bool,
}

#[derive(Debug, PartialEq)]
pub enum Due {
    In(Duration),
    Now,
    /// It was told to go.
    Done,
}

impl Appointments {
    /// When the pod has to leave, if it may stay for so long; the first such call starts its clock.
    pub fn due(&self, (key, uid): (&ObjectKey, &str), stay: Duration, now: Timestamp) -> Due {
        let fresh = || Appointment { uid: uid.to_owned(), since: now, evicted: false };
        let mut appointments = self.0.lock();
        let appointment = appointments.entry(key.clone()).or_insert_with(fresh);
        if appointment.uid != uid {
            *appointment = fresh();
        }
        if appointment.evicted {
            return Due::Done;
        }
        let waited = Duration::try_from(now.duration_since(appointment.since)).unwrap_or_default();
        stay.checked_sub(waited).filter(|left| !left.is_zero()).map_or(Due::Now, Due::In)
    }

    pub fn evicted(&self, key: &ObjectKey) {
        if let Some(appointment) = self.0.lock().get_mut(key) {
            appointment.evicted = true;
        }
    }

    /// Whether the pod was waiting for its end.
    pub fn cancel(&self, key: &ObjectKey) -> bool {
        self.0.lock().remove(key).is_some_and(|appointment| !appointment.evicted)
    }

    pub fn has(&self, key: &ObjectKey) -> bool {
        self.0.lock().contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_runs_from_the_first_taint_until_cancelled() {
        let appointments = Appointments::default();
        let key = ("ns".to_owned(), "p".to_owned());
        let due = |uid, stay, now| {
            let now = Timestamp::from_second(now).expect("in range");
            appointments.due((&key, uid), Duration::from_secs(stay), now)
        };
        assert_eq!(due("a", 30, 100), Due::In(Duration::from_secs(30)));
        assert_eq!(due("a", 20, 110), Due::In(Duration::from_secs(10)));
        assert!(appointments.cancel(&key) && !appointments.cancel(&key));
        assert_eq!(due("a", 30, 200), Due::In(Duration::from_secs(30)));
        assert_eq!(due("b", 30, 220), Due::In(Duration::from_secs(30)));
        assert_eq!(due("b", 30, 250), Due::Now);
        appointments.evicted(&key);
        assert_eq!(due("b", 30, 251), Due::Done);
        assert!(!appointments.cancel(&key), "too late");
        assert_eq!(due("b", 0, 300), Due::Now);
    }
}
