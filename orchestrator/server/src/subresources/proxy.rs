//! `nodes|pods|services/NAME/proxy/…`: the request goes on to what the object names, as it came; what comes back leads
//! through here again (`proxy/rewrite.rs`). Who is meant by a name is decided in `proxy/target.rs`, bytes are carried by
//! `proxy/carry.rs`. Source: apimachinery's util/proxy and the registries' `ResourceLocation`.

mod carry;
mod html;
mod rewrite;
mod target;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::connect;
use crate::call::Call;
use crate::forward;
use crate::reply::Status;
use crate::update;
use rewrite::Prefix;
use target::{Asked, Target};

pub async fn serve(call: Call, head: http::Request<()>, body: Body) -> Result<Response, Status> {
    let prefix = Prefix::of(head.uri(), head.headers());
    let rest = prefix.rest(head.uri()).to_owned();
    let upgrade = head.headers().contains_key(header::UPGRADE);
    if rest.is_empty() && !upgrade && matches!(*head.method(), Method::GET | Method::HEAD) {
        return Ok(moved(&prefix.with_slash(head.uri())));
    }
    let asked = Asked::parse(call.name()).ok_or_else(|| invalid(&call))?;
    connect::admit(&call, &rest).await?;
    let target = locate(&call, &asked)?;
    let query = head.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if rest.is_empty() { "/".to_owned() } else { rest.clone() };
    let mut request = onward(head, &prefix, &format!("{path}{query}"), body)?;
    let response = match &target {
        Target::Agent(node) => agent(&call, node, request).await?,
        Target::Address { .. } => {
            let host = HeaderValue::from_str(&target.authority()).expect("an address is a header's text");
            request.headers_mut().insert(header::HOST, host);
            carry::carry(&call.server, &target, request).await?
        }
    };
    let mut response = prefix.rewrite(response, &target.authority());
    response.extensions_mut().insert(forward::Relayed);
    Ok(response)
}

fn invalid(call: &Call) -> Status {
    let singular = call.kind().singular;
    Status::bad_request(format!("invalid {singular} request {:?}", call.name()))
}

fn moved(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn locate(call: &Call, asked: &Asked<'_>) -> Result<Target, Status> {
    let object = |name: &str| -> Result<Value, Status> { Ok(call.server.codec.value(&*update::read(call, name)?)) };
    match call.kind().plural {
        "pods" => target::of_pod(&object(asked.name)?, asked),
        "nodes" => target::of_node(&object(asked.name)?, asked),
        _ => {
            let service = object(asked.name)?;
            let cluster = call.server.cluster(call.server.store.snapshot());
            let endpoints = cluster.get("endpoints", call.namespace(), asked.name);
            let pick = rand::random::<u32>() as usize;
            target::of_service(&service, endpoints.as_ref(), (asked, call.name()), pick)
        }
    }
}

/// The request as the other side gets it.
fn onward(head: http::Request<()>, prefix: &Prefix, address: &str, body: Body) -> Result<http::Request<Body>, Status> {
    let (mut parts, ()) = head.into_parts();
    parts.uri = address.parse().map_err(|_| Status::bad_request("the address behind the proxy is not a path"))?;
    parts.version = http::Version::HTTP_11;
    forward::drop_credentials(&mut parts.headers);
    prefix.tell(&mut parts.headers, address);
    Ok(http::Request::from_parts(parts, body))
}

async fn agent(call: &Call, node: &str, request: http::Request<Body>) -> Result<Response, Status> {
    let relay =
        call.server.relay.as_ref().ok_or_else(|| Status::unavailable("no node can be reached from this server"))?;
    let response = relay.request(node, request).await;
    response.map_err(|error| Status::unavailable(format!("error trying to reach service: {error}")))
}

#[cfg(test)]
mod tests;
