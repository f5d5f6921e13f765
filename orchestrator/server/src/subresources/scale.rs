//! `/scale`: how many, seen as autoscaling/v1 Scale. `confine` is not asked: only `spec.replicas` moves.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions, text};
use crate::kinds::Problem;
use crate::patch::Patch;
use crate::reply::{self, Status};
use crate::{forms, update, versions};

const EXPECTED: &str = "autoscaling/v1";

pub async fn get(call: Call) -> Result<Response, Status> {
    let stored = update::read(&call, call.name())?;
    let scale = of(&call, &versions::value(&call.server, &call.entry, &stored).await?);
    Ok(reply::ok(forms::shaped(&call, scale.to_string().into())?))
}

pub async fn update(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let expected = Expected::known(EXPECTED, "Scale");
    let bytes = body::bytes(body).await?;
    let wanted = body::decode((call.header(http::header::CONTENT_TYPE), &bytes), &expected, options.validation)?.value;
    change(&call, &options, &mut |_| Ok(wanted.clone())).await
}

pub async fn patch(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let bytes = body::bytes(body).await?;
    let patch = Patch::parse(&call, bytes)?;
    let expected = Expected::known(EXPECTED, "Scale");
    let mut patched = |scale: &Value| {
        let input = patch.apply_as(scale, (&expected, &options));
        Ok(input.map_err(|refusal| refusal.refusal(&call))?.value)
    };
    change(&call, &options, &mut patched).await
}

async fn change(call: &Call, options: &WriteOptions, change: update::Change<'_>) -> Result<Response, Status> {
    let mut replicas = |old: &Value| {
        let scale = change(&of(call, old))?;
        let replicas = match &scale["spec"]["replicas"] {
            Value::Null => 0,
            value => value.as_i64().ok_or_else(|| Status::bad_request("spec.replicas is not an integer"))?,
        };
        if replicas < 0 {
            let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            let problem = Problem { reason: "FieldValueInvalid", field: "spec.replicas".to_owned(), message };
            return Err(Status::invalid_kind(("autoscaling", "Scale"), call.name(), &[problem]));
        }
        let mut new = old.clone();
        put(call, replicas, &mut new);
        if let Some(revision) = scale["metadata"].get("resourceVersion") {
            new["metadata"]["resourceVersion"] = revision.clone();
        }
        Ok(new)
    };
    let written = update::modify(call, options, &mut replicas).await?;
    let scale = of(call, &forms::value(call, &written.object).await?);
    Ok(reply::ok(forms::shaped(call, scale.to_string().into())?))
}

/// Where the number stands, a custom kind says itself.
pub(super) fn put(call: &Call, replicas: i64, object: &mut Value) {
    match call.entry.kind.custom().and_then(|custom| custom.scale.as_ref()) {
        Some(paths) => paths.spec_replicas.set(object, replicas.into()),
        None => object["spec"]["replicas"] = replicas.into(),
    }
}

/// The Scale of an object; where its numbers stand, a custom kind says itself.
pub(super) fn of(call: &Call, object: &Value) -> Value {
    let custom = call.entry.kind.custom().and_then(|custom| custom.scale.as_ref());
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let replicas = |part: &str| {
        let at = custom.map(|paths| if part == "spec" { &paths.spec_replicas } else { &paths.status_replicas });
        let found = at.map_or(object[part].get("replicas"), |path| path.first(object));
        found.and_then(Value::as_i64).unwrap_or(0)
    };
    let mut status = json!({ "replicas": replicas("status") });
    let selector = match custom {
        Some(paths) => {
            let found = paths.selector.as_ref().and_then(|path| path.first(object)?.as_str());
            found.unwrap_or_default().to_owned()
        }
        None => selector(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    let mut spec = json!({});
    if replicas("spec") != 0 {
        spec["replicas"] = replicas("spec").into();
    }
    json!({ "kind": "Scale", "apiVersion": EXPECTED, "metadata": metadata, "spec": spec, "status": status })
}

/// A LabelSelector (or a plain map) as the text clients put into `labelSelector`.
pub fn selector(selector: &Value) -> String {
    let is_set_based = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if is_set_based { &selector["matchLabels"] } else { selector };
    let mut terms: Vec<String> = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        terms.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(expression, &["key"]);
        let values = expression["values"].as_array().into_iter().flatten();
        let values = values.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        terms.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    terms.join(",")
}
