//! The kubelet's back-off: the first try is at once, each further one waits twice as long, and after a quiet time all is forgotten.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Restarts and pulls: 10 s, doubling to 5 min.
pub const FIRST: Duration = Duration::from_secs(10);
pub const LONGEST: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<(Duration, Timestamp)>,
}

impl Backoff {
    /// When the next try is due after something ended at `ended`.
    pub fn due(&self, ended: Timestamp) -> Timestamp {
        match self.entry {
            Some((delay, updated)) if !forgotten(updated, ended) => after(ended, delay),
            _ => ended,
        }
    }

    /// A try begins at `now`: the next one will wait longer.
    pub fn grow(&mut self, now: Timestamp) {
        let delay = match self.entry {
            Some((delay, updated)) if !forgotten(updated, now) => (delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.entry = Some((delay, now));
    }

    /// How long the next try waits after an end, for messages.
    pub fn delay(&self) -> Duration {
        self.entry.map_or(Duration::ZERO, |(delay, _)| delay)
    }

    pub fn reset(&mut self) {
        self.entry = None;
    }
}

fn forgotten(updated: Timestamp, at: Timestamp) -> bool {
    at.duration_since(updated) > SignedDuration::from_secs(2 * LONGEST.as_secs() as i64)
}

/// `at` that much later; saturates.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`, `12ms`, `1.5s`.
pub fn go_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        let (value, unit) = match nanos {
            0 => return "0s".into(),
            1..1_000 => (f64::from(nanos), "ns"),
            1_000..1_000_000 => (f64::from(nanos) / 1e3, "µs"),
            _ => (f64::from(nanos) / 1e6, "ms"),
        };
        return format!("{value}{unit}");
    }
    let rest = (seconds % 60) as f64 + f64::from(nanos) / 1e9;
    match (seconds / 3_600, seconds / 60 % 60) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn waits_double_to_five_minutes_and_are_forgotten_after_ten() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.due(at(100)), at(100), "the first restart is at once");
        let mut now = at(100);
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoff.grow(now);
            let due = backoff.due(now);
            waits.push(due.duration_since(now).as_secs());
            now = due;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        let quiet = after(now, Duration::from_secs(601));
        assert_eq!(backoff.due(quiet), quiet);
        backoff.grow(quiet);
        assert_eq!(backoff.delay(), FIRST);
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        let cases = [
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (12, "12ms"),
            (1_500, "1.5s"),
            (0, "0s"),
            (3_600_000, "1h0m0s"),
        ];
        for (millis, expected) in cases {
            assert_eq!(go_duration(Duration::from_millis(millis)), expected);
        }
    }
}
