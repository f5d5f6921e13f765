//! The road of one request, in the order it is walked. Admission is the last stop and lives in the verbs
//! (`create.rs`, `update.rs`, `delete.rs`): it needs the decoded object. Where the road leads is `resources.rs`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tower::ServiceBuilder;

use crate::audit::{self, Authorized, Impersonated};
use crate::authz::{MASTERS, denial};
use crate::compress::compress;
use crate::encoding::encode;
use crate::pretty::indent;
use crate::reply::Status;
use crate::resources::serve;
use crate::route::Route;
use crate::seams::{Attributes, Decision, Identity};
use crate::server::Server;

const PROBES: &[&str] = &["/healthz", "/livez", "/readyz"];

/// A part of this program asks: it stands in nobody's way and waits for nobody.
#[derive(Clone)]
struct Exempt;

/// Who asks, as the layers behind authentication find it in the extensions.
pub type Caller = Arc<Identity>;

/// Every stop is a layer, the outermost first.
pub fn pipeline(server: Server) -> Router {
    let road = ServiceBuilder::new()
        .layer(from_fn(catch))
        .layer(from_fn_with_state(server.clone(), record))
        .layer(from_fn(compress))
        .layer(from_fn(indent))
        .layer(from_fn(encode))
        .layer(from_fn_with_state(server.clone(), authenticate))
        .layer(from_fn_with_state(server.clone(), audit))
        .layer(from_fn_with_state(server.clone(), impersonate))
        .layer(from_fn_with_state(server.clone(), limit))
        .layer(from_fn_with_state(server.clone(), authorize));
    Router::new().fallback(serve).with_state(server).layer(road)
}

/// A panic is a bug of ours, and no reason to leave the client or a controller in this process without an answer.
async fn catch(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%method, path = uri.path(), "a request made the server panic");
        let text = "This request caused apiserver to panic. Look in the logs for details.\n";
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    })
}

/// Reads the address once for everyone behind, and measures what was asked and how it ended.
async fn record(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let route = Arc::new(Route::parse(request.method(), request.uri()));
    let running = server.requests.begin(request.method(), &route, request.headers(), &server.catalog.load());
    request.extensions_mut().insert(route);
    running.answered(next.run(request).await)
}

async fn authenticate(State(server): State<Server>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if parts.extensions.get::<Caller>().is_some() {
        parts.extensions.insert(Exempt);
    }
    let inside = parts.extensions.get::<Identity>().cloned().map(Arc::new);
    if let Some(identity) = inside {
        parts.extensions.insert::<Caller>(identity);
    }
    if parts.extensions.get::<Caller>().is_none() {
        match who(&server, &parts).await {
            Ok(identity) => drop(parts.extensions.insert::<Caller>(Arc::new(identity))),
            Err(status) => {
                audit::refused(&server, &audit_id(&parts.headers), &parts, &status).await;
                return status.into_response();
            }
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// The first way that knows the caller wins; bad credentials end the search.
pub async fn who(server: &Server, parts: &http::request::Parts) -> Result<Identity, Status> {
    for way in &server.authenticators {
        match way.authenticate(parts).await {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "unable to authenticate the request");
                return Err(Status::unauthorized());
            }
        }
    }
    Ok(Identity::anonymous())
}

/// `kubectl --as`: the caller must be allowed to impersonate each thing it names.
async fn impersonate(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return next.run(request).await;
    }
    let identity = match impersonated(&server, &caller(&request), headers) {
        Ok(identity) => Arc::new(identity),
        Err(status) => return status.into_response(),
    };
    request.extensions_mut().insert::<Caller>(identity.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Impersonated(identity));
    response
}

fn impersonated(server: &Server, asks: &Identity, headers: &HeaderMap) -> Result<Identity, Status> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let user = headers.get("impersonate-user").map(text).unwrap_or_default();
    if user.is_empty() {
        return Err(Status::bad_request("requested impersonation without impersonating a user"));
    }
    let mut groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
    let service_account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match service_account {
        Some((namespace, name)) => may_impersonate(server, asks, ("", "serviceaccounts", ""), (namespace, name))?,
        None => may_impersonate(server, asks, ("", "users", ""), ("", &user))?,
    }
    for group in &groups {
        may_impersonate(server, asks, ("", "groups", ""), ("", group))?;
    }
    let mut identity = Identity { user: user.clone(), ..Identity::default() };
    if let Some(uid) = headers.get("impersonate-uid").map(text) {
        may_impersonate(server, asks, ("authentication.k8s.io", "uids", ""), ("", &uid))?;
        identity.uid = Some(uid);
    }
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix("impersonate-extra-") else { continue };
        let (key, value) = (percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned(), text(value));
        may_impersonate(server, asks, ("authentication.k8s.io", "userextras", &key), ("", &value))?;
        identity.extra.entry(key).or_default().push(value);
    }
    if let (Some((namespace, _)), true) = (service_account, groups.is_empty()) {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied = if user == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !groups.iter().any(|group| group == implied) {
        groups.push(implied.to_owned());
    }
    identity.groups = groups;
    Ok(identity)
}

fn may_impersonate(
    server: &Server,
    asks: &Identity,
    (group, resource, subresource): (&str, &str, &str),
    (namespace, name): (&str, &str),
) -> Result<(), Status> {
    let attributes = Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    may(server, asks, &attributes)
}

/// Every reply names itself, so that a client's report finds its line in the log.
async fn audit(State(server): State<Server>, request: Request, next: Next) -> Response {
    let id = audit_id(request.headers());
    let mut response = audit::record(&server, &id, request, next).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("audit-id"), id);
    }
    response
}

/// The client's own, else a new one.
fn audit_id(headers: &HeaderMap) -> String {
    let given = headers.get("audit-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// How much is served at once, in all and of one user. Whoever keeps the cluster alive is not held up by those who use it:
/// its own parts, its masters, and those who ask whether it lives.
async fn limit(State(server): State<Server>, request: Request, next: Next) -> Response {
    let (caller, route) = (caller(&request), route(&request));
    let is_probe =
        || route.attributes.path.as_deref().is_some_and(|path| PROBES.iter().any(|known| path.starts_with(known)));
    let is_master = || caller.groups.iter().any(|group| group == MASTERS);
    if route.is_long_running() || request.extensions().get::<Exempt>().is_some() || is_master() || is_probe() {
        return next.run(request).await;
    }
    let permits = (server.limits.enter(), server.limits.enter_user(&caller.user));
    if permits.0.is_none() || permits.1.is_none() {
        return Status::too_many_requests("Too many requests, please try again later.", 1).into_response();
    }
    next.run(request).await
}

async fn authorize(State(server): State<Server>, request: Request, next: Next) -> Response {
    let caller = caller(&request);
    let route = request.extensions().get::<Arc<Route>>().cloned().expect("record stands at the head of the road");
    let attributes = &route.attributes;
    let (mut response, authorized) = match server.authorizer.authorize(&caller, attributes) {
        Decision::Allowed { reason } => (next.run(request).await, Authorized { allowed: true, reason }),
        Decision::Denied { reason } => {
            (denial(&caller, attributes, &reason).into_response(), Authorized { allowed: false, reason })
        }
    };
    if server.audit.is_some() {
        response.extensions_mut().insert(authorized);
    }
    response
}

/// The authorizer's answer, a denial in upstream's words.
pub fn may(server: &Server, identity: &Identity, attributes: &Attributes) -> Result<(), Status> {
    let Decision::Denied { reason } = server.authorizer.authorize(identity, attributes) else {
        return Ok(());
    };
    Err(denial(identity, attributes, &reason))
}

fn route(request: &Request) -> &Route {
    request.extensions().get::<Arc<Route>>().expect("record stands at the head of the road")
}

fn caller(request: &Request) -> Caller {
    request.extensions().get::<Caller>().cloned().expect("authenticate stands before")
}
