//! Snapshots kept for the later pages of a list: as long as a continue token may name them, and never many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Revision, Snapshot};

pub(crate) const PINS_MAX: usize = 256;
pub(crate) const PIN_SECONDS: u64 = 300;

/// Oldest first. A pin ends in its time however often it is asked for: upstream's compaction waits for nobody, and
/// clients rely on it.
#[derive(Default)]
pub(crate) struct Pins(VecDeque<(Instant, Arc<dyn Snapshot>)>);

impl Pins {
    pub fn add(&mut self, snapshot: Arc<dyn Snapshot>, now: Instant) {
        self.expire(now);
        let revision = snapshot.revision();
        if self.0.iter().any(|(_, pinned)| pinned.revision() == revision) {
            return;
        }
        if self.0.len() >= PINS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, snapshot));
    }

    /// The snapshot of this revision.
    pub fn find(&mut self, revision: Revision, now: Instant) -> Option<Arc<dyn Snapshot>> {
        self.expire(now);
        self.0.iter().find(|(_, pinned)| pinned.revision() == revision).map(|(_, snapshot)| snapshot.clone())
    }

    fn expire(&mut self, now: Instant) {
        let lifetime = Duration::from_secs(PIN_SECONDS);
        while self.0.front().is_some_and(|(used, _)| now.duration_since(*used) > lifetime) {
            self.0.pop_front();
        }
    }
}
