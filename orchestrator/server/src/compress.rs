//! Long replies are compressed when the client can read it; streams never are, they must not wait for more.

use std::io::Write;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, header};
use http_body_util::BodyExt;

use crate::limits::COMPRESS_BYTES_MIN;

pub async fn compress(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let reads_gzip = accepts.is_some_and(|value| value.split(',').any(|coding| coding.trim() == "gzip"));
    let response = next.run(request).await;
    let long = response.body().size_hint().exact().is_some_and(|bytes| bytes > COMPRESS_BYTES_MIN);
    if !reads_gzip || !long || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let plain = body.to_bytes();
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let written = encoder.write_all(&plain).and_then(|()| encoder.finish());
    let Ok(compressed) = written else { return Response::from_parts(parts, plain.into()) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, compressed.into())
}
