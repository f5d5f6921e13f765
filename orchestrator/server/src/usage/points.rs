//! What was measured last and before that, and what lies between. Pure; metrics-server's rules.

use std::time::Duration;

use jiff::Timestamp;

use super::{IDLE_PERIOD, Used};

/// Shorter than this says nothing about a container that has just begun.
const YOUNG_MIN: Duration = Duration::from_secs(10);

/// CPU used since a start, memory at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub at: Timestamp,
    pub started_at: Timestamp,
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    last: Point,
    before: Option<Point>,
}

impl Points {
    /// `now` joins what was known. A new run, or a look at the same moment, is measured against nothing; a young one
    /// against its start.
    pub fn after(known: Option<&Self>, now: Point) -> Self {
        let same_moment = known.filter(|known| known.last.at >= now.at);
        if let Some(known) = same_moment {
            return *known;
        }
        let same_run = known
            .map(|known| known.last)
            .filter(|last| last.at > now.started_at && last.cpu_nanoseconds <= now.cpu_nanoseconds);
        let age = since(now.started_at, now.at);
        let young = (YOUNG_MIN..=IDLE_PERIOD).contains(&age);
        let start = Point { at: now.started_at, cpu_nanoseconds: 0, ..now };
        Self { last: now, before: same_run.or(young.then_some(start)) }
    }

    pub fn used(&self) -> Option<Used> {
        let before = self.before?;
        let window = since(before.at, self.last.at);
        let nanoseconds = self.last.cpu_nanoseconds.checked_sub(before.cpu_nanoseconds)?;
        let cpu_nanocores = (u128::from(nanoseconds) * 1_000_000_000).checked_div(window.as_nanos())?;
        Some(Used {
            at: self.last.at,
            window,
            cpu_nanocores: u64::try_from(cpu_nanocores).unwrap_or(u64::MAX),
            memory_bytes: self.last.memory_bytes,
        })
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
