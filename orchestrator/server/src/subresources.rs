//! Subresources: `confine` says which part of an object each may change; those with a kind of their own are
//! in the files of `subresources/`.

mod binding;
mod connect;
mod eviction;
mod proxy;
mod scale;
mod streams;
mod token;

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use crate::call::Call;
use crate::kinds::{Problem, certificate_signing_request, pod};
use crate::reply::Status;
use crate::{get, patch, update};

pub use binding::bind;
pub use scale::selector as selector_text;

pub async fn serve(call: Call, head: http::Request<()>, body: Body) -> Result<Response, Status> {
    let verb = call.route.attributes.verb.clone();
    match (call.subresource(), verb.as_str()) {
        ("scale", "get") => scale::get(call).await,
        ("scale", "update") => scale::update(call, body).await,
        ("scale", "patch") => scale::patch(call, body).await,
        ("binding", "create") => binding::create(call, body).await,
        ("eviction", "create") => eviction::create(call, body).await,
        ("token", "create") => token::create(call, body).await,
        ("log", "get") => streams::log(call, head).await,
        ("proxy", _) => proxy::serve(call, head, body).await,
        ("exec" | "attach" | "portforward", _) => streams::relay(call, head, body).await,
        (_, "get") => get::get(call).await,
        (_, "update") => update::update(call, body).await,
        (_, "patch") => patch::patch(call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// What admission sees of both sides, where that is not the object itself.
pub fn shown(call: &Call, new: &Value, old: &Value) -> (Option<Value>, Option<Value>) {
    match call.subresource() {
        "scale" => (Some(scale::of(call, new)), Some(scale::of(call, old))),
        _ => (None, None),
    }
}

/// What admission made of what it was shown, put into the object.
pub fn take_over(call: &Call, shown: &Value, object: &mut Value) {
    if call.subresource() == "scale" {
        scale::put(call, shown["spec"]["replicas"].as_i64().unwrap_or(0), object);
    }
}

/// Puts back from `old` whatever this address may not change.
pub fn confine(call: &Call, new: &mut Value, old: &Value) {
    match call.subresource() {
        "" => (call.kind().prepare_update)(new, old),
        "status" if call.kind().is_custom => {
            let status = new["status"].take();
            *new = old.clone();
            match status.is_null() {
                true => drop(new.as_object_mut().expect("an object is one").remove("status")),
                false => new["status"] = status,
            }
        }
        "status" => {
            only(new, old, &["status"]);
            if call.kind().kind == "CertificateSigningRequest" {
                certificate_signing_request::keep_approval(new, old);
                let now = crate::stamp::time(call.server.now());
                let conditions = new.pointer_mut("/status/conditions");
                conditions.into_iter().for_each(|list| certificate_signing_request::stamp_conditions(list, old, &now));
            }
        }
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].take();
            *new = old.clone();
            new["spec"]["finalizers"] = finalizers;
        }
        "ephemeralcontainers" => {
            let containers = new["spec"]["ephemeralContainers"].take();
            *new = old.clone();
            match containers.is_null() {
                true => drop(new["spec"].as_object_mut().expect("a pod has a spec").remove("ephemeralContainers")),
                false => new["spec"]["ephemeralContainers"] = containers,
            }
        }
        "approval" => {
            let mut conditions = new["status"]["conditions"].take();
            let now = crate::stamp::time(call.server.now());
            certificate_signing_request::stamp_conditions(&mut conditions, old, &now);
            new["status"] = old["status"].clone();
            only(new, old, &["status"]);
            new["status"]["conditions"] = conditions;
        }
        "resize" => resize(new, old),
        _ => {}
    }
}

/// What this address may not do to an object, beyond what makes it invalid.
pub fn problems(call: &Call, new: &Value, old: &Value) -> Vec<Problem> {
    match call.subresource() {
        "" | "status" | "approval" => (call.kind().validate_update)(new, old),
        "ephemeralcontainers" => pod::ephemeral::validate_update(new, old),
        "resize" => pod::resize::validate(new, old),
        _ => Vec::new(),
    }
}

/// Only these members, and of metadata what a status writer may touch.
fn only(new: &mut Value, old: &Value, members: &[&str]) {
    let mut kept = old.clone();
    for member in members {
        match new.get_mut(*member) {
            Some(value) if !value.is_null() => kept[*member] = value.take(),
            _ => drop(kept.as_object_mut().expect("an object is one").remove(*member)),
        }
    }
    for field in ["labels", "annotations", "finalizers"] {
        match new["metadata"].get_mut(field) {
            Some(value) if !value.is_null() => kept["metadata"][field] = value.take(),
            _ => drop(crate::stamp::metadata(&mut kept).remove(field)),
        }
    }
    *new = kept;
}

/// Resources of the containers that both sides have, in the old order; a changed set of containers is left to be refused.
fn resize(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    for list in ["containers", "initContainers"] {
        let wanted = new["spec"][list].as_array().cloned().unwrap_or_default();
        let Some(containers) = kept["spec"][list].as_array_mut() else { continue };
        let names = |containers: &[Value]| containers.iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        if names(containers) != names(&wanted) {
            *containers = wanted;
            continue;
        }
        for (container, wanted) in containers.iter_mut().zip(wanted) {
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = wanted.get(field) {
                    container[field] = value.clone();
                }
            }
        }
    }
    *new = kept;
}
