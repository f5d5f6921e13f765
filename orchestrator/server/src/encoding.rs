//! What typed Go clients asked for in protobuf leaves in protobuf, and what was asked for in YAML in YAML: one layer
//! behind all verbs that rewrites finished JSON replies, errors and watches too. Kinds without that form stay JSON where the client reads it.

use amphipod_schema::{encode_protobuf, encode_watch_event};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::accept::{self, Encoding};
use crate::forward::Relayed;
use crate::reply::Status;

const ONE: &str = "application/vnd.kubernetes.protobuf";
const YAML: &str = "application/yaml";
const STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// What remains when an object has no protobuf form.
const TEXTS: &[&str] = &["application/json", "application/yaml"];

pub async fn encode(request: Request, next: Next) -> Response {
    let wanted = accept::encoding(request.headers());
    let response = next.run(request).await;
    if response.extensions().get::<Relayed>().is_some() {
        return response;
    }
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let is_whole = response.body().size_hint().exact().is_some();
    match wanted {
        Encoding::Json => response,
        _ if !is_json => response,
        wanted if is_whole => whole(response, wanted).await,
        Encoding::Yaml => response,
        Encoding::Protobuf | Encoding::ProtobufOnly => stream(response),
    }
}

async fn whole(response: Response, wanted: Encoding) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let json = body.to_bytes();
    let value: Value = serde_json::from_slice(&json).unwrap_or_default();
    let (content_type, encoded) = match wanted {
        Encoding::Yaml => (YAML, serde_yaml_ng::to_string(&value).ok().map(String::into_bytes)),
        _ => (ONE, encode_protobuf(&value).ok()),
    };
    match encoded {
        Some(bytes) => {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, bytes.into())
        }
        None if wanted == Encoding::ProtobufOnly && parts.status.is_success() && value["kind"].is_string() => {
            Status::not_acceptable(TEXTS).into_response()
        }
        None => Response::from_parts(parts, json.into()),
    }
}

/// Each part of a watch's body is whole lines.
fn stream(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(STREAM));
    let frames = body.into_data_stream().map(|lines| lines.and_then(|lines| framed(&lines).map_err(axum::Error::new)));
    Response::from_parts(parts, Body::from_stream(frames))
}

fn framed(lines: &Bytes) -> Result<Bytes, amphipod_schema::EncodeError> {
    let mut out = BytesMut::with_capacity(lines.len());
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        out.extend_from_slice(&encode_watch_event(&event)?);
    }
    Ok(out.freeze())
}
