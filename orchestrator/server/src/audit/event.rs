//! One request on its way to becoming events of `audit.k8s.io/v1`.

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::policy::{Kept, Level};
use super::{Annotated, Authorized, Impersonated, sources};
use crate::reply::Status;
use crate::route::Route;
use crate::seams::{Attributes, Identity};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

/// What is known of a request so far.
pub struct Draft {
    pub rule: Kept,
    pub is_long: bool,
    /// Its body, when the level keeps it.
    pub request: Option<Value>,
    base: Map<String, Value>,
    code: Option<u16>,
    status: Option<Value>,
    response: Option<Value>,
}

impl Draft {
    pub fn new(id: &str, parts: &http::request::Parts, (route, caller): (&Route, &Identity), rule: Kept) -> Self {
        let attributes = &route.attributes;
        let mut base = Map::new();
        let mut put = |field: &str, value: Value| base.insert(field.to_owned(), value);
        put("kind", json!("Event"));
        put("apiVersion", json!("audit.k8s.io/v1"));
        put("level", json!(format!("{:?}", rule.level)));
        put("auditID", json!(id));
        put("requestURI", json!(parts.uri.path_and_query().map_or("/", |path| path.as_str())));
        put("verb", json!(attributes.verb));
        put("user", user(caller));
        put("sourceIPs", json!(sources(parts)));
        put("requestReceivedTimestamp", json!(microseconds(Timestamp::now())));
        let agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        agent.map(|agent| put("userAgent", json!(agent)));
        if attributes.path.is_none() {
            put("objectRef", object(attributes));
        }
        let is_long = route.is_long_running();
        Self { rule, is_long, request: None, base, code: None, status: None, response: None }
    }

    pub fn omits(&self, stage: Stage) -> bool {
        self.rule.level == Level::None || self.rule.omit_stages.contains(&stage)
    }

    /// What the layers behind said of it.
    pub fn tell(&mut self, response: &Response) {
        self.code = Some(response.status().as_u16());
        if let Some(Impersonated(identity)) = response.extensions().get() {
            self.base.insert("impersonatedUser".to_owned(), user(identity));
        }
        if let Some(Authorized { allowed, reason }) = response.extensions().get() {
            let decision = if *allowed { "allow" } else { "forbid" };
            let annotations = json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason});
            self.base.insert("annotations".to_owned(), annotations);
        }
        if let Some(Annotated(notes)) = response.extensions().get() {
            let annotations = self.base.entry("annotations").or_insert_with(|| json!({}));
            notes.iter().for_each(|(key, value)| annotations[key] = json!(value));
        }
    }

    /// Credentials were wrong.
    pub fn refuse(&mut self, status: &Status) {
        self.code = Some(status.code);
        let said = json!({"metadata": {}, "status": "Failure", "code": status.code, "reason": status.reason,
            "message": "Authentication failed, attempted: x509, bearer"});
        self.status = Some(said);
    }

    /// Looks into the response where the level, a failure or a new object's name asks for it.
    pub async fn read_response(&mut self, response: Response) -> Response {
        let failed = !response.status().is_success();
        let wanted = failed || self.rule.level == Level::RequestResponse || self.base["verb"] == "create";
        let is_json = response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|value| value.to_str().is_ok_and(|text| text.starts_with("application/json")));
        if !wanted || !is_json {
            return response;
        }
        let (parts, body) = response.into_parts();
        // Nothing short-lived streams: the body lies in memory already.
        let Ok(collected) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
        let bytes = collected.to_bytes();
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            self.see(value);
        }
        Response::from_parts(parts, Body::from(bytes))
    }

    fn see(&mut self, value: Value) {
        if value["kind"] == "Status" && value["apiVersion"] == "v1" {
            let mut said = value.clone();
            for field in ["kind", "apiVersion"] {
                said.as_object_mut().map(|said| said.remove(field));
            }
            self.status = Some(said);
        } else if self.base["verb"] == "create"
            && let Some(object) = self.base.get_mut("objectRef")
        {
            for field in ["name", "namespace", "uid", "resourceVersion"] {
                let known = &value["metadata"][field];
                if object[field].is_null() && known.is_string() && self.rule.level >= Level::Metadata {
                    object[field] = known.clone();
                }
            }
        }
        if self.rule.level == Level::RequestResponse {
            self.response = Some(value);
        }
    }

    /// The event of a stage, now.
    pub fn event(&self, stage: Stage) -> Value {
        let mut event = self.base.clone();
        event.insert("stage".to_owned(), json!(format!("{stage:?}")));
        event.insert("stageTimestamp".to_owned(), json!(microseconds(Timestamp::now())));
        if stage == Stage::RequestReceived {
            event.remove("annotations");
        } else {
            let status = || json!({"metadata": {}, "code": self.code.unwrap_or_default()});
            event.insert("responseStatus".to_owned(), self.status.clone().unwrap_or_else(status));
            for (field, value) in [("requestObject", &self.request), ("responseObject", &self.response)] {
                if let Some(value) = value {
                    event.insert(field.to_owned(), self.trimmed(value));
                }
            }
        }
        Value::Object(event)
    }

    fn trimmed(&self, value: &Value) -> Value {
        let mut value = value.clone();
        if self.rule.omit_managed_fields {
            forget_managers(&mut value);
            let items = value.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managers);
        }
        value
    }
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

fn user(identity: &Identity) -> Value {
    let mut user = json!({});
    for (field, value) in [("username", Some(&identity.user)), ("uid", identity.uid.as_ref())] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            user[field] = json!(value);
        }
    }
    if !identity.groups.is_empty() {
        user["groups"] = json!(identity.groups);
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    user
}

fn object(attributes: &Attributes) -> Value {
    let fields = [
        ("resource", &attributes.resource),
        ("namespace", &attributes.namespace),
        ("name", &attributes.name),
        ("apiGroup", &attributes.group),
        ("apiVersion", &attributes.version),
        ("subresource", &attributes.subresource),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(field, value)| (field, json!(value))).collect()
}

fn microseconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
