//! Logs, exec, attach, port-forward: carried to the agent of the pod's node through the relay, as the kubelet's paths.

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use super::connect;
use crate::call::{Call, text};
use crate::kinds::Problem;
use crate::reply::{self, Status};
use crate::update;

/// Parameters that the kubelet's log path takes as they are.
const LOG_PARAMETERS: &[&str] =
    &["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"];

pub async fn log(call: Call, head: http::Request<()>) -> Result<Response, Status> {
    check_log_options(&call)?;
    let pod = pod(&call)?;
    let container = container(&call, &pod)?;
    let Some(node) = node(&pod) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name())));
    };
    let path = format!("/containerLogs/{}/{}/{container}?{}", call.namespace(), call.name(), log_parameters(&call));
    let mut request = http::Request::new(Body::empty());
    *request.uri_mut() = path.parse().map_err(|_| Status::bad_request("the address of the log is not a path"))?;
    *request.headers_mut() = head.headers().clone();
    let answer = forward(&call, node, request).await?;
    reply::passed_on(answer, call.kind(), call.name()).await
}

fn check_log_options(call: &Call) -> Result<(), Status> {
    let query = call.query();
    let mut problems = Vec::new();
    for (name, least) in [("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)] {
        if let Some(number) = query.integer(name).map_err(Status::bad_request)?.filter(|number| *number < least) {
            let why = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            problems.push(Problem::invalid(name, number, why));
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        problems.push(Problem::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid_kind(("", "PodLogOptions"), call.name(), &problems)) }
}

fn log_parameters(call: &Call) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    for name in LOG_PARAMETERS {
        if let Some(value) = call.query().get(name) {
            parameters.append_pair(name, value);
        }
    }
    parameters.finish()
}

/// Anything with a stream of its own: method, upgrade and body go through as they came.
pub async fn relay(call: Call, head: http::Request<()>, body: Body) -> Result<Response, Status> {
    connect::admit(&call, "").await?;
    let pod = pod(&call)?;
    let Some(node) = node(&pod) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name())));
    };
    let place = format!("{}/{}", call.namespace(), call.name());
    let query = head.uri().query().unwrap_or_default();
    let path = match call.subresource() {
        "portforward" => format!("/portForward/{place}?{query}"),
        "attach" => format!("/attach/{place}/{}?{query}", container(&call, &pod)?),
        _ if call.query().get("command").is_none() => {
            return Err(Status::bad_request("you must specify at least 1 command for the container"));
        }
        _ => format!("/exec/{place}/{}?{query}", container(&call, &pod)?),
    };
    let (mut parts, ()) = head.into_parts();
    parts.uri = path.parse().map_err(|_| Status::bad_request("the address of the stream is not a path"))?;
    let request = http::Request::from_parts(parts, body);
    forward(&call, node, request).await
}

async fn forward(call: &Call, node: &str, request: http::Request<Body>) -> Result<Response, Status> {
    let relay =
        call.server.relay.as_ref().ok_or_else(|| Status::unavailable("no node can be reached from this server"))?;
    let response = relay.request(node, request).await;
    response.map_err(|error| Status::internal(error.to_string()))
}

fn pod(call: &Call) -> Result<Value, Status> {
    Ok(call.server.codec.value(&*update::read(call, call.name())?))
}

fn node(pod: &Value) -> Option<&str> {
    Some(text(pod, &["spec", "nodeName"])).filter(|node| !node.is_empty())
}

/// The container asked for, or the only one, or the one the default-container annotation names.
fn container(call: &Call, pod: &Value) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|container| text(container, &["name"]).to_owned()).collect()
    };
    let (mains, inits, debuggers) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if let Some(wanted) = call.query().get("container") {
        if [&mains, &inits, &debuggers].iter().any(|names| names.iter().any(|name| name == wanted)) {
            return Ok(wanted.to_owned());
        }
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", call.name())));
    }
    match mains.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {}", call.name()))),
        many => {
            let (pod, mains) = (call.name(), many.join(" "));
            let inits = if inits.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", inits.join(" "))
            };
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod}, choose one of: [{mains}]{inits}"
            )))
        }
    }
}
