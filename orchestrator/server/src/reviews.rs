//! Kinds that are asked and never stored: access, subject and token reviews, and the old way to bind a pod.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::call::{Call, FieldValidation, text};
use crate::kinds::component_status::COMPONENT_STATUS;
use crate::kinds::json::items;
use crate::kinds::{Kind, Scope, resource_metrics};
use crate::reply::{self, Status};
use crate::route::equalities;
use crate::seams::{Attributes, Decision, Identity};
use crate::{accept, body, stamp, subresources, write};

const INVALID_TOKEN: &str = "invalid bearer token";

/// Kinds that are asked or said and never stored.
pub fn is_virtual(kind: &Kind) -> bool {
    std::ptr::eq(kind, &COMPONENT_STATUS) || kind.group == resource_metrics::GROUP || kind.verbs == ["create"]
}

/// Nothing is stored, so there is neither a table nor metadata to show.
pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    // Nobody asks for a verdict in columns.
    accept::without_table(&call.headers)?;
    let input = body::object(&call, body, FieldValidation::Warn).await?;
    let mut review = input.value;
    review["apiVersion"] = call.entry.api_version().into();
    review["kind"] = call.kind().kind.into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    if call.kind().scope == Scope::Namespaced {
        stamp::place(&mut review, &call, "")?;
    }
    if call.kind().kind != "Binding" {
        write::check(call.kind(), "", (call.kind().validate)(&review))?;
    }
    match call.kind().kind {
        "Binding" => return subresources::bind(&call, &review).await,
        "SelfSubjectReview" => review["status"] = json!({ "userInfo": user_info(&call.identity) }),
        "TokenReview" => token(&call, &mut review).await?,
        "SelfSubjectRulesReview" => rules(&call, &mut review)?,
        "SelfSubjectAccessReview" => review["status"] = access(&call, &review["spec"], &call.identity),
        _ => review["status"] = access(&call, &review["spec"], &subject(&review["spec"])),
    }
    Ok(reply::created(review.to_string().into()))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "username": identity.user, "groups": identity.groups });
    if let Some(uid) = &identity.uid {
        info["uid"] = uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

/// The same ways that let requests in judge the token.
async fn token(call: &Call, review: &mut Value) -> Result<(), Status> {
    let token = text(review, &["spec", "token"]).to_owned();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = list(&review["spec"]["audiences"]);
    let mut found = Ok(None);
    for way in &call.server.authenticators {
        found = way.review(&token, &audiences).await;
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    review["status"] = match found {
        Ok(Some((identity, met))) => {
            let mut status = json!({ "authenticated": true, "user": user_info(&identity) });
            if !met.is_empty() {
                status["audiences"] = json!(met);
            }
            status
        }
        Ok(None) => json!({ "user": {}, "error": INVALID_TOKEN }),
        Err(error) => json!({ "user": {}, "error": format!("[{INVALID_TOKEN}, {error}]") }),
    };
    Ok(())
}

fn rules(call: &Call, review: &mut Value) -> Result<(), Status> {
    let namespace = text(review, &["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = call.server.authorizer.rules(&call.identity, &namespace);
    review["status"] = json!({
        "resourceRules": rules.resource, "nonResourceRules": rules.non_resource, "incomplete": rules.incomplete,
    });
    if !rules.error.is_empty() {
        review["status"]["evaluationError"] = rules.error.into();
    }
    Ok(())
}

fn subject(spec: &Value) -> Identity {
    let (user, groups) = (text(spec, &["user"]).to_owned(), list(&spec["groups"]));
    let extra = spec["extra"].as_object().cloned().unwrap_or_else(Map::new);
    let extra = extra.iter().map(|(key, values)| (key.to_lowercase(), list(values))).collect();
    let uid = Some(text(spec, &["uid"]).to_owned()).filter(|uid| !uid.is_empty());
    Identity { user, groups, uid, extra }
}

fn list(value: &Value) -> Vec<String> {
    items(value).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn access(call: &Call, spec: &Value, identity: &Identity) -> Value {
    let (allowed, reason) = match call.server.authorizer.authorize(identity, &attributes(spec)) {
        Decision::Allowed { reason } => (true, reason),
        Decision::Denied { reason } => (false, reason),
    };
    let mut status = json!({ "allowed": allowed });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn attributes(spec: &Value) -> Attributes {
    let asked = &spec["resourceAttributes"];
    if asked.is_null() {
        let asked = &spec["nonResourceAttributes"];
        let path = Some(text(asked, &["path"]).to_owned());
        return Attributes { verb: text(asked, &["verb"]).to_owned(), path, ..Attributes::default() };
    }
    let field = |name: &str| text(asked, &[name]).to_owned();
    Attributes {
        verb: field("verb"),
        group: field("group"),
        version: field("version"),
        resource: field("resource"),
        subresource: field("subresource"),
        namespace: field("namespace"),
        name: field("name"),
        path: None,
        field_selector: field_selector(&asked["fieldSelector"]),
    }
}

/// The equalities of a selector that is given whole or in parts.
fn field_selector(selector: &Value) -> Vec<(String, String)> {
    let mut found = equalities(text(selector, &["rawSelector"]));
    for requirement in items(&selector["requirements"]) {
        if let ("In", [one]) = (text(requirement, &["operator"]), items(&requirement["values"])) {
            found.push((text(requirement, &["key"]).to_owned(), one.as_str().unwrap_or_default().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_narrow_what_is_asked() {
        let given = json!({"resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": {
            "rawSelector": "spec.nodeName=a,status.phase!=Failed",
            "requirements": [
                {"key": "x", "operator": "In", "values": ["1"]}, {"key": "y", "operator": "In", "values": ["1", "2"]},
                {"key": "z", "operator": "NotIn", "values": ["1"]},
            ],
        }}});
        let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        assert_eq!(attributes(&given).field_selector, [pair("spec.nodeName", "a"), pair("x", "1")]);
        let path = attributes(&json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}));
        assert_eq!((path.path.as_deref(), path.verb.as_str()), (Some("/metrics"), "get"));
    }
}
