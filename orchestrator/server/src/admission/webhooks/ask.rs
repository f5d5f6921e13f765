//! One webhook asked about one request: the review that goes out, the answer that comes back, and what a missing answer
//! means.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::matching::{described, scope, seen, taken_back};
use super::hook::Hook;
use crate::kinds::json::{entries, items, text};
use crate::registry::Entry;
use crate::reply::Status;
use crate::seams::AdmissionRequest;
use crate::webhook_client;

/// A request as the version of its resource that the webhook asked for.
pub struct Question {
    entry: Arc<Entry>,
    uid: String,
    object: Value,
    old: Value,
}

/// What a webhook that has nothing against a request says.
#[derive(Default)]
pub struct Answer {
    pub warnings: Vec<String>,
    patch: Option<Vec<u8>>,
}

impl Question {
    /// `None` when the webhook is not concerned.
    pub async fn of(hook: &Hook, request: &AdmissionRequest<'_>) -> Result<Option<Self>, Status> {
        let Some(entry) = hook.matcher.matches(request) else { return Ok(None) };
        let object = seen(request, &entry, request.object.as_ref()).await?;
        let old = seen(request, &entry, request.old).await?;
        if !hook.conditions.is_empty() {
            match hook.conditions.hold(&scope(request, &entry, (&object, &old))) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if hook.ignores_failure => return Ok(None),
                Err(why) => {
                    let why = format!("failed to evaluate matchConditions of webhook {:?}: {why}", hook.name);
                    return Err(Status::forbidden(request.kind, request.name, &why));
                }
            }
        }
        if request.dry_run && !hook.without_side_effects {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Status::bad_request(why));
        }
        let uid = uuid::Uuid::new_v4().to_string();
        Ok(Some(Self { entry, uid, object, old }))
    }

    pub async fn ask(&self, hook: &Hook, request: &AdmissionRequest<'_>) -> Result<Answer, Status> {
        let mut asked = described(request, &self.entry, &self.uid);
        asked["object"] = self.object.clone();
        asked["oldObject"] = self.old.clone();
        let review = json!({ "apiVersion": hook.review_version, "kind": "AdmissionReview", "request": asked });
        let answer = webhook_client::post(request.cluster, &hook.client, &review, hook.within).await;
        let answer = answer.map_err(|error| format!("failed to call webhook: {error}"));
        match answer.and_then(|review| self.read(&review, hook)) {
            Ok(response) => {
                for (key, value) in entries(&response["auditAnnotations"]) {
                    request.notes.add(format!("{}/{key}", hook.name), text(value).to_owned());
                }
                verdict(&response, hook)
            }
            Err(why) if hook.ignores_failure => {
                tracing::warn!(webhook = hook.name, why, "a webhook that may fail failed");
                let kind = if hook.mutates { "mutation" } else { "validating" };
                let key = format!("failed-open.{kind}.webhook.admission.k8s.io/round_0_index_{}", hook.index);
                request.notes.add(key, hook.name.clone());
                Ok(Answer::default())
            }
            Err(why) => Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name))),
        }
    }

    /// The response of a review that answers this one.
    fn read(&self, review: &Value, hook: &Hook) -> Result<Value, String> {
        if review["kind"] != "AdmissionReview" || review["apiVersion"] != hook.review_version {
            let wanted = hook.review_version;
            let got = format!("{}, Kind={}", text(&review["apiVersion"]), text(&review["kind"]));
            return Err(format!(
                "received invalid webhook response: expected webhook response of {wanted}, Kind=AdmissionReview, got {got}"
            ));
        }
        let response = &review["response"];
        if !response.is_object() {
            return Err("received invalid webhook response: webhook response was absent".to_owned());
        }
        if response["uid"] != self.uid.as_str() {
            let got = text(&response["uid"]);
            return Err(format!(
                "received invalid webhook response: expected response.uid={:?}, got {got:?}",
                self.uid
            ));
        }
        Ok(response.clone())
    }

    /// The request's object after the patch; `None` when nothing is patched.
    pub async fn patched(
        &self,
        hook: &Hook,
        request: &AdmissionRequest<'_>,
        answer: Answer,
    ) -> Result<Option<Value>, Status> {
        let Some(patch) = answer.patch.filter(|patch| !patch.is_empty()) else { return Ok(None) };
        if self.object.is_null() {
            let why = format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            );
            return Err(Status::internal(why));
        }
        let patched = amphipod_schema::patch::json_patch(&self.object, &patch);
        let patched =
            patched.map_err(|error| Status::internal(format!("failed calling webhook {:?}: {error}", hook.name)))?;
        let ty = if request.own_kind().is_some() { request.body_type() } else { self.entry.ty };
        let parsed = amphipod_schema::check(patched, ty);
        let parsed =
            parsed.map_err(|error| Status::internal(format!("failed calling webhook {:?}: {error}", hook.name)))?;
        taken_back(request, &self.entry, parsed.value).await.map(Some)
    }
}

fn verdict(response: &Value, hook: &Hook) -> Result<Answer, Status> {
    let warnings = items(&response["warnings"]).iter().map(|warning| text(warning).to_owned()).collect();
    if response["allowed"] != true {
        return Err(Status { warnings, ..denied(&response["status"], &hook.name) });
    }
    let patch = text(&response["patch"]);
    let patch = if patch.is_empty() { None } else { STANDARD.decode(patch).ok() };
    Ok(Answer { warnings, patch })
}

fn denied(result: &Value, name: &str) -> Status {
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text(&result["message"]), text(&result["reason"])) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0).max(400);
    Status::of_others(code, message, result)
}
