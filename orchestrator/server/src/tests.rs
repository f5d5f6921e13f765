//! The router, driven in process over a memory store: tables of request and reply.

mod aggregated;
mod custom;
mod encoding;
mod fuzz;
mod model;
mod outside;
mod patching;
mod proxies;
mod quotas;
mod reading;
mod replay;
mod serving;
mod twins;
mod usage;
mod writing;

use std::sync::Arc;

use amphipod_store::MemoryStore;
use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::seams::{Attributes, Authorize, Decision, Identity};
use crate::{Options, Server};

/// Everything is allowed but what `mallory` asks.
struct AllButMallory;

impl Authorize for AllButMallory {
    fn authorize(&self, identity: &Identity, _attributes: &Attributes) -> Decision {
        let reason = String::new();
        if identity.user == "mallory" { Decision::Denied { reason } } else { Decision::Allowed { reason } }
    }
}

/// A server with the namespace `d`.
pub(crate) async fn server() -> Server {
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.clock = Arc::new(|| "2026-01-02T03:04:05.6Z".parse().unwrap());
    let server = Server::new(options).await.unwrap();
    let (status, body) = send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    server
}

fn request(line: &str, body: Vec<u8>) -> Request<Body> {
    let (method, uri) = line.split_once(' ').unwrap();
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let mut request = Request::builder().method(method).uri(uri).body(Body::from(body)).unwrap();
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    request.headers_mut().insert("user-agent", "test/1".parse().unwrap());
    request.extensions_mut().insert(Identity::system_masters());
    request
}

async fn raw(server: &Server, request: Request<Body>) -> Response<Body> {
    let router: Router = server.router();
    router.oneshot(request).await.unwrap()
}

async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::String(String::from_utf8_lossy(&bytes).into_owned())))
}

pub(crate) async fn send(server: &Server, line: &str, body: Value) -> (StatusCode, Value) {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    read(raw(server, request(line, bytes)).await).await
}

/// `code message` of a refusal, `code kind/name` of an object.
async fn brief(server: &Server, line: &str, body: Value) -> String {
    let (status, reply) = send(server, line, body).await;
    let code = status.as_u16();
    match (reply["message"].as_str(), reply["kind"].as_str()) {
        (Some(message), Some("Status")) => format!("{code} {} {message}", reply["reason"].as_str().unwrap_or("-")),
        (_, Some(kind)) => format!("{code} {kind}/{}", reply["metadata"]["name"].as_str().unwrap_or("-")),
        _ => format!("{code} {reply}"),
    }
}

async fn check(server: &Server, line: &str, body: Value, expected: expect_test::Expect) {
    expected.assert_eq(&brief(server, line, body).await);
}

/// A pod that is valid, and no more.
fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}

fn deployment(name: &str, replicas: i64) -> Value {
    let template = json!({ "metadata": { "labels": { "app": "a" } }, "spec": pod("x")["spec"].clone() });
    let spec = json!({ "replicas": replicas, "selector": { "matchLabels": { "app": "a" } }, "template": template });
    json!({ "metadata": { "name": name }, "spec": spec })
}
