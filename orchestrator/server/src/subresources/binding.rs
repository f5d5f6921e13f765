//! `pods/binding`: the scheduler's word. It is said once for a pod.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions, text};
use crate::kinds::Problem;
use crate::reply::{self, Status};
use crate::seams::Operation;
use crate::{stamp, update, write};

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let expected = Expected::known("v1", "Binding");
    let bytes = body::bytes(body).await?;
    let mut binding =
        body::decode((call.header(http::header::CONTENT_TYPE), &bytes), &expected, options.validation)?.value;
    binding["apiVersion"] = expected.api_version.into();
    binding["kind"] = expected.kind.into();
    carry_out(&call, &options, binding).await
}

/// The old address, `POST bindings`; the pod is named by the body.
pub async fn bind(call: &Call, binding: &Value) -> Result<Response, Status> {
    let options = WriteOptions::of(call)?;
    let pods = call.server.catalog.load().registry.find("", "v1", "pods").cloned().ok_or_else(Status::no_such_path)?;
    let mut route = (*call.route).clone();
    route.attributes.name = text(binding, &["metadata", "name"]).to_owned();
    route.attributes.resource = "pods".to_owned();
    route.attributes.subresource = "binding".to_owned();
    let call = Call { entry: pods, route: route.into(), ..call.clone() };
    carry_out(&call, &options, binding.clone()).await
}

async fn carry_out(call: &Call, options: &WriteOptions, binding: Value) -> Result<Response, Status> {
    let binding = &write::admit_body(call, Operation::Create, binding, options.dry_run).await?;
    let node = text(binding, &["target", "name"]).to_owned();
    let problem = |field: &str, message: &str| {
        let problem = Problem { reason: "FieldValueInvalid", field: field.to_owned(), message: message.to_owned() };
        Status::invalid_kind(("", "Binding"), call.name(), &[problem])
    };
    if node.is_empty() {
        return Err(problem("target.name", "Required value"));
    }
    if !matches!(text(binding, &["target", "kind"]), "" | "Node" | "Minion") {
        return Err(problem("target.kind", "Unsupported value: supported values: \"Node\", \"<empty>\""));
    }
    let (uid, now) = (text(binding, &["metadata", "uid"]).to_owned(), stamp::time(call.server.now()));
    update::modify(call, options, &mut |old| {
        let name = call.name();
        if !uid.is_empty() && uid != text(old, &["metadata", "uid"]) {
            return Err(Status::uid_differs(call.kind(), name, &uid, text(old, &["metadata", "uid"])));
        }
        let why = if stamp::is_terminating(old) {
            format!("pod {name} is being deleted, cannot be assigned to a host")
        } else if !text(old, &["spec", "nodeName"]).is_empty() {
            format!("pod {name} is already assigned to node \"{}\"", text(old, &["spec", "nodeName"]))
        } else if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
            format!("pod {name} has non-empty .spec.schedulingGates")
        } else {
            return Ok(bound(old, binding, (&node, &now)));
        };
        Err(Status::conflict_sub((call.kind(), "binding"), name, &why))
    })
    .await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::created(success.to_string().into()))
}

fn bound(old: &Value, binding: &Value, (node, now): (&str, &str)) -> Value {
    let mut pod = old.clone();
    pod["spec"]["nodeName"] = node.into();
    for part in ["annotations", "labels"] {
        for (key, value) in binding["metadata"][part].as_object().into_iter().flatten() {
            pod["metadata"][part][key] = value.clone();
        }
    }
    let conditions = pod["status"]["conditions"].take();
    let mut conditions: Vec<Value> = conditions.as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions
        .push(json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now }));
    pod["status"]["conditions"] = conditions.into();
    // What it waited for has come true.
    if let Some(status) = pod["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    pod
}
