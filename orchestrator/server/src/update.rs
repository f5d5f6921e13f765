//! PUT, and the one loop through which every change of a stored object goes (patches and subresources too):
//!
//! ```text
//!  read ─► change ─► keep what is ours ─► default ─► admit ─► validate ─► commit ─► done
//!    ▲                                                                      │ someone was faster
//!    └──────────────────────────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;

use amphipod_schema::managed_fields;
use amphipod_store::{Error, Found, Guard, Key, Object, Op};
use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use crate::call::{Call, Tracking, WriteOptions, text};
use crate::forms::{self, Done, Written};
use crate::kinds::Problem;
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Operation};
use crate::{body, create, managed, stamp, subresources, versions, write};

/// The new object out of the stored one. It is asked again when another writer was faster.
pub type Change<'a> = &'a mut (dyn FnMut(&Value) -> Result<Value, Status> + Send);

pub async fn update(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let input = body::object(&call, body, options.validation).await?;
    let mut value = input.value;
    stamp::place(&mut value, &call, call.name())?;
    if call.kind().update.creates && read(&call, call.name()).is_err() {
        let mut written = create::store_new(&call, &options, value).await?;
        written.warnings.extend(input.warnings);
        return forms::written(&call, written, Done::Created).await;
    }
    check_revision_given(&call, &value)?;
    let mut written = modify(&call, &options, &mut |_| Ok(value.clone())).await?;
    written.warnings.extend(input.warnings);
    forms::written(&call, written, Done::Ok).await
}

/// Kinds that many write to must say which state they saw.
pub fn check_revision_given(call: &Call, value: &Value) -> Result<(), Status> {
    if call.kind().update.unconditional || !text(value, &["metadata", "resourceVersion"]).is_empty() {
        return Ok(());
    }
    let message = "Invalid value: 0: must be specified for an update".to_owned();
    let problem = Problem { reason: "FieldValueInvalid", field: "metadata.resourceVersion".to_owned(), message };
    Err(Status::invalid(call.kind(), call.name(), &[problem]))
}

/// The stored object of this name.
pub fn read(call: &Call, name: &str) -> Result<Arc<Object>, Status> {
    let object = call.server.store.snapshot().get(&call.entry.key(call.namespace(), name));
    object.ok_or_else(|| Status::not_found(call.kind(), name))
}

/// Carries a change through until it is stored, refused, or turns out to change nothing.
pub async fn modify(call: &Call, options: &WriteOptions, change: Change<'_>) -> Result<Written, Status> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        if let Some(written) = attempt(call, options, change).await? {
            return Ok(written);
        }
    }
    Err(Status::modified(call.kind(), call.name()))
}

/// `None`: the object changed while we worked on it.
async fn attempt(call: &Call, options: &WriteOptions, change: Change<'_>) -> Result<Option<Written>, Status> {
    let (server, kind, name) = (&call.server, call.kind(), call.name());
    let snapshot = server.store.snapshot();
    let key = call.entry.key(call.namespace(), name);
    let stored = snapshot.get(&key).ok_or_else(|| Status::not_found(kind, name))?;
    let mut old = versions::value(server, &call.entry, &stored).await?;
    let mut new = change(&old)?;
    check_preconditions(call, &new, &stored)?;
    let (entries, old_entries) = entries((call, options), &mut new, &mut old);
    stamp::keep(&mut new, &old);
    subresources::confine(call, &mut new, &old);
    write::fill_defaults(&mut new, &call.entry);
    write::shape(&mut new, &call.entry);
    if kind.update.generation {
        stamp::count_generation(&mut new, &old, &call.entry);
    }
    let cluster = server.cluster(snapshot);
    let (shown, shown_old) = subresources::shown(call, &new, &old);
    let mut request = AdmissionRequest {
        subresource: call.subresource(),
        object: Some(shown.unwrap_or_else(|| std::mem::take(&mut new))),
        old: Some(shown_old.as_ref().unwrap_or(&old)),
        ..write::request(call, Operation::Update, name, options.dry_run, &cluster)
    };
    let new = admitted(call, &mut request, (new, &old)).await?;
    let unchanged = new == old && entries == old_entries;
    if unchanged && !leaves(&new, &old) {
        return Ok(Some(Written { object: forms::Object::Stored(stored), warnings: request.warnings }));
    }
    let writer = managed::Writer { call, options, now: server.now() };
    let managed_fields = writer.updated(&old, &new, &entries);
    finish(call, options, (new, managed_fields, &stored, key), request).await
}

/// The object after admission and validation. `new` is empty where admission is shown the object itself.
async fn admitted(
    call: &Call,
    request: &mut AdmissionRequest<'_>,
    (mut new, old): (Value, &Value),
) -> Result<Value, Status> {
    let (server, kind, name) = (&call.server, call.kind(), call.name());
    // The scheduler's word was admitted as the Binding that it is.
    let asks = call.subresource() != "binding";
    if asks {
        write::admit(server, request).await?;
    }
    let left = request.object.as_mut().expect("plug-ins leave an object");
    let is_part = !new.is_null();
    if is_part {
        subresources::take_over(call, left, &mut new);
    }
    let object = if is_part { &mut new } else { left };
    write::shape(object, &call.entry);
    write::check(kind, name, problems(call, object, old))?;
    if asks {
        write::confirm(server, request).await?;
    }
    let left = request.object.take().expect("plug-ins leave an object");
    Ok(if is_part { new } else { left })
}

/// Both sides' managedFields taken out: those in force, and the stored ones.
fn entries((call, options): (&Call, &WriteOptions), new: &mut Value, old: &mut Value) -> (Value, Value) {
    let old_entries = managed::take(old);
    stamp::metadata(old).remove("resourceVersion");
    let given = managed::take(new);
    stamp::metadata(new).remove("resourceVersion");
    let entries = match options.tracking {
        Tracking::Given => given,
        Tracking::Changes => managed_fields::entries_in_force(&given, &old_entries, call.subresource()),
    };
    (entries, old_entries)
}

/// A resourceVersion or uid in the new object is what the client believes to change.
fn check_preconditions(call: &Call, new: &Value, stored: &Object) -> Result<(), Status> {
    let (kind, name) = (call.kind(), call.name());
    let revision = text(new, &["metadata", "resourceVersion"]);
    if !revision.is_empty() && revision != "0" && revision != stored.revision.to_string() {
        if revision.parse::<u64>().is_err() {
            let message = format!("Invalid value: \"{revision}\": must be a number");
            let problem =
                Problem { reason: "FieldValueInvalid", field: "metadata.resourceVersion".to_owned(), message };
            return Err(Status::invalid(kind, name, &[problem]));
        }
        return Err(Status::modified(kind, name));
    }
    let uid = text(new, &["metadata", "uid"]);
    if !uid.is_empty() && uid != stored.meta.uid {
        return Err(Status::uid_differs(kind, name, uid, &stored.meta.uid));
    }
    Ok(())
}

fn problems(call: &Call, new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = call.entry.problems(new, Some(old));
    problems.extend(subresources::problems(call, new, old));
    problems
}

/// A terminating object whose last finalizer goes with this change goes too.
fn leaves(new: &Value, old: &Value) -> bool {
    let grace = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let is_namespace = text(new, &["kind"]) == "Namespace" && text(new, &["apiVersion"]) == "v1";
    let held = |value: &Value| {
        let own = value["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        !stamp::finalizers(value).is_empty() || (is_namespace && own)
    };
    stamp::is_terminating(new) && grace == 0 && !held(new) && held(old)
}

async fn finish(
    call: &Call,
    options: &WriteOptions,
    (mut new, managed_fields, stored, key): (Value, Value, &Arc<Object>, Key),
    mut request: AdmissionRequest<'_>,
) -> Result<Option<Written>, Status> {
    let (server, kind, name) = (&call.server, call.kind(), call.name());
    let is_leaving = leaves(&new, request.old.expect("an update has an old object"));
    if options.dry_run || is_leaving {
        managed::put_back(&mut new, managed_fields.clone());
        stamp::metadata(&mut new).insert("resourceVersion".to_owned(), stored.revision.to_string().into());
    }
    if options.dry_run {
        return Ok(Some(Written { object: forms::Object::Dry(new), warnings: request.warnings }));
    }
    let mut ops = if is_leaving {
        write::removed(server, &mut request);
        vec![Op::Delete { key: key.clone() }]
    } else {
        let (hub, meta) = versions::stored(server, &call.entry, std::mem::take(&mut new)).await?;
        let payload = server.codec.payload(&hub, &managed_fields, call.entry.sealed.then_some(&key));
        vec![Op::Put { key: key.clone(), meta, payload }]
    };
    ops.append(&mut request.ops);
    let mut guards = vec![Guard::Revision(key, stored.revision)];
    guards.append(&mut request.guards);
    let warnings = std::mem::take(&mut request.warnings);
    match write::commit(server, ("update", call.kind()), guards, ops).await {
        Ok(committed) if !is_leaving => {
            let object = committed.objects.into_iter().next().flatten().expect("the transaction put an object");
            Ok(Some(Written { object: forms::Object::Stored(object), warnings }))
        }
        Ok(_) => Ok(Some(Written { object: forms::Object::Dry(new), warnings })),
        Err(error) => match request.explain.iter().find_map(|explain| explain(&error)) {
            Some(status) => Err(status),
            None if is_race(&error) => Ok(None),
            None => Err(Status::store(error, kind, name)),
        },
    }
}

/// Our own guard, the first one: read again.
pub fn is_race(error: &Error) -> bool {
    matches!(error, Error::Guard { index: 0, found: Found::Revision(_) | Found::Absent })
}
