//! DELETE of one object or a collection. `plan` decides by upstream's rules what a deletion is; the rest carries it out.
//!
//! ```text
//!  live ─ delete ─► pending (deletionTimestamp; grace or finalizers) ─ grace 0, last finalizer gone ─► removed
//!     └──────────────────────── nothing holds it ──────────────────────────────────────────────────────┘
//! ```

use std::sync::Arc;

use amphipod_store::{Guard, Object, Op};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::body::{self, Expected};
use crate::call::{Call, FieldValidation, WriteOptions, text};
use crate::forms;
use crate::kinds::custom_resource_definition::FINALIZER;
use crate::kinds::{Kind, Problem};
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::reply::{self, Status};
use crate::seams::{AdmissionRequest, Operation};
use crate::{list, stamp, update, versions, write};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// What a pod gets that says nothing itself.
const GRACE_SECONDS: i64 = 30;
/// Kinds whose removal answers with their last state instead of a Status.
const GIVE_LAST_STATE: &[&str] = &[
    "Pod",
    "Service",
    "ServiceAccount",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceQuota",
    "PodTemplate",
    "StorageClass",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "VolumeAttachment",
    "VolumeAttributesClass",
];
/// Kinds whose dependents stay when nobody says what is to become of them.
const ORPHANING: [(&str, &str); 2] = [("batch/v1", "Job"), ("v1", "ReplicationController")];
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// DeleteOptions, from the body or the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub grace_seconds: Option<i64>,
    pub policy: Option<Policy>,
    pub uid: Option<String>,
    pub revision: Option<String>,
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// What a deletion does to an object now.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Remove,
    /// It stays, marked or changed like this.
    Keep(Value),
    /// It stays as it is: an earlier deletion goes on.
    Pending,
}

/// What came of it.
pub enum Outcome {
    Removed { uid: String, last: Value },
    Pending(forms::Object),
}

pub async fn delete(call: Call, body: Body) -> Result<Response, Status> {
    let options = read_options(&call, body).await?;
    let (outcome, warnings) = delete_one(&call, &options).await?;
    let mut response = match outcome {
        Outcome::Pending(object) => reply::ok(forms::shaped(&call, forms::bytes(&call, &object).await?)?),
        Outcome::Removed { last, .. } if GIVE_LAST_STATE.contains(&call.kind().kind) => {
            reply::ok(forms::shaped(&call, last.to_string().into())?)
        }
        Outcome::Removed { uid, .. } => reply::ok(reply::success(call.kind(), call.name(), &uid).to_string().into()),
    };
    reply::warn(&mut response, &warnings);
    Ok(response)
}

pub async fn delete_collection(call: Call, body: Body) -> Result<Response, Status> {
    let options = read_options(&call, body).await?;
    let page = list::page(&call).await?;
    let mut items: Vec<Bytes> = Vec::with_capacity(page.objects.len());
    for object in &page.objects {
        let mut route = (*call.route).clone();
        route.attributes.name = object.key.name().to_owned();
        route.attributes.namespace = object.key.namespace().to_owned();
        let one = Call { route: Arc::new(route), ..call.clone() };
        match delete_one(&one, &options).await {
            Ok((Outcome::Pending(object), _)) => items.push(forms::bytes(&call, &object).await?),
            Ok((Outcome::Removed { last, .. }, _)) => items.push(last.to_string().into()),
            // Someone else was faster: it is gone, as was asked.
            Err(status) if status.reason == "NotFound" => {}
            Err(status) => return Err(status),
        }
    }
    let metadata = json!({ "resourceVersion": page.revision.to_string() });
    Ok(reply::ok(list::joined((&call.entry.api_version(), call.kind().kind), &items, &metadata)))
}

const NAMESPACE_IS_ENDING: &str = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.";

/// Carries one deletion through, again when another writer was faster.
pub async fn delete_one(call: &Call, options: &Options) -> Result<(Outcome, Vec<String>), Status> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        if let Some(done) = attempt(call, options).await? {
            return Ok(done);
        }
    }
    Err(Status::modified(call.kind(), call.name()))
}

async fn attempt(call: &Call, options: &Options) -> Result<Option<(Outcome, Vec<String>)>, Status> {
    let (server, kind, name) = (&call.server, call.kind(), call.name());
    let snapshot = server.store.snapshot();
    let key = call.entry.key(call.namespace(), name);
    let stored = snapshot.get(&key).ok_or_else(|| Status::not_found(kind, name))?;
    check_preconditions(call, options, &stored)?;
    let old = versions::value(server, &call.entry, &stored).await?;
    let cluster = server.cluster(snapshot);
    let now = server.now();
    let mut request = AdmissionRequest {
        old: Some(&old),
        warnings: warnings(kind, options),
        ..write::request(call, Operation::Delete, name, options.dry_run, &cluster)
    };
    write::admit(server, &mut request).await?;
    write::confirm(server, &mut request).await?;
    let step = plan(&old, options, now);
    if kind.kind == "Namespace" && step == Step::Pending {
        return Err(Status::conflict(kind, name, NAMESPACE_IS_ENDING));
    }
    let (op, kept) = match step {
        Step::Pending => return Ok(Some((Outcome::Pending(forms::Object::Stored(stored)), request.warnings))),
        Step::Keep(value) if options.dry_run => {
            return Ok(Some((Outcome::Pending(forms::Object::Dry(value)), request.warnings)));
        }
        Step::Keep(mut value) => {
            let managed_fields = crate::managed::take(&mut value);
            let (hub, meta) = versions::stored(server, &call.entry, value).await?;
            let payload = server.codec.payload(&hub, &managed_fields, call.entry.sealed.then_some(&key));
            (Op::Put { key: key.clone(), meta, payload }, true)
        }
        Step::Remove => (Op::Delete { key: key.clone() }, false),
    };
    if !kept {
        write::removed(server, &mut request);
    }
    let uid = stored.meta.uid.clone();
    let AdmissionRequest { explain, warnings, guards, ops, .. } = request;
    let guards = [vec![Guard::Revision(key, stored.revision)], guards].concat();
    let ops = [vec![op], ops].concat();
    if options.dry_run {
        return Ok(Some((Outcome::Removed { uid, last: old }, warnings)));
    }
    match write::commit(server, ("delete", call.kind()), guards, ops).await {
        Ok(committed) => {
            let object = committed.objects.into_iter().next().flatten().filter(|_| kept);
            let removed = Outcome::Removed { uid, last: old };
            Ok(Some((object.map_or(removed, |object| Outcome::Pending(forms::Object::Stored(object))), warnings)))
        }
        Err(error) => match explain.iter().find_map(|explain| explain(&error)) {
            Some(status) => Err(status),
            None if update::is_race(&error) => Ok(None),
            None => Err(Status::store(error, kind, name)),
        },
    }
}

/// What a client may not have thought of.
fn warnings(kind: &Kind, options: &Options) -> Vec<String> {
    let pods_stay = kind.kind == "Job" && options.policy.is_none();
    pods_stay.then(|| PODS_STAY.to_owned()).into_iter().collect()
}

fn check_preconditions(call: &Call, options: &Options, stored: &Object) -> Result<(), Status> {
    let (kind, name) = (call.kind(), call.name());
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != stored.meta.uid) {
        return Err(Status::uid_differs(kind, name, uid, &stored.meta.uid));
    }
    let revision = options.revision.as_ref().filter(|revision| **revision != stored.revision.to_string());
    revision.map_or(Ok(()), |revision| Err(Status::revision_differs(kind, name, revision, stored.revision)))
}

/// Upstream's rules, pure. `old` has its managedFields; they stay as they are.
pub fn plan(old: &Value, options: &Options, now: Timestamp) -> Step {
    if text(old, &["kind"]) == "Namespace" && text(old, &["apiVersion"]) == "v1" {
        return plan_namespace(old, options, now);
    }
    let grace = grace_of_pod(old, options);
    let earlier = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if let (true, Some(before)) = (stamp::is_terminating(old), earlier) {
        return plan_again(old, options, before);
    }
    let mut new = old.clone();
    let mut finalizers = marked(old, options.policy.or_else(|| usual_policy(old)));
    if holds_objects(old) && !stamp::is_terminating(old) && !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
        crate::custom::cleanup::mark(&mut new, &stamp::time(now));
    }
    set_finalizers(&mut new, &finalizers);
    if stamp::is_terminating(old) {
        return if finalizers.is_empty() { Step::Remove } else { Step::Pending };
    }
    let grace = grace.unwrap_or(0);
    if grace == 0 && finalizers.is_empty() {
        return Step::Remove;
    }
    mark(&mut new, grace, now);
    Step::Keep(new)
}

/// A definition is held until the objects of its kind are gone.
fn holds_objects(old: &Value) -> bool {
    text(old, &["kind"]) == "CustomResourceDefinition" && text(old, &["apiVersion"]) == "apiextensions.k8s.io/v1"
}

/// A namespace goes when its content and its finalizers are gone.
fn plan_namespace(old: &Value, options: &Options, now: Timestamp) -> Step {
    let own = old["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    let finalizers = marked(old, options.policy);
    if !stamp::is_terminating(old) {
        if !own && finalizers.is_empty() {
            return Step::Remove;
        }
        let mut new = old.clone();
        set_finalizers(&mut new, &finalizers);
        stamp::metadata(&mut new).insert("deletionTimestamp".to_owned(), stamp::time(now).into());
        new["status"]["phase"] = "Terminating".into();
        return Step::Keep(new);
    }
    if own || !finalizers.is_empty() { Step::Pending } else { Step::Remove }
}

/// The deletion is under way already; only a shorter grace changes it.
fn plan_again(old: &Value, options: &Options, before: i64) -> Step {
    let held = !stamp::finalizers(old).is_empty();
    let Some(wanted) = options.grace_seconds.filter(|wanted| *wanted < before) else {
        return if before == 0 && !held { Step::Remove } else { Step::Pending };
    };
    let wanted = if wanted < 0 { 1 } else { wanted };
    if wanted == 0 && !held {
        return Step::Remove;
    }
    let mut new = old.clone();
    let at: Option<Timestamp> = text(old, &["metadata", "deletionTimestamp"]).parse().ok();
    if let Some(at) = at {
        mark_at(&mut new, wanted, later(at, wanted.saturating_sub(before)));
    }
    Step::Keep(new)
}

/// `None` for kinds that go at once.
fn grace_of_pod(old: &Value, options: &Options) -> Option<i64> {
    if text(old, &["kind"]) != "Pod" || text(old, &["apiVersion"]) != "v1" {
        return None;
    }
    let at_rest = matches!(text(old, &["status", "phase"]), "Succeeded" | "Failed");
    if text(old, &["spec", "nodeName"]).is_empty() || at_rest {
        return Some(0);
    }
    let own = old["spec"]["terminationGracePeriodSeconds"].as_i64();
    let grace = options.grace_seconds.or(own).unwrap_or(GRACE_SECONDS);
    Some(if grace < 0 { 1 } else { grace })
}

/// What a kind does when neither the client nor a finalizer says it.
fn usual_policy(old: &Value) -> Option<Policy> {
    let kind = (text(old, &["apiVersion"]), text(old, &["kind"]));
    let is_said = stamp::finalizers(old).iter().any(|name| name == FOREGROUND || name == ORPHAN);
    (!is_said && ORPHANING.contains(&kind)).then_some(Policy::Orphan)
}

/// The finalizers after the policy had its say.
fn marked(old: &Value, policy: Option<Policy>) -> Vec<String> {
    let mut finalizers = stamp::finalizers(old);
    let Some(policy) = policy else { return finalizers };
    finalizers.retain(|name| name != FOREGROUND && name != ORPHAN);
    match policy {
        Policy::Background => {}
        Policy::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Policy::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    finalizers
}

fn set_finalizers(value: &mut Value, finalizers: &[String]) {
    let metadata = stamp::metadata(value);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

fn mark(value: &mut Value, grace: i64, now: Timestamp) {
    mark_at(value, grace, later(now, grace));
    if value["metadata"]["generation"].is_i64() || value["metadata"]["generation"].is_u64() {
        stamp::bump_generation(value);
    }
}

/// As late as time goes: a grace period may be longer.
fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn mark_at(value: &mut Value, grace: i64, at: Timestamp) {
    let metadata = stamp::metadata(value);
    metadata.insert("deletionTimestamp".to_owned(), stamp::time(at).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
}

async fn read_options(call: &Call, body: Body) -> Result<Options, Status> {
    let query = call.query();
    let dry_run = WriteOptions::of(call)?.dry_run;
    let bytes = body::bytes(body).await?;
    let given = if bytes.is_empty() { json!({}) } else { decode_options(call, &bytes)? };
    let mut options = from_json(&given)?;
    options.dry_run |= dry_run;
    if options.grace_seconds.is_none() {
        options.grace_seconds = query.integer("gracePeriodSeconds").map_err(Status::bad_request)?;
    }
    if options.policy.is_none() {
        options.policy = query.get("propagationPolicy").map(policy).transpose()?;
    }
    Ok(options)
}

fn decode_options(call: &Call, bytes: &Bytes) -> Result<Value, Status> {
    let (content_type, own) = (call.header(CONTENT_TYPE), call.entry.api_version());
    // Every group has DeleteOptions of this one shape.
    let mut last = None;
    for version in ["v1", "meta.k8s.io/v1", own.as_str()] {
        let expected = Expected::known(version, "DeleteOptions");
        match body::decode((content_type, bytes), &expected, FieldValidation::Ignore) {
            Ok(input) => return Ok(input.value),
            Err(status) => last = last.or(Some(status)),
        }
    }
    Err(last.expect("three versions were tried"))
}

/// DeleteOptions as JSON.
pub fn from_json(given: &Value) -> Result<Options, Status> {
    let own = |path: &[&str]| Some(text(given, path)).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut policy_given = own(&["propagationPolicy"]).map(|name| policy(&name)).transpose()?;
    if let (None, Some(orphan)) = (policy_given, given["orphanDependents"].as_bool()) {
        policy_given = Some(if orphan { Policy::Orphan } else { Policy::Background });
    }
    Ok(Options {
        grace_seconds: given["gracePeriodSeconds"].as_i64(),
        policy: policy_given,
        uid: own(&["preconditions", "uid"]),
        revision: own(&["preconditions", "resourceVersion"]),
        dry_run: given["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
    })
}

fn policy(name: &str) -> Result<Policy, Status> {
    match name {
        "Background" => Ok(Policy::Background),
        "Foreground" => Ok(Policy::Foreground),
        "Orphan" => Ok(Policy::Orphan),
        other => {
            let message =
                format!("Unsupported value: \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\"");
            let problem = Problem { reason: "FieldValueNotSupported", field: "propagationPolicy".to_owned(), message };
            Err(Status::invalid_kind(("", "DeleteOptions"), "", &[problem]))
        }
    }
}
