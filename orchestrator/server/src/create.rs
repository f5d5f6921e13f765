//! POST: decode, default, admit, validate, stamp, commit. uid, time and generated names enter here, once.

use amphipod_store::{Error, Found, Guard, Key, Op};
use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use crate::call::{Call, WriteOptions, text};
use crate::forms::{self, Done, Written};
use crate::kinds::{Problem, Scope};
use crate::limits::NAME_ATTEMPTS_MAX;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Operation};
use crate::{body, managed, stamp, versions, write};

/// While the definition of a kind is being deleted.
const TERMINATING: &str = "create not allowed while custom resource definition is terminating";

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let input = body::object(&call, body, options.validation).await?;
    let mut value = input.value;
    stamp::place(&mut value, &call, "")?;
    let mut written = store_new(&call, &options, value).await?;
    written.warnings.extend(input.warnings);
    forms::written(&call, written, Done::Created).await
}

/// Stores a decoded object, finding a free name for `generateName`.
pub async fn store_new(call: &Call, options: &WriteOptions, mut value: Value) -> Result<Written, Status> {
    if !text(&value, &["metadata", "resourceVersion"]).is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if !text(&value, &["metadata", "name"]).is_empty() {
        return create_once(call, options, value).await;
    }
    let prefix = text(&value, &["metadata", "generateName"]).to_owned();
    if prefix.is_empty() {
        let message = "Required value: name or generateName is required".to_owned();
        let problem = Problem { reason: "FieldValueRequired", field: "metadata.name".to_owned(), message };
        return Err(Status::invalid(call.kind(), "", &[problem]));
    }
    let mut taken = None;
    for _ in 0..NAME_ATTEMPTS_MAX {
        value["metadata"]["name"] = stamp::generated_name(&prefix).into();
        match create_once(call, options, value.clone()).await {
            Err(status) if status.reason == "AlreadyExists" => taken = Some(status),
            done => return done,
        }
    }
    Err(taken.expect("every attempt found a name taken"))
}

async fn create_once(call: &Call, options: &WriteOptions, mut value: Value) -> Result<Written, Status> {
    let (server, kind) = (&call.server, call.kind());
    if call.entry.kind.custom().is_some_and(|custom| custom.is_terminating) {
        return Err(Status::method_not_allowed_because(TERMINATING));
    }
    let now = server.now();
    stamp::new(&mut value, kind, now);
    (kind.prepare_create)(&mut value);
    write::fill_defaults(&mut value, &call.entry);
    write::shape(&mut value, &call.entry);
    let managed_fields = managed::Writer { call, options, now }.created(&mut value);
    let name = text(&value, &["metadata", "name"]).to_owned();
    let cluster = server.cluster(server.store.snapshot());
    let mut request = AdmissionRequest {
        object: Some(value),
        ..write::request(call, Operation::Create, &name, options.dry_run, &cluster)
    };
    write::admit(server, &mut request).await?;
    let object = request.object.as_mut().expect("plug-ins leave an object");
    write::shape(object, &call.entry);
    let problems = [call.entry.problems(object, None), (kind.validate_create)(object)].concat();
    write::check(kind, &name, problems)?;
    write::confirm(server, &mut request).await?;
    let mut value = request.object.take().expect("plug-ins leave an object");
    managed::take(&mut value);
    let key = call.entry.key(call.namespace(), &name);
    if options.dry_run {
        dry_run(call, &key)?;
        managed::put_back(&mut value, managed_fields);
        return Ok(Written { object: forms::Object::Dry(value), warnings: request.warnings });
    }
    let (stored, meta) = versions::stored(server, &call.entry, value).await?;
    let payload = server.codec.payload(&stored, &managed_fields, call.entry.sealed.then_some(&key));
    let mut guards = Vec::with_capacity(2 + request.guards.len());
    if kind.scope == Scope::Namespaced {
        guards.push(Guard::NamespaceActive(Key::new(server.catalog.load().registry.namespaces, "", call.namespace())));
    }
    guards.push(Guard::Absent(key.clone()));
    guards.append(&mut request.guards);
    let mut ops = vec![Op::Put { key, meta, payload }];
    ops.append(&mut request.ops);
    let committed = write::commit(server, ("create", call.kind()), guards, ops).await;
    let committed = committed.map_err(|error| refused(error, call, (&name, &request)))?;
    let object = committed.objects.into_iter().next().flatten().expect("the transaction put an object");
    Ok(Written { object: forms::Object::Stored(object), warnings: request.warnings })
}

/// What the guards would have said.
fn dry_run(call: &Call, key: &Key) -> Result<(), Status> {
    let server = &call.server;
    let snapshot = server.store.snapshot();
    if call.kind().scope == Scope::Namespaced {
        let namespace = snapshot.get(&Key::new(server.catalog.load().registry.namespaces, "", call.namespace()));
        match namespace {
            None => return Err(Status::not_found_resource(("", "namespaces"), call.namespace())),
            Some(namespace) if namespace.meta.terminating => return Err(terminating(call, key.name())),
            Some(_) => {}
        }
    }
    if snapshot.get(key).is_some() { Err(Status::already_exists(call.kind(), key.name())) } else { Ok(()) }
}

fn refused(error: Error, call: &Call, (name, request): (&str, &AdmissionRequest<'_>)) -> Status {
    if let Some(status) = request.explain.iter().find_map(|explain| explain(&error)) {
        return status;
    }
    match &error {
        Error::Guard { found: Found::NamespaceAbsent, .. } => {
            Status::not_found_resource(("", "namespaces"), call.namespace())
        }
        Error::Guard { found: Found::NamespaceTerminating, .. } => terminating(call, name),
        _ => Status::store(error, call.kind(), name),
    }
}

fn terminating(call: &Call, name: &str) -> Status {
    let namespace = call.namespace();
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = serde_json::json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    Status::forbidden(call.kind(), name, &why).with_causes(vec![cause])
}
