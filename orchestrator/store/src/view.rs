//! What readers see: the published root, the feed and the pins. Both stores apply into one of these, in this order:
//! root, events, revision; so whoever was told of a change can read it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::feed::{Feed, Limits};
use crate::pins::Pins;
use crate::root::Root;
use crate::{Error, Event, ResourceId, Revision, Snapshot, Watch};

pub(crate) struct View {
    root: ArcSwap<Root>,
    feed: Feed,
    pins: Mutex<Pins>,
    /// The revision that readers see; `None` once closed.
    revision: watch::Sender<Option<Revision>>,
}

impl View {
    /// Readers see `root`; watches can continue from its revision on.
    pub fn new(root: Root, limits: Limits) -> Self {
        let revision = root.revision;
        Self {
            root: ArcSwap::from_pointee(root),
            feed: Feed::new(revision, limits),
            pins: Mutex::default(),
            revision: watch::Sender::new(Some(revision)),
        }
    }

    pub fn publish(&self, root: Root, events: &[Arc<Event>]) {
        let revision = root.revision;
        self.root.store(Arc::new(root));
        self.feed.publish(events, revision);
        if !events.is_empty() {
            self.revision.send_replace(Some(revision));
        }
    }

    pub fn root(&self) -> Arc<Root> {
        self.root.load_full()
    }

    pub fn snapshot_at(&self, asked: Revision) -> Result<Arc<dyn Snapshot>, Error> {
        let root = self.root();
        let current = root.revision;
        if asked == current {
            return Ok(root);
        }
        if asked > current {
            return Err(Error::TooNew { asked, current });
        }
        let pinned = self.pins.lock().find(asked, Instant::now());
        pinned.ok_or(Error::Expired { asked, oldest: current })
    }

    pub fn pin(&self, snapshot: Arc<dyn Snapshot>) {
        self.pins.lock().add(snapshot, Instant::now());
    }

    pub fn watch(&self, resource: ResourceId, after: Revision) -> Result<Box<dyn Watch>, Error> {
        let current = self.root.load().revision;
        if after > current {
            return Err(Error::TooNew { asked: after, current });
        }
        Ok(Box::new(self.feed.watch(resource, after)?))
    }

    pub async fn reached(&self, revision: Revision) -> Result<(), Error> {
        let mut seen = self.revision.subscribe();
        let reached = seen.wait_for(|current| current.is_none_or(|current| current >= revision)).await;
        match reached.as_deref() {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(Error::Unavailable("shutting down".into())),
        }
    }

    /// Ends every watch and every wait.
    pub fn close(&self) {
        self.revision.send_replace(None);
        self.feed.close();
    }
}
