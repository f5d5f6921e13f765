//! Snapshots kept for the later pages of a list: as long as a continue token may name them, and never many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Revision, Snapshot};

pub(crate) const PINS_MAX: usize = 256;
pub(crate) const PIN_SECONDS: u64 = 300;

/// Least recently used first.
#[derive(Default)]
pub(crate) struct Pins(VecDeque<(Instant, Arc<dyn Snapshot>)>);

impl Pins {
    pub fn add(&mut self, snapshot: Arc<dyn Snapshot>, now: Instant) {
        self.expire(now);
        let revision = snapshot.revision();
        self.0.retain(|(_, pinned)| pinned.revision() != revision);
        if self.0.len() >= PINS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, snapshot));
    }

    /// The snapshot of this revision, whose time begins anew.
    pub fn find(&mut self, revision: Revision, now: Instant) -> Option<Arc<dyn Snapshot>> {
        self.expire(now);
        let index = self.0.iter().position(|(_, pinned)| pinned.revision() == revision)?;
        let (_, snapshot) = self.0.remove(index)?;
        self.0.push_back((now, snapshot.clone()));
        Some(snapshot)
    }

    fn expire(&mut self, now: Instant) {
        let lifetime = Duration::from_secs(PIN_SECONDS);
        while self.0.front().is_some_and(|(used, _)| now.duration_since(*used) > lifetime) {
            self.0.pop_front();
        }
    }
}
