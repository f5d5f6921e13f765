//! Where the road leads: from a route to the verb that serves it. Plain paths are in `paths.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::Method;

use crate::aggregation::Remote;
use crate::aggregation::relay::relay;
use crate::audit::Annotated;
use crate::call::Call;
use crate::kinds::{Scope, resource_metrics};
use crate::pipeline::Caller;
use crate::registry::KindRef;
use crate::reply::{self, Status};
use crate::route::Route;
use crate::server::Server;
use crate::{
    accept, component_status, create, delete, get, list, patch, paths, reviews, secret_keys, subresources, table,
    update, usage, watch,
};

pub async fn serve(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let extension = "the road put it there";
    let route = parts.extensions.get::<Arc<Route>>().cloned().expect(extension);
    let identity = parts.extensions.get::<Caller>().cloned().expect(extension);
    if let Some(remote) = remote(&server, &route) {
        return relay(&server, &remote, &identity, Request::from_parts(parts, body)).await;
    }
    if parts.method == Method::GET && route.attributes.path.as_deref() == Some("/openapi/v2") {
        let catalog = server.catalog.load();
        return catalog.openapi.serve_version_two(&parts.headers).unwrap_or_else(Status::into_response);
    }
    // What a proxied server gives is its own choice.
    let is_proxied = route.attributes.subresource == "proxy";
    let form = match accept::form(&parts.headers) {
        Err(_) if is_proxied => accept::Form::Json,
        Ok(form) => form,
        Err(status) => return status.into_response(),
    };
    if let Some(path) = &route.attributes.path {
        if path == secret_keys::PATH {
            return secret_keys::serve(&server, &parts.method).await.unwrap_or_else(Status::into_response);
        }
        return paths::serve(&server, (&parts.method, path, &route.query), (&parts.headers, form))
            .unwrap_or_else(Status::into_response);
    }
    let asked = &route.attributes;
    let entry = server.catalog.load().registry.find(&asked.group, &asked.version, &asked.resource).cloned();
    let Some(entry) = entry else {
        return Status::no_such_path().into_response();
    };
    if route.attributes.subresource.is_empty() && accept::Form::Discovery == form {
        return Status::not_acceptable(&["application/json"]).into_response();
    }
    if form == accept::Form::Table
        && let Err(status) = table::check_options(&route.query)
    {
        return status.into_response();
    }
    let call =
        Call { server, entry, route, identity, form, headers: Arc::new(parts.headers.clone()), notes: Arc::default() };
    let parts = http::Request::from_parts(parts, ());
    let (entry, notes) = (call.entry.clone(), call.notes.clone());
    let mut response = dispatch(call, parts, body).await.unwrap_or_else(Status::into_response);
    let notes = notes.take();
    if !notes.is_empty() {
        response.extensions_mut().insert(Annotated(notes));
    }
    reply::warn(&mut response, &deprecation(&entry.kind));
    response
}

/// Who answers instead of this server.
fn remote(server: &Server, route: &Route) -> Option<Arc<Remote>> {
    let (catalog, asked) = (server.catalog.load(), &route.attributes);
    let found = match &asked.path {
        Some(path) => catalog.remotes.of_path(path),
        None => catalog.remotes.find(&asked.group, &asked.version),
    };
    found.cloned()
}

/// What everybody is told who uses a kind that is given up.
fn deprecation(kind: &KindRef) -> Vec<String> {
    match (kind.group, kind.kind) {
        ("", "ComponentStatus") => vec!["v1 ComponentStatus is deprecated in v1.19+".to_owned()],
        ("", "Endpoints") => {
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
        }
        _ => kind.custom().and_then(|custom| custom.deprecation.clone()).into_iter().collect(),
    }
}

async fn dispatch(call: Call, head: http::Request<()>, body: Body) -> Result<Response, Status> {
    check_scope(&call)?;
    let attributes = &call.route.attributes;
    if !attributes.subresource.is_empty() {
        let served = call.kind().subresources.iter().find(|sub| sub.name == attributes.subresource);
        let subresource = *served.ok_or_else(Status::no_such_path)?;
        let proxied = matches!(subresource.name, "proxy" | "exec" | "attach" | "portforward");
        if !proxied && !subresource.verbs.contains(&attributes.verb.as_str()) {
            return Err(Status::method_not_allowed());
        }
        return subresources::serve(call, head, body).await;
    }
    if !call.kind().verbs.contains(&attributes.verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    if call.entry.resource.is_none() {
        if call.kind().kind == "ComponentStatus" {
            return component_status::serve(&call);
        }
        if call.kind().group == resource_metrics::GROUP {
            return usage::answer::serve(&call).await;
        }
        return reviews::create(call, body).await;
    }
    let single = !head.uri().path().ends_with(&format!("/{}", attributes.resource)) && !attributes.name.is_empty();
    match attributes.verb.as_str() {
        "get" => get::get(call).await,
        "list" => list::list(call).await,
        "watch" => watch::watch(call, single).await,
        "create" if single => Err(Status::method_not_allowed()),
        "create" => create::create(call, body).await,
        "update" if single => update::update(call, body).await,
        "patch" if single => patch::patch(call, body).await,
        "delete" => delete::delete(call, body).await,
        "deletecollection" => delete::delete_collection(call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// A namespaced kind is written in a namespace; a cluster-scoped one has none.
fn check_scope(call: &Call) -> Result<(), Status> {
    let attributes = &call.route.attributes;
    let in_namespace = !attributes.namespace.is_empty() && attributes.resource != "namespaces";
    match call.kind().scope {
        Scope::Cluster if in_namespace => Err(Status::no_such_path()),
        Scope::Namespaced if !in_namespace && !matches!(attributes.verb.as_str(), "list" | "watch") => {
            if attributes.verb == "create" { Err(Status::method_not_allowed()) } else { Err(Status::no_such_path()) }
        }
        _ => Ok(()),
    }
}
