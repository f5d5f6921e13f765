//! The audit log: who asked for what, and how it ended. The policy (`audit/policy.rs`) says of which requests how much is
//! kept, `audit/event.rs` makes the events, `audit/log.rs` and `audit/webhook.rs` keep them.
//!
//! ```text
//!  request ─► policy ─► RequestReceived ─► the rest of the road ─┬─► ResponseComplete
//!                                        (watches, streams)      └─► ResponseStarted ─ body ends ─► ResponseComplete
//! ```

pub mod event;
pub mod log;
pub mod policy;
pub mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::authn::Peer;
use crate::body;
use crate::pipeline::Caller;
use crate::reply::Status;
use crate::route::Route;
use crate::server::Server;
use crate::tail::Tail;
use event::{Draft, Stage};
pub use policy::{Level, Policy, PolicyError};

/// Events that wait to be written; a request waits when the log is behind.
const LOG_QUEUE: usize = 1_000;
/// Events that wait to be sent; beyond that they are lost and counted.
const WEBHOOK_QUEUE: usize = 10_000;

/// What the pipeline hands its events to.
pub struct Audit {
    policy: Policy,
    log: Option<mpsc::Sender<Arc<Value>>>,
    webhook: Option<mpsc::Sender<Arc<Value>>>,
}

/// The other ends: run them for as long as the server lives.
#[derive(Default)]
pub struct Outlets {
    pub log: Option<mpsc::Receiver<Arc<Value>>>,
    pub webhook: Option<mpsc::Receiver<Arc<Value>>>,
}

/// Which outlets there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub log: bool,
    pub webhook: bool,
}

impl Audit {
    pub fn new(policy: Policy, wanted: Wanted) -> (Self, Outlets) {
        let channel = |wanted: bool, room| wanted.then(|| mpsc::channel(room)).unzip();
        let (log, log_end) = channel(wanted.log, LOG_QUEUE);
        let (webhook, webhook_end) = channel(wanted.webhook, WEBHOOK_QUEUE);
        (Self { policy, log, webhook }, Outlets { log: log_end, webhook: webhook_end })
    }

    async fn keep(&self, draft: &Draft, stage: Stage) {
        if draft.omits(stage) {
            return;
        }
        let event = Arc::new(draft.event(stage));
        if let Some(log) = &self.log
            && log.send(event.clone()).await.is_err()
        {
            tracing::error!("the audit log has ended");
        }
        self.offer(event);
    }

    /// From where nobody can wait.
    fn keep_now(&self, draft: &Draft, stage: Stage) {
        if draft.omits(stage) {
            return;
        }
        let event = Arc::new(draft.event(stage));
        if let Some(log) = &self.log
            && log.try_send(event.clone()).is_err()
        {
            tracing::error!("an event of the audit log is lost: it is too far behind");
        }
        self.offer(event);
    }

    fn offer(&self, event: Arc<Value>) {
        if let Some(webhook) = &self.webhook
            && webhook.try_send(event).is_err()
        {
            metrics::counter!("apiserver_audit_error_total", "plugin" => "webhook").increment(1);
            tracing::warn!("an event of the audit webhook is lost: it is too far behind");
        }
    }
}

/// What layers behind tell of a request, in the extensions of its response.
#[derive(Debug, Clone)]
pub struct Impersonated(pub Caller);

/// The authorizer's word, in the extensions of the response.
#[derive(Debug, Clone)]
pub struct Authorized {
    pub allowed: bool,
    pub reason: String,
}

/// What admission noted, in the extensions of the response.
#[derive(Debug, Clone)]
pub struct Annotated(pub BTreeMap<String, String>);

/// The stop of the road: events around everything behind it.
pub async fn record(server: &Server, id: &str, request: Request, next: Next) -> Response {
    let Some(audit) = server.audit.clone() else { return next.run(request).await };
    let (mut draft, request) = match begin(&audit, server, id, request).await {
        Ok(begun) => begun,
        Err(status) => return status.into_response(),
    };
    if draft.rule.level == Level::None {
        return next.run(request).await;
    }
    audit.keep(&draft, Stage::RequestReceived).await;
    let response = next.run(request).await;
    draft.tell(&response);
    if draft.is_long {
        audit.keep(&draft, Stage::ResponseStarted).await;
        let (parts, body) = response.into_parts();
        let tail = Tail::wrap(body, End(audit, draft));
        return Response::from_parts(parts, tail);
    }
    let response = draft.read_response(response).await;
    audit.keep(&draft, Stage::ResponseComplete).await;
    response
}

/// A request that proved nothing: it is kept as upstream keeps it, without a user.
pub async fn refused(server: &Server, id: &str, parts: &http::request::Parts, status: &Status) {
    let Some(audit) = &server.audit else { return };
    let Some(route) = parts.extensions.get::<Arc<Route>>() else { return };
    let nobody = Caller::default();
    let rule = audit.policy.decide(&nobody, &route.attributes);
    if rule.level == Level::None {
        return;
    }
    let mut draft = Draft::new(id, parts, (&**route, &*nobody), rule);
    draft.refuse(status);
    audit.keep(&draft, Stage::ResponseStarted).await;
}

/// The draft, and the request with its body read when it is to be kept.
async fn begin(audit: &Audit, server: &Server, id: &str, request: Request) -> Result<(Draft, Request), Status> {
    let (parts, body) = request.into_parts();
    let route = parts.extensions.get::<Arc<Route>>().cloned().expect("record stands at the head of the road");
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
    let rule = audit.policy.decide(&caller, &route.attributes);
    let mut draft = Draft::new(id, &parts, (&*route, &*caller), rule);
    if draft.rule.level < Level::Request || draft.is_long || parts.method == http::Method::GET {
        return Ok((draft, Request::from_parts(parts, body)));
    }
    let bytes = body::bytes(body).await?;
    draft.request = readable(server, &route, &parts, &bytes);
    Ok((draft, Request::from_parts(parts, Body::from(bytes))))
}

/// The body as JSON, whatever it was sent as.
fn readable(server: &Server, route: &Route, parts: &http::request::Parts, bytes: &Bytes) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let media = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.starts_with("application/vnd.kubernetes.protobuf") {
        return serde_json::from_slice(bytes)
            .ok()
            .or_else(|| Some(amphipod_schema::parse_yaml(bytes, None).ok()?.value));
    }
    let asked = &route.attributes;
    let entry = server.catalog.load().registry.find(&asked.group, &asked.version, &asked.resource).cloned()?;
    let own = entry.kind.subresources.iter().find(|sub| sub.name == asked.subresource).and_then(|sub| sub.kind);
    let expected = match (asked.verb.as_str(), own) {
        ("delete" | "deletecollection", _) => body::Expected::known("v1", "DeleteOptions"),
        (_, Some((group, version, kind))) => {
            let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            body::Expected::known(&version, kind)
        }
        _ => body::of_entry(&entry),
    };
    body::decode((media, bytes), &expected, crate::call::FieldValidation::Ignore).ok().map(|input| input.value)
}

/// Where a request came from, the nearest last.
fn sources(parts: &http::request::Parts) -> Vec<String> {
    let forwarded = parts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut all: Vec<String> =
        forwarded.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let peer =
        parts.extensions.get::<Peer>().map_or_else(|| "127.0.0.1".to_owned(), |peer| peer.address.ip().to_string());
    if all.last() != Some(&peer) {
        all.push(peer);
    }
    all
}

/// Whatever became of the answer's body, the request is over.
struct End(Arc<Audit>, Draft);

impl Drop for End {
    fn drop(&mut self) {
        self.0.keep_now(&self.1, Stage::ResponseComplete);
    }
}
