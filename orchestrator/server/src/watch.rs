//! GET with `watch=true`: one line of JSON for each change, until the client or its time goes.
//!
//! ```text
//!  initial (ADDED each, then the initial-events-end bookmark) ─► live (events, a bookmark each minute) ─► closed
//!                                                                   └─ cursor fell off the ring: ERROR 410 ─┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Change, Error, Event, Object, Revision, Watch};
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use metrics::Counter;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use crate::accept::Form;
use crate::call::Call;
use crate::kinds::{Kind, Scope};
use crate::registry::api_version;
use crate::reply::{self, Status};
use crate::selectors::Selector;
use crate::{forms, list, reads, table, versions};

/// Lines are gathered up to this many bytes before they are handed to the connection.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Objects of the initial state that are turned into lines at once.
const INITIAL_BATCH: usize = 64;
const BOOKMARK_SECONDS: u64 = 60;
/// Without `timeoutSeconds` a watch lives between one and two of these.
const LIFE_SECONDS: u64 = 1_800;
/// Clients may ask for longer than a clock can tell.
const LIFE_MAX: Duration = Duration::from_secs(365 * 86_400);

pub async fn watch(call: Call, single: bool) -> Result<Response, Status> {
    if call.server.ending.is_cancelled() {
        return Err(Status::too_many_requests("The apiserver is shutting down, please try again later.", 1));
    }
    reads::check_list_options(call.query(), true)?;
    let mut selector = Selector::of(call.query(), call.kind())?;
    if single {
        selector = selector.and_name(call.name());
    }
    let asked = call.query().integer("timeoutSeconds").map_err(Status::bad_request)?;
    let asked = asked.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let life = asked.unwrap_or_else(|| rand::random_range(LIFE_SECONDS..2 * LIFE_SECONDS));
    let watcher = Watcher::start(call, selector, Duration::from_secs(life)).await?;
    let stream = futures::stream::unfold(watcher, |mut watcher| async move {
        let bytes = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), watcher))
    });
    Ok(reply::stream(Body::from_stream(stream)))
}

/// One client's view of one resource.
struct Watcher {
    call: Call,
    selector: Selector,
    /// Every key of interest starts with this.
    prefix: Vec<u8>,
    initial: VecDeque<Arc<Object>>,
    /// The bookmark that ends the initial events is still owed.
    owes_initial_end: bool,
    feed: Feed,
    bookmarks: Option<Interval>,
    ends: Instant,
    sent_columns: bool,
    /// What is to be told, not yet in the client's version.
    lines: Vec<(&'static str, Arc<Object>)>,
    told: Counter,
    /// Its own, so that watchers do not wait for each other.
    ending: CancellationToken,
}

enum Feed {
    Live(Box<dyn Watch>),
    /// What to say before closing.
    Broken(Error),
    Closed,
}

impl Watcher {
    async fn start(call: Call, selector: Selector, life: Duration) -> Result<Self, Status> {
        let query = call.query();
        let asked = reads::revision(query)?;
        let send_initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let wants_bookmarks = query.flag("allowWatchBookmarks");
        let wants_state = send_initial.unwrap_or(asked.is_none_or(|revision| revision == 0));
        let (mut initial, mut from) = (VecDeque::new(), asked.unwrap_or(0));
        if wants_state || from == 0 {
            let snapshot = reads::snapshot(&call, asked).await?;
            from = snapshot.revision();
            if wants_state {
                let objects = snapshot.list(call.entry.id(), list::scope(&call), None, 0);
                let selects = |object: &Arc<Object>| versions::selects(&call.server, &call.entry, &selector, object);
                initial = objects.into_iter().filter(selects).collect();
            }
        } else {
            reads::reached(&call, from).await?;
        }
        let feed = match call.server.store.watch(call.entry.id(), from) {
            Ok(watch) => Feed::Live(watch),
            Err(error) => Feed::Broken(error),
        };
        let bookmarks = wants_bookmarks.then(|| {
            let period = Duration::from_secs(BOOKMARK_SECONDS);
            tokio::time::interval_at(Instant::now() + period, period)
        });
        let namespace = match call.kind().scope {
            Scope::Cluster => None,
            Scope::Namespaced => list::scope(&call),
        };
        Ok(Self {
            prefix: amphipod_store::Key::prefix(call.entry.id(), namespace),
            owes_initial_end: send_initial == Some(true),
            ends: Instant::now() + life.min(LIFE_MAX),
            sent_columns: false,
            lines: Vec::new(),
            told: told(call.kind()),
            ending: call.server.ending.child_token(),
            call,
            selector,
            initial,
            feed,
            bookmarks,
        })
    }

    /// The next bytes for the client; `None` closes the watch.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < WRITE_BYTES_MAX && !self.initial.is_empty() {
            let some = self.initial.len().min(INITIAL_BATCH);
            self.lines.extend(self.initial.drain(..some).map(|object| ("ADDED", object)));
            self.write(&mut out).await;
        }
        if self.initial.is_empty() && std::mem::take(&mut self.owes_initial_end) {
            let revision = self.revision();
            self.bookmark(&mut out, revision, true);
        }
        while out.is_empty() {
            self.live(&mut out).await?;
        }
        Some(out.freeze())
    }

    /// Waits for something to happen and writes what concerns the client; `None` when its time is over.
    async fn live(&mut self, out: &mut BytesMut) -> Option<()> {
        let watch = match &mut self.feed {
            Feed::Live(watch) => watch,
            Feed::Closed => return None,
            Feed::Broken(error) => {
                let status = Status::store(error.clone(), self.call.kind(), "");
                self.feed = Feed::Closed;
                frame(out, "ERROR", status.to_json().to_string().as_bytes());
                return Some(());
            }
        };
        let bookmark = async {
            match &mut self.bookmarks {
                Some(interval) => drop(interval.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.ends) => return None,
            events = watch.next() => match events {
                Ok(events) => {
                    events.iter().for_each(|event| self.event(event));
                    self.write(out).await;
                }
                Err(error) => self.feed = Feed::Broken(error),
            },
            // The kind has another schema now, or none: clients start over.
            () = retired(&self.call) => return None,
            () = self.ending.cancelled() => return None,
            () = bookmark => {
                let revision = self.revision();
                self.bookmark(out, revision, false);
            }
        }
        Some(())
    }

    fn revision(&self) -> Revision {
        match &self.feed {
            Feed::Live(watch) => watch.revision(),
            Feed::Broken(_) | Feed::Closed => 0,
        }
    }

    /// What leaves the selector is deleted for this client, what enters is added.
    fn event(&mut self, event: &Event) {
        if !event.current.key.as_bytes().starts_with(&self.prefix) {
            return;
        }
        if self.selector.is_empty() {
            let kind = match event.change {
                Change::Added => "ADDED",
                Change::Modified => "MODIFIED",
                Change::Deleted => "DELETED",
            };
            return self.lines.push((kind, event.current.clone()));
        }
        let selects = |object: &Object| versions::selects(&self.call.server, &self.call.entry, &self.selector, object);
        let before = event.previous.as_ref().filter(|previous| selects(previous));
        let matches_now = event.change != Change::Deleted && selects(&event.current);
        match (before, matches_now) {
            (Some(_), true) => self.lines.push(("MODIFIED", event.current.clone())),
            (None, true) => self.lines.push(("ADDED", event.current.clone())),
            (None, false) => {}
            (Some(_), false) if event.change == Change::Deleted => {
                self.lines.push(("DELETED", event.current.clone()));
            }
            (Some(last), false) => self.lines.push(("DELETED", Arc::new(last.at(event.revision)))),
        }
    }

    /// Tells what has gathered; a conversion that fails ends the watch.
    async fn write(&mut self, out: &mut BytesMut) {
        let lines = std::mem::take(&mut self.lines);
        let objects = lines.iter().map(|(_, object)| &**object);
        match versions::frames(&self.call.server, &self.call.entry, objects).await {
            Ok(frames) => {
                self.told.increment(lines.len() as u64);
                for ((kind, object), json) in lines.iter().zip(frames) {
                    self.line(out, kind, (object, &json));
                }
            }
            Err(status) => {
                self.feed = Feed::Closed;
                frame(out, "ERROR", status.to_json().to_string().as_bytes());
            }
        }
    }

    fn line(&mut self, out: &mut BytesMut, kind: &str, (object, json): (&Object, &Bytes)) {
        match self.call.form {
            Form::Json | Form::Discovery => frame(out, kind, json),
            Form::Metadata => frame(out, kind, forms::metadata_only(json).as_bytes()),
            Form::Table => {
                let row = table::row(&self.call, &forms::parsed(json));
                let table = self.table(vec![row], object.revision);
                frame(out, kind, table.to_string().as_bytes());
            }
        }
    }

    /// Columns are told once.
    fn table(&mut self, rows: Vec<Value>, revision: Revision) -> Value {
        let mut table = table::table(&self.call, &rows, revision.to_string().into());
        if std::mem::replace(&mut self.sent_columns, true) {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    fn bookmark(&mut self, out: &mut BytesMut, revision: Revision, ends_initial: bool) {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if ends_initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let kind = self.call.kind();
        let mut object = json!({ "kind": kind.kind, "apiVersion": api_version(kind), "metadata": metadata });
        if self.call.form == Form::Metadata {
            object["kind"] = "PartialObjectMetadata".into();
            object["apiVersion"] = "meta.k8s.io/v1".into();
        }
        if self.call.form == Form::Table {
            let partial = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata_of(&object) });
            let row = json!({ "cells": empty_cells(&self.call), "object": partial });
            object = self.table(vec![row], revision);
        }
        frame(out, "BOOKMARK", object.to_string().as_bytes());
    }
}

/// Counts events, those of the initial state too.
fn told(kind: &Kind) -> Counter {
    let labels = [("group", kind.group), ("version", kind.version), ("resource", kind.plural)];
    metrics::counter!("apiserver_watch_events_total", &labels)
}

async fn retired(call: &Call) {
    match call.entry.kind.custom() {
        Some(custom) => custom.retired.cancelled().await,
        None => std::future::pending().await,
    }
}

fn metadata_of(object: &Value) -> Value {
    object["metadata"].clone()
}

fn empty_cells(call: &Call) -> Vec<Value> {
    let columns = table::definitions(call).as_array().map_or(0, Vec::len);
    vec![Value::from(""); columns]
}

/// `{"type":…,"object":…}` and a newline.
fn frame(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}
