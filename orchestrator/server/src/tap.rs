//! The store's feed for informers in this process: the same frames that watchers over HTTP get, without the HTTP.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{RawEvent, Source};
use amphipod_store::{Change, Object, Watch};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::registry::Entry;
use crate::seams::{Attributes, Decision, Identity};
use crate::server::Server;
use crate::versions;

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
    fn list_and_watch(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        name: Option<&str>,
    ) -> BoxStream<'static, RawEvent> {
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
        let reader = Reader {
            server: self.server.clone(),
            identity: self.identity.clone(),
            attributes,
            entry,
            name: name.map(str::to_owned),
            watch: None,
        };
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
    /// Only objects of this name.
    name: Option<String>,
    /// `None`: the next step is a full list.
    watch: Option<Box<dyn Watch>>,
}

impl Reader {
    async fn next(&mut self) -> Vec<RawEvent> {
        let Some(watch) = &mut self.watch else { return self.list().await };
        let next = tokio::select! {
            next = watch.next() => next,
            () = retired(&self.entry) => {
                return self.again().await;
            }
        };
        match next {
            Ok(mut events) => {
                events.retain(|event| wanted(&self.name, &event.current));
                let objects = events.iter().map(|event| &*event.current);
                let Ok(frames) = versions::frames(&self.server, &self.entry, objects).await else {
                    self.watch = None;
                    tokio::time::sleep(RETRY).await;
                    return Vec::new();
                };
                let raw = events.iter().zip(frames).map(|(event, frame)| {
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

    /// The kind has another schema now, or none: what is there is listed anew by it.
    async fn again(&mut self) -> Vec<RawEvent> {
        self.watch = None;
        let kind = self.entry.kind.clone();
        let find = || self.server.catalog.load().registry.find(kind.group, kind.version, kind.plural).cloned();
        if let Some(next) = find() {
            self.entry = next;
            return Vec::new();
        }
        loop {
            tokio::time::sleep(RETRY).await;
            if let Some(next) = find() {
                self.entry = next;
                // What was there went with the kind.
                return vec![RawEvent::Restarted, RawEvent::Synced];
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
        let mut objects = snapshot.list(id, None, None, 0);
        objects.retain(|object| wanted(&self.name, object));
        let frames = versions::frames(server, &self.entry, objects.iter().map(|object| &**object)).await;
        let Ok(frames) = frames else {
            tokio::time::sleep(RETRY).await;
            return Vec::new();
        };
        let mut events = vec![RawEvent::Restarted];
        events.extend(frames.into_iter().map(RawEvent::Listed));
        events.push(RawEvent::Synced);
        self.watch = Some(watch);
        events
    }
}

fn wanted(name: &Option<String>, object: &Object) -> bool {
    name.as_ref().is_none_or(|name| object.key.name() == name)
}

async fn retired(entry: &Entry) {
    match entry.kind.custom() {
        Some(custom) => custom.retired.cancelled().await,
        None => std::future::pending().await,
    }
}
