//! Stored objects as the version that a call speaks, and back. Twins of the table are turned by functions (`twins.rs`),
//! versions of custom kinds by name or by their owner's webhook (`custom/convert.rs`). What already lies in the right
//! version is passed on as the bytes that lie there.

use amphipod_store::{Meta, Object};
use bytes::Bytes;
use serde_json::Value;

use crate::custom::CustomKind;
use crate::registry::Entry;
use crate::reply::Status;
use crate::seams::Cluster;
use crate::selectors::Selector;
use crate::server::Server;
use crate::{codec, twins};

/// One object's whole JSON.
pub async fn frame(server: &Server, entry: &Entry, object: &Object) -> Result<Bytes, Status> {
    let found = frames(server, entry, [object]).await?;
    Ok(found.into_iter().next().expect("one object gives one frame"))
}

/// Many of them, in their order; a webhook is asked once for all.
pub async fn frames<'o>(
    server: &Server,
    entry: &Entry,
    objects: impl IntoIterator<Item = &'o Object>,
) -> Result<Vec<Bytes>, Status> {
    let stored = objects.into_iter().map(|object| (object.revision, server.codec.frame(object)));
    let Some((own, hub)) = custom(entry) else {
        return Ok(stored.map(|(_, frame)| twins::frame(entry, frame)).collect());
    };
    let stored: Vec<_> = stored.collect();
    let is_hub = own.kind.version == hub.kind.version;
    // An object may have been written by the version before after the definition was read: it says so itself.
    let opening = format!(r#"{{"apiVersion":"{}","#, hub.api_version());
    let as_it_lies =
        |(revision, frame): &(u64, Bytes)| is_hub && *revision > hub.since && frame.starts_with(opening.as_bytes());
    let stale: Vec<usize> = (0..stored.len()).filter(|at| !as_it_lies(&stored[*at])).collect();
    let mut frames: Vec<Bytes> = stored.into_iter().map(|(_, frame)| frame).collect();
    if stale.is_empty() {
        return Ok(frames);
    }
    let values = stale.iter().map(|at| parsed(&frames[*at])).collect();
    let cluster = server.cluster(server.store.snapshot());
    let converted = own.of_stored(&cluster, values, hub).await?;
    for (at, value) in stale.into_iter().zip(converted) {
        frames[at] = value.to_string().into();
    }
    Ok(frames)
}

/// One object as a value.
pub async fn value(server: &Server, entry: &Entry, object: &Object) -> Result<Value, Status> {
    if custom(entry).is_none() {
        return Ok(twins::from_hub(entry, server.codec.value(object)));
    }
    Ok(parsed(&frame(server, entry, object).await?))
}

/// Whether a stored object is selected. What was written before a field became selectable is looked into.
pub fn selects(server: &Server, entry: &Entry, selector: &Selector, object: &Object) -> bool {
    let stale = custom(entry).filter(|(_, hub)| selector.asks_fields() && object.revision <= hub.since);
    let Some((own, _)) = stale else { return selector.matches(object) };
    selector.matches_with(object, &own.conversion.known_values(&server.codec.value(object)))
}

/// An object as it will lie in the store, and what of it is known in clear.
pub async fn stored(server: &Server, entry: &Entry, value: Value) -> Result<(Value, Meta), Status> {
    let Some((own, hub)) = custom(entry) else {
        let stored = twins::to_hub(entry, value);
        let meta = codec::meta(&stored, &entry.hub);
        return Ok((stored, meta));
    };
    let cluster = server.cluster(server.store.snapshot());
    let fields = own.conversion.selectable_values(&cluster, &value).await?;
    let stored = own.to_stored(&cluster, value, hub).await?;
    let meta = codec::meta(&stored, &entry.hub);
    Ok((stored, Meta { fields, ..meta }))
}

/// An object of one version as another of the same resource: webhooks may ask for it in a version of their choice.
pub async fn between(cluster: &Cluster, (from, to): (&Entry, &Entry), value: Value) -> Result<Value, Status> {
    if std::ptr::eq(&*from.kind, &*to.kind) || from.kind.version == to.kind.version && from.kind.group == to.kind.group
    {
        return Ok(value);
    }
    let Some((own, _)) = custom(from) else { return Ok(twins::from_hub(to, twins::to_hub(from, value))) };
    let converted = own.conversion.convert(cluster, vec![value], &to.api_version()).await?;
    Ok(converted.into_iter().next().expect("one object gives one"))
}

fn custom(entry: &Entry) -> Option<(&CustomKind, &CustomKind)> {
    entry.kind.custom().zip(entry.hub.custom())
}

fn parsed(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).expect("a frame is JSON")
}
