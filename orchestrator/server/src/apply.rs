//! Server-side apply: PATCH with a configuration in YAML. It creates what is absent; else it goes the road of every update.

mod strict;

use amphipod_schema::apply::{self, Applied, ApplyError, Conflict, Force};
use amphipod_schema::managed_fields::Manager;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::body::Expected;
use crate::call::{Call, Tracking, WriteOptions};
use crate::forms::{self, Done};
use crate::kinds::Problem;
use crate::reply::Status;
use crate::{body, create, managed, stamp, update};

pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

pub async fn apply(call: Call, bytes: Bytes) -> Result<Response, Status> {
    let options = WriteOptions { tracking: Tracking::Given, ..WriteOptions::of(&call)? };
    if call.query().get("fieldManager").is_none_or(str::is_empty) {
        let message = "Required value: is required for apply patch".to_owned();
        let problem = Problem { reason: "FieldValueRequired", field: "fieldManager".to_owned(), message };
        return Err(Status::invalid_kind(("meta.k8s.io", "PatchOptions"), "", &[problem]));
    }
    let expected = body::expected(&call);
    let parsed = expected.parse_yaml(&bytes).map_err(|error| body::refused(error, &expected))?;
    let warnings = strict::verdict(&call, &bytes, &parsed.problems, options.validation)?;
    let mut config = parsed.value;
    check_version(&config, &expected)?;
    body::check_type(&config, &expected)?;
    stamp::place(&mut config, &call, call.name())?;
    let is_new = call.subresource().is_empty() && update::read(&call, call.name()).is_err();
    let (mut written, done) = if is_new {
        let value = merged(&call, &options, (None, &config))?;
        (create::store_new(&call, &options, value).await?, Done::Created)
    } else {
        let mut change = |old: &Value| merged(&call, &options, (Some(old), &config));
        (update::modify(&call, &options, &mut change).await?, Done::Ok)
    };
    written.warnings.extend(warnings);
    forms::written(&call, written, done).await
}

/// A configuration says itself what it is of; nothing is taken for granted.
fn check_version(config: &Value, expected: &Expected) -> Result<(), Status> {
    let word = |field: &str| config[field].as_str().unwrap_or_default();
    let (given, wanted) = (word("apiVersion"), &expected.api_version);
    if given != *wanted {
        let what = "Incorrect version specified in apply patch.";
        return Err(Status::bad_request(format!("{what} Specified patch version: {given}, expected: {wanted}")));
    }
    if word("kind").is_empty() {
        return Err(Status::bad_request(format!("invalid object type: {given}, Kind=")));
    }
    Ok(())
}

/// The live object with the configuration in it, and its managedFields.
fn merged(call: &Call, options: &WriteOptions, (live, config): (Option<&Value>, &Value)) -> Result<Value, Status> {
    let (time, api_version) = (stamp::time(call.server.now()), call.entry.api_version());
    let manager =
        Manager { name: &options.manager, api_version: &api_version, subresource: call.subresource(), time: &time };
    let force = if call.query().flag("force") { Force::Yes } else { Force::No };
    let entries = live.map_or(&Value::Null, |live| &live["metadata"]["managedFields"]);
    let applied = apply::apply(live, config, entries, (manager, force), call.entry.shape());
    let Applied { mut value, managed_fields } = applied.map_err(refused)?;
    managed::take(&mut value);
    managed::put_back(&mut value, managed_fields);
    Ok(value)
}

fn refused(error: ApplyError) -> Status {
    let message = error.to_string();
    let ApplyError::Conflicts(conflicts) = error else { return Status::bad_request(message) };
    let cause = |conflict: &Conflict| {
        let message = format!("conflict with {}", conflict.manager);
        json!({ "reason": "FieldManagerConflict", "message": message, "field": conflict.field })
    };
    Status::apply_conflict(message, conflicts.iter().map(cause).collect())
}
