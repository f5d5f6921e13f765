//! GET of a collection: written from stored frames by concatenation, in pages that share one revision.

use std::sync::Arc;

use amphipod_store::{Error, Key, Object, Revision, Snapshot};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::accept::Form;
use crate::call::Call;
use crate::registry::api_version;
use crate::reply::{self, Status};
use crate::selectors::Selector;
use crate::{forms, reads, table, versions};

/// How many objects are looked at in one go when a selector may drop most of them.
const SCAN: usize = 1_000;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Opaque to clients; upstream's shape. `rv` is -1 for a page from whatever the state is now.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// A page and what follows it.
pub struct Page {
    pub revision: Revision,
    pub objects: Vec<Arc<Object>>,
    proceed: Option<String>,
    remaining: Option<usize>,
}

pub async fn list(call: Call) -> Result<Response, Status> {
    let page = page(&call).await?;
    Ok(reply::ok(shaped(&call, &page).await?))
}

/// The objects a list (or a deletion of a collection) is about.
pub async fn page(call: &Call) -> Result<Page, Status> {
    let query = call.query();
    reads::check_list_options(query, false)?;
    let selector = Selector::of(query, call.kind())?;
    // What is no number of objects asks for all of them.
    let limit = query.integer("limit").map_err(Status::bad_request)?.map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let (snapshot, after) = start(call).await?;
    let (objects, proceed) = collect(call, &*snapshot, (after.as_ref(), limit, &selector));
    let mut page = Page { revision: snapshot.revision(), objects, proceed: None, remaining: None };
    if let Some(last) = proceed {
        page.proceed = Some(token(call, i64::try_from(page.revision).unwrap_or(i64::MAX), &last));
        if selector.is_empty() {
            page.remaining = remaining(call, &*snapshot, &last);
        }
        call.server.store.pin(snapshot);
    }
    Ok(page)
}

async fn start(call: &Call) -> Result<(Arc<dyn Snapshot>, Option<Key>), Status> {
    let query = call.query();
    let revision = reads::revision(query)?;
    let Some(proceed) = query.get("continue") else {
        let exact = query.get("resourceVersionMatch") == Some("Exact");
        return match revision.filter(|_| exact) {
            Some(revision) => {
                reads::reached(call, revision).await?;
                let snapshot = call.server.store.snapshot_at(revision);
                Ok((snapshot.map_err(|error| Status::store(error, call.kind(), ""))?, None))
            }
            None => Ok((reads::snapshot(call, revision).await?, None)),
        };
    };
    if revision.is_some_and(|revision| revision != 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let (revision, after) = parsed(call, proceed)?;
    let Ok(revision) = Revision::try_from(revision) else {
        return Ok((reads::snapshot(call, None).await?, Some(after)));
    };
    match call.server.store.snapshot_at(revision) {
        Ok(snapshot) => Ok((snapshot, Some(after))),
        Err(Error::Expired { .. }) => {
            let mut status = Status::expired(TOO_OLD);
            status.proceed = Some(token(call, -1, &after));
            Err(status)
        }
        Err(error) => Err(Status::store(error, call.kind(), "")),
    }
}

/// Up to `limit` objects that match, and the last one when more follow.
fn collect(
    call: &Call,
    snapshot: &dyn Snapshot,
    (after, limit, selector): (Option<&Key>, usize, &Selector),
) -> (Vec<Arc<Object>>, Option<Key>) {
    let namespace = scope(call);
    let id = call.entry.id();
    let selects = |object: &Object| versions::selects(&call.server, &call.entry, selector, object);
    if let (Some(name), Some(namespace)) = (selector.single_name(), single_namespace(call)) {
        let object = snapshot.get(&Key::new(id, namespace, name));
        return (object.into_iter().filter(|object| selects(object)).collect(), None);
    }
    let mut found: Vec<Arc<Object>> = Vec::new();
    let mut after = after.cloned();
    loop {
        let wanted = match limit {
            0 => 0,
            limit if selector.is_empty() => limit + 1,
            _ => SCAN,
        };
        let batch = snapshot.list(id, namespace, after.as_ref(), wanted);
        let done = wanted == 0 || batch.len() < wanted;
        after = batch.last().map(|object| object.key.clone());
        found.extend(batch.into_iter().filter(|object| selector.is_empty() || selects(object)));
        if limit > 0 && found.len() > limit {
            found.truncate(limit);
            let last = found.last().map(|object| object.key.clone());
            return (found, last);
        }
        if done {
            return (found, None);
        }
    }
}

fn remaining(call: &Call, snapshot: &dyn Snapshot, last: &Key) -> Option<usize> {
    Some(snapshot.list(call.entry.id(), scope(call), Some(last), 0).len())
}

/// The namespace a list is confined to.
pub fn scope(call: &Call) -> Option<&str> {
    Some(call.namespace()).filter(|namespace| !namespace.is_empty())
}

/// Where an object of a given name can only be; cluster-scoped kinds have one empty namespace.
fn single_namespace(call: &Call) -> Option<&str> {
    match call.kind().scope {
        crate::kinds::Scope::Cluster => Some(""),
        crate::kinds::Scope::Namespaced => scope(call),
    }
}

fn token(call: &Call, revision: i64, last: &Key) -> String {
    let start = match (single_namespace(call), last.namespace()) {
        (None, namespace) => format!("{namespace}/{}\0", last.name()),
        _ => format!("{}\0", last.name()),
    };
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: revision, start };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token can be written"))
}

fn parsed(call: &Call, text: &str) -> Result<(i64, Key), Status> {
    let bad = || Status::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let start = token.start.trim_end_matches('\0');
    let (namespace, name) = match single_namespace(call) {
        Some(namespace) => (namespace, start),
        None => start.split_once('/').ok_or_else(bad)?,
    };
    if name.contains('\0') || namespace.contains('\0') {
        return Err(bad());
    }
    Ok((token.rv, Key::new(call.entry.id(), namespace, name)))
}

async fn shaped(call: &Call, page: &Page) -> Result<Bytes, Status> {
    let objects = page.objects.iter().map(|object| &**object);
    let frames = versions::frames(&call.server, &call.entry, objects).await?;
    let metadata = page.metadata();
    match call.form {
        Form::Table => {
            let rows: Vec<Value> = frames.iter().map(|frame| table::row(call, &forms::parsed(frame))).collect();
            let mut table = table::table(call, &rows, Value::Null);
            table["metadata"] = metadata;
            Ok(table.to_string().into())
        }
        Form::Metadata => {
            let items: Vec<Bytes> = frames.iter().map(|frame| forms::metadata_only(frame).into()).collect();
            Ok(joined(("meta.k8s.io/v1", "PartialObjectMetadata"), &items, &metadata))
        }
        Form::Json | Form::Discovery => Ok(joined((&api_version(call.kind()), call.kind().kind), &frames, &metadata)),
    }
}

impl Page {
    fn metadata(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(proceed) = &self.proceed {
            metadata["continue"] = proceed.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// `{"apiVersion":…,"items":[…],"kind":"…List","metadata":{…}}` out of finished items.
pub fn joined((api_version, kind): (&str, &str), items: &[Bytes], metadata: &Value) -> Bytes {
    let length: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 256);
    out.extend_from_slice(format!(r#"{{"apiVersion":"{api_version}","items":["#).as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(format!(r#"],"kind":"{kind}List","metadata":{metadata}}}"#).as_bytes());
    out.into()
}
