//! An API server of somebody else's, as small as one can be: `flunders` in group `wardle.example.com`, kept in memory, over
//! TLS that asks for the front proxy's certificate. Whoever creates a flunder is written into it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use futures::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::broadcast;

pub const GROUP: &str = "wardle.example.com";
const VERSION: &str = "/apis/wardle.example.com/v1alpha1";

type Body = BoxBody<Bytes, Infallible>;

/// Runs until dropped.
pub struct Flunders {
    pub address: SocketAddr,
    /// PEM; vouches for `server_name`.
    pub authority: String,
    pub shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

pub struct Shared {
    kept: Mutex<BTreeMap<String, Value>>,
    changes: broadcast::Sender<Value>,
    /// It answers nothing but 500.
    pub is_ill: AtomicBool,
    /// What it was asked last: user and groups.
    pub caller: Mutex<String>,
    watched: (Mutex<bool>, Condvar),
}

impl Flunders {
    /// `clients` is the PEM of who signs the front proxy's certificate.
    pub fn start(ip: &str, server_name: &str, clients: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![server_name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.as_bytes()).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(verifier);
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((ip, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kept: Mutex::default(),
            changes: broadcast::channel(100).0,
            is_ill: AtomicBool::new(false),
            caller: Mutex::default(),
            watched: (Mutex::new(false), Condvar::new()),
        });
        let server = shared.clone();
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (server, acceptor) = (server.clone(), acceptor.clone());
                tokio::task::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        let server = server.clone();
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    _ = connection.with_upgrades().await;
                });
            }
        };
        runtime.handle().spawn(accept);
        Self { address, authority: made.cert.pem(), shared, _runtime: runtime }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let header = |name: &str| {
            let values = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
            values.collect::<Vec<_>>().join(",")
        };
        let user = header("x-remote-user");
        let path = request.uri().path().to_owned();
        if self.is_ill.load(Ordering::SeqCst) {
            return reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": "ill" }));
        }
        if user != "system:kube-aggregator" {
            assert!(header("authorization").is_empty(), "credentials stay with the first server");
            *self.caller.lock().unwrap() = format!("{user} {}", header("x-remote-group"));
        }
        let rest = path.strip_prefix(VERSION).unwrap_or(&path);
        let rest: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
        match (request.method(), rest.as_slice()) {
            (_, []) => reply(StatusCode::OK, &resources()),
            (_, ["openapi", "v3"]) => reply(
                StatusCode::OK,
                &json!({ "paths": { "apis/wardle.example.com/v1alpha1": { "serverRelativeURL": format!("/openapi/v3{VERSION}?hash=1") } } }),
            ),
            (_, ["openapi", "v3", ..]) => reply(StatusCode::OK, &document()),
            (&Method::POST, ["namespaces", namespace, "flunders"]) => {
                let namespace = (*namespace).to_owned();
                self.create(&namespace, &user, request).await
            }
            (&Method::GET, [.., "flunders"]) if request.uri().query().is_some_and(|query| query.contains("watch=")) => {
                self.watch()
            }
            (&Method::GET, [.., "flunders"]) => reply(StatusCode::OK, &self.list()),
            (&Method::GET, ["namespaces", _, "flunders", _, "echo"]) => echo(request),
            (&Method::GET, [.., "flunders", name]) => self.one(name, false),
            (&Method::DELETE, [.., "flunders", name]) => self.one(name, true),
            _ => reply(StatusCode::NOT_FOUND, &status("NotFound", 404)),
        }
    }

    async fn create(&self, namespace: &str, user: &str, request: Request<Incoming>) -> Response<Body> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        for (field, value) in [
            ("namespace", namespace),
            ("uid", "u"),
            ("resourceVersion", "1"),
            ("creationTimestamp", "2026-01-01T00:00:00Z"),
        ] {
            object["metadata"][field] = value.into();
        }
        object["madeBy"] = user.into();
        self.kept.lock().unwrap().insert(name, object.clone());
        _ = self.changes.send(json!({ "type": "ADDED", "object": object }));
        reply(StatusCode::CREATED, &object)
    }

    fn list(&self) -> Value {
        let items: Vec<Value> = self.kept.lock().unwrap().values().cloned().collect();
        json!({ "kind": "FlunderList", "apiVersion": "wardle.example.com/v1alpha1", "metadata": { "resourceVersion": "1" }, "items": items })
    }

    fn one(&self, name: &str, goes: bool) -> Response<Body> {
        let mut kept = self.kept.lock().unwrap();
        let found = if goes { kept.remove(name) } else { kept.get(name).cloned() };
        match found {
            Some(object) => {
                if goes {
                    _ = self.changes.send(json!({ "type": "DELETED", "object": object }));
                }
                reply(StatusCode::OK, &object)
            }
            None => reply(StatusCode::NOT_FOUND, &status("NotFound", 404)),
        }
    }

    /// Waits until somebody watches.
    pub fn until_watched(&self) {
        let is_watched = self.watched.0.lock().unwrap();
        drop(self.watched.1.wait_while(is_watched, |is_watched| !*is_watched).unwrap());
    }

    /// What comes from now on.
    fn watch(&self) -> Response<Body> {
        let changes = self.changes.subscribe();
        *self.watched.0.lock().unwrap() = true;
        self.watched.1.notify_all();
        let events = futures::stream::unfold(changes, |mut changes| async move {
            let event = changes.recv().await.ok()?;
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), changes))
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(events.boxed())));
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    }
}

/// Gives back every byte of a changed protocol.
fn echo(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::task::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut bytes = [0; 64];
        while let Ok(count) = stream.read(&mut bytes).await {
            if count == 0 || stream.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    });
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    response
}

fn reply(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed());
    *response.status_mut() = code;
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

fn status(reason: &str, code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "no such flunder", "code": code })
}

fn resources() -> Value {
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1", "resources": [{
        "name": "flunders", "singularName": "flunder", "shortNames": ["fl"], "namespaced": true, "kind": "Flunder",
        "verbs": ["create", "delete", "get", "list", "watch"],
    }] })
}

/// As much as kubectl wants to see: the kind, and that the server checks fields.
fn document() -> Value {
    let kind = json!({ "group": GROUP, "version": "v1alpha1", "kind": "Flunder" });
    let string = json!({ "type": "string" });
    json!({
        "openapi": "3.0.0", "info": { "title": "flunders", "version": "1" },
        "paths": { format!("{VERSION}/namespaces/{{namespace}}/flunders/{{name}}"): { "patch": {
            "parameters": [{ "name": "fieldValidation", "in": "query", "schema": string }],
            "responses": {}, "x-kubernetes-group-version-kind": kind,
        } } },
        "components": { "schemas": { "com.example.wardle.v1alpha1.Flunder": {
            "type": "object", "description": "A flunder flunds.", "x-kubernetes-group-version-kind": [kind],
            "properties": { "apiVersion": string, "kind": string, "metadata": { "type": "object" }, "madeBy": { "type": "string", "description": "Who made it." } },
        } } },
    })
}
