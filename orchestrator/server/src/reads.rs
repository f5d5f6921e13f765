//! What reads share: which revision a client asks for, and the picture that answers it.

use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Revision, Snapshot};

use crate::call::Call;
use crate::kinds::Problem;
use crate::limits::FUTURE_WAIT_SECONDS;
use crate::reply::Status;
use crate::route::Query;

/// `resourceVersion`: `None` when unset (the newest there is), 0 for whatever is at hand.
pub fn revision(query: &Query) -> Result<Option<Revision>, Status> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    let revision = text.parse().map_err(|_| {
        Status::bad_request(format!("Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"))
    })?;
    Ok(Some(revision))
}

/// A picture not older than asked: unset is linearizable, a future revision is waited for a little.
pub async fn snapshot(call: &Call, revision: Option<Revision>) -> Result<Arc<dyn Snapshot>, Status> {
    let store = &call.server.store;
    match revision {
        None => store.barrier().await.map_err(|error| Status::store(error, call.kind(), ""))?,
        Some(revision) => reached(call, revision).await?,
    }
    Ok(store.snapshot())
}

/// Waits until the revision is here; 504 when it is not in time.
pub async fn reached(call: &Call, revision: Revision) -> Result<(), Status> {
    let store = &call.server.store;
    if store.snapshot().revision() >= revision {
        return Ok(());
    }
    let waited = tokio::time::timeout(Duration::from_secs(FUTURE_WAIT_SECONDS), store.reached(revision)).await;
    match waited {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Status::store(error, call.kind(), "")),
        Err(_) => Err(Status::too_new(revision, store.snapshot().revision())),
    }
}

/// The rules of `resourceVersionMatch` and `sendInitialEvents`, as upstream validates ListOptions.
pub fn check_list_options(query: &Query, is_watch: bool) -> Result<(), Status> {
    let mut problems = Vec::new();
    let mut forbid = |field: &str, why: &str| {
        let message = format!("Forbidden: {why}");
        problems.push(Problem { reason: "FieldValueForbidden", field: field.to_owned(), message });
    };
    let (matching, revision) = (query.get("resourceVersionMatch"), query.get("resourceVersion"));
    let initial = query.get("sendInitialEvents").is_some();
    if is_watch {
        if initial && matching.is_none() {
            forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !initial && matching.is_some() {
            forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if initial && matching.is_some_and(|matching| matching != "NotOlderThan") {
            forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if initial && query.flag("sendInitialEvents") && !query.flag("allowWatchBookmarks") {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for watch unless allowWatchBookmarks is set");
        }
        return refuse(&problems);
    }
    if initial {
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if let Some(matching) = matching {
        if query.get("continue").is_some() {
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
        }
        if revision.is_none() {
            forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if matching == "Exact" && revision == Some("0") {
            forbid("resourceVersionMatch", "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let message = format!("Unsupported value: \"{matching}\": supported values: \"Exact\", \"NotOlderThan\"");
            let field = "resourceVersionMatch".to_owned();
            problems.push(Problem { reason: "FieldValueNotSupported", field, message });
        }
    }
    refuse(&problems)
}

fn refuse(problems: &[Problem]) -> Result<(), Status> {
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid_kind(("meta.k8s.io", "ListOptions"), "", problems)) }
}
