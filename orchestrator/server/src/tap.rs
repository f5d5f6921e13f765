//! The store's feed for informers in this process: the same frames that watchers over HTTP get, without the HTTP.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{RawEvent, Source};
use amphipod_store::{Change, Watch};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::registry::Entry;
use crate::seams::{Attributes, Decision, Identity};
use crate::server::Server;
use crate::twins;

/// Pause before a refused or failed reader asks again.
const RETRY: Duration = Duration::from_secs(1);

/// Reads as `identity`.
pub struct Tap {
    server: Server,
    identity: Identity,
}

impl Tap {
    pub fn new(server: Server, identity: Identity) -> Self {
        Self { server, identity }
    }
}

impl Source for Tap {
    fn list_and_watch(&self, group: &str, version: &str, plural: &str) -> BoxStream<'static, RawEvent> {
        let entry = self.server.catalog.load().registry.find(group, version, plural).cloned();
        let Some(entry) = entry.filter(|entry| entry.resource.is_some()) else {
            tracing::error!(group, version, plural, "an informer asks for a resource that is not served");
            return stream::pending().boxed();
        };
        let attributes = Attributes {
            verb: "watch".to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            resource: plural.to_owned(),
            ..Attributes::default()
        };
        let reader =
            Reader { server: self.server.clone(), identity: self.identity.clone(), attributes, entry, watch: None };
        stream::unfold(reader, |mut reader| async move {
            let events = reader.next().await;
            Some((stream::iter(events), reader))
        })
        .flatten()
        .boxed()
    }
}

struct Reader {
    server: Server,
    identity: Identity,
    attributes: Attributes,
    entry: Arc<Entry>,
    /// `None`: the next step is a full list.
    watch: Option<Box<dyn Watch>>,
}

impl Reader {
    async fn next(&mut self) -> Vec<RawEvent> {
        let Some(watch) = &mut self.watch else { return self.list().await };
        match watch.next().await {
            Ok(events) => {
                let entry = &self.entry;
                let raw = events.iter().map(|event| {
                    let frame = twins::frame(entry, self.server.codec.frame(&event.current));
                    if event.change == Change::Deleted { RawEvent::Deleted(frame) } else { RawEvent::Applied(frame) }
                });
                raw.collect()
            }
            Err(error) => {
                tracing::debug!(%error, plural = self.entry.kind.plural, "an informer starts over");
                self.watch = None;
                Vec::new()
            }
        }
    }

    async fn list(&mut self) -> Vec<RawEvent> {
        let (server, id) = (&self.server, self.entry.id());
        if let Decision::Denied { reason } = server.authorizer.authorize(&self.identity, &self.attributes) {
            tracing::warn!(
                user = self.identity.user,
                plural = self.entry.kind.plural,
                reason,
                "an informer may not read"
            );
            tokio::time::sleep(RETRY).await;
            return Vec::new();
        }
        let snapshot = server.store.snapshot();
        let watch = server.store.watch(id, snapshot.revision());
        let Ok(watch) = watch else {
            tokio::time::sleep(RETRY).await;
            return Vec::new();
        };
        let objects = snapshot.list(id, None, None, 0);
        let frames = objects.iter().map(|object| -> Bytes { twins::frame(&self.entry, server.codec.frame(object)) });
        let mut events = vec![RawEvent::Restarted];
        events.extend(frames.map(RawEvent::Listed));
        events.push(RawEvent::Synced);
        self.watch = Some(watch);
        events
    }
}
