//! What clients are told: our errors become Kubernetes Statuses here, and only this file knows HTTP codes.

use std::borrow::Cow;

use amphipod_store::{Error, Found};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::kinds::{Kind, Problem};

/// A refusal in Kubernetes' words. Clients branch on `reason`; texts are upstream's.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub details: Option<Value>,
    /// What was to be said before it was refused.
    pub warnings: Vec<String>,
    /// `metadata.continue` of an expired list.
    pub proceed: Option<String>,
    pub retry_after_seconds: Option<u32>,
}

/// More of a node's refusal is of no use to anyone.
const REFUSAL_BYTES_MAX: usize = 50_000;
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Self { code, reason, message, details: None, warnings: Vec::new(), proceed: None, retry_after_seconds: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let mut details = serde_json::Map::new();
        for (field, value) in [("group", group), ("kind", kind), ("name", name)] {
            if !value.is_empty() {
                details.insert(field.to_owned(), value.into());
            }
        }
        self.details = Some(Value::Object(details));
        self
    }

    pub fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details.get_or_insert_with(|| json!({}))["causes"] = causes.into();
        self
    }

    pub fn with_cause(self, reason: &str, message: &str) -> Self {
        self.with_causes(vec![json!({ "reason": reason, "message": message })])
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// What somebody else decided, with their code, reason and details.
    pub fn of_others(code: u16, message: String, said: &Value) -> Self {
        let reason = said["reason"].as_str().unwrap_or_default().to_owned();
        let details = said.get("details").filter(|details| details.is_object()).cloned();
        Self { reason: reason.into(), details, ..Self::new(code, "", message) }
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// `pods "x" is forbidden: why`
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Self::forbidden_resource((kind.group, kind.plural), name, why)
    }

    pub fn forbidden_resource((group, resource): (&str, &str), name: &str, why: &str) -> Self {
        let qualified = qualified(group, resource);
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{qualified} is forbidden: {why}"),
            (_, name) => format!("{qualified} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// `pods "x" not found`
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::not_found_resource((kind.group, kind.plural), name)
    }

    pub fn not_found_resource((group, resource): (&str, &str), name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Self::new(404, "NotFound", message).about(group, resource, name)
    }

    /// The path leads nowhere.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").about("", "", "")
    }

    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// Not now, whatever discovery says.
    pub fn method_not_allowed_because(why: &str) -> Self {
        Self { message: why.to_owned(), ..Self::method_not_allowed() }
    }

    pub fn not_acceptable(served: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", served.join(", "));
        Self::new(406, "NotAcceptable", message)
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(kind.group, kind.plural));
        Self::new(409, "AlreadyExists", message).about(kind.group, kind.plural, name)
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = qualified(kind.group, kind.plural);
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(kind.group, kind.plural, name)
    }

    /// `… on pods/binding "x": why`
    pub fn conflict_sub((kind, subresource): (&Kind, &str), name: &str, why: &str) -> Self {
        let resource = format!("{}/{subresource}", qualified(kind.group, kind.plural));
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(kind.group, kind.plural, name)
    }

    pub fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(kind, name, MODIFIED)
    }

    pub fn uid_differs(kind: &Kind, name: &str, wanted: &str, found: &str) -> Self {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
        Self::conflict(kind, name, &why)
    }

    pub fn revision_differs(kind: &Kind, name: &str, wanted: &str, found: u64) -> Self {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {found}"
        );
        Self::conflict(kind, name, &why)
    }

    /// A server-side apply met fields of others; the message and causes say which.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Value>) -> Self {
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// `The resourceVersion …` is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_large() -> Self {
        Self::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    }

    pub fn too_large_because(why: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", why)
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let accepted = accepted.join(", ");
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// `Pod "x" is invalid: spec.foo: Required value`
    pub fn invalid(kind: &Kind, name: &str, problems: &[Problem]) -> Self {
        Self::invalid_kind((kind.group, kind.kind), name, problems)
    }

    pub fn invalid_kind((group, kind): (&str, &str), name: &str, problems: &[Problem]) -> Self {
        let texts: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect();
        let why = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = qualified(group, kind);
        let message = format!("{qualified} \"{name}\" is invalid: {why}");
        let cause = |p: &Problem| json!({ "reason": p.reason, "message": p.message, "field": p.field });
        let causes = problems.iter().map(cause).collect();
        Self::new(422, "Invalid", message).about(group, kind, name).with_causes(causes)
    }

    /// A patch that cannot be carried out; upstream keeps the reason to itself.
    pub fn patch_rejected() -> Self {
        let mut status = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
        status.details = Some(json!({}));
        status
    }

    /// What is wanted is valid in itself and cannot be had.
    pub fn unprocessable(kind: &Kind, name: &str, message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message).about(kind.group, kind.kind, name)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(429, "TooManyRequests", message);
        if retry_after_seconds > 0 {
            status.retry_after_seconds = Some(retry_after_seconds);
            status.details = Some(json!({ "retryAfterSeconds": retry_after_seconds }));
        }
        status
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {}", message.into()))
    }

    /// What upstream passes on as it came: 500 without a reason.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// What a node's agent said, or that it cannot be reached.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(502, "BadGateway", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut status = Self::new(503, "ServiceUnavailable", message);
        status.retry_after_seconds = Some(1);
        status
    }

    pub fn server_timeout(kind: &Kind, operation: &str) -> Self {
        let resource = qualified(kind.group, kind.plural);
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::new(500, "ServerTimeout", message).about(kind.group, kind.plural, "")
    }

    pub fn too_new(asked: u64, current: u64) -> Self {
        let mut status = Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {current}"));
        status.details = Some(json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        }));
        status.retry_after_seconds = Some(1);
        status
    }

    /// Upstream's reading of a kubelet's refusal.
    fn of_node(code: StatusCode, text: &str, (kind, name): (&Kind, &str)) -> Self {
        match code {
            StatusCode::BAD_REQUEST => Self::bad_request(text),
            StatusCode::NOT_FOUND => Self::new(
                404,
                "NotFound",
                format!("the server could not find the requested resource: {text}"),
            )
            .about(kind.group, kind.plural, name),
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(text),
            other => Self::new(other.as_u16(), "Unknown", text).about(kind.group, kind.plural, name),
        }
    }

    /// What the store said about a request that named `name` of `kind`.
    pub fn store(error: Error, kind: &Kind, name: &str) -> Self {
        match error {
            Error::Guard { found, .. } => Self::found(found, kind, name),
            Error::Expired { asked, oldest } => Self::expired(format!("too old resource version: {asked} ({oldest})")),
            Error::TooNew { asked, current } => Self::too_new(asked, current),
            Error::Full(what) => Self::too_many_requests(what, 1),
            Error::Unavailable(why) => Self::unavailable(why),
            Error::Corrupt(why) => Self::internal(why),
        }
    }

    fn found(found: Found, kind: &Kind, name: &str) -> Self {
        match found {
            Found::Exists => Self::already_exists(kind, name),
            Found::Absent => Self::not_found(kind, name),
            Found::Revision(_) | Found::Uid(_) => Self::modified(kind, name),
            Found::NamespaceAbsent => Self::not_found_resource(("", "namespaces"), name),
            Found::NamespaceTerminating => Self::forbidden(kind, name, "the namespace is being terminated"),
            Found::QuotaExceeded { used, hard } => {
                Self::forbidden(kind, name, &format!("exceeded quota: used: {used}, limited: {hard}"))
            }
            Found::Allocated => Self::unprocessable(kind, name, "provided value is already allocated"),
        }
    }

    /// The Status object itself.
    pub fn to_json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(proceed) = &self.proceed {
            metadata["continue"] = proceed.as_str().into();
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(code, self.to_json().to_string().into());
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        warn(&mut response, &self.warnings);
        response
    }
}

/// `Warning: 299 - "…"`, once each.
pub fn warn(response: &mut Response, warnings: &[impl AsRef<str>]) {
    for warning in warnings {
        let text: String = warning.as_ref().chars().filter(|c| !c.is_control()).collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// What a verb gives: 200 with a JSON body.
pub fn ok(body: Bytes) -> Response {
    json_response(StatusCode::OK, body)
}

pub fn created(body: Bytes) -> Response {
    json_response(StatusCode::CREATED, body)
}

/// The object stays for now (eviction accepted, deletion pending).
pub fn accepted(body: Bytes) -> Response {
    json_response(StatusCode::ACCEPTED, body)
}

/// JSON lines that go on (watches).
pub fn stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// What a node answers for `kind` `name`: its text as it came, its refusal as a Status with that text.
pub async fn passed_on(response: Response, kind: &Kind, name: &str) -> Result<Response, Status> {
    let mut response = response;
    let code = response.status();
    if !code.is_success() {
        let text = axum::body::to_bytes(response.into_body(), REFUSAL_BYTES_MAX).await.unwrap_or_default();
        return Err(Status::of_node(code, String::from_utf8_lossy(&text).trim_end(), (kind, name)));
    }
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// Text of the probes and of `/version`-like pages; `healthy` false gives 500.
pub fn probe(healthy: bool, text: String) -> Response {
    let code = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub fn not_modified() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// `{"kind":"Status","status":"Success"}`, with details of what was done.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({ "name": name, "kind": kind.plural, "uid": uid });
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

fn json_response(code: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}
