//! Who looks with curl, Wget or a browser reads indented JSON, and so does who asks for `?pretty=true`. Members keep their
//! order: only blanks are put between them.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header;
use http_body_util::BodyExt;

use crate::forward::Relayed;

const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

pub async fn indent(request: Request, next: Next) -> Response {
    let wanted = is_wanted(&request) && !request.uri().path().starts_with("/openapi/");
    let response = next.run(request).await;
    let is_json = |response: &Response| {
        response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
    };
    let is_whole = response.body().size_hint().exact().is_some();
    if !wanted || !is_whole || !is_json(&response) || response.extensions().get::<Relayed>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, indented(&body.to_bytes()).into())
}

fn is_wanted(request: &Request) -> bool {
    let said = request.uri().query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("pretty="));
    match said.filter(|said| !said.is_empty()) {
        Some(said) => ["1", "t", "T", "true", "TRUE", "True"].contains(&said),
        None => {
            let agent = request.headers().get(header::USER_AGENT).map(|agent| agent.as_bytes()).unwrap_or_default();
            PEOPLE.iter().any(|name| agent.starts_with(name.as_bytes()))
        }
    }
}

/// Two blanks a level, `: ` behind names, nothing within empty objects and lists.
pub fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut bytes = json.iter().copied().peekable();
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            (in_string, is_escaped) = (is_escaped || byte != b'"', !is_escaped && byte == b'\\');
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => {
                out.push(byte);
                if let Some(end) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn blanks_are_all_that_is_added() {
        let value = json!({ "a": [], "b": {}, "c": [1, { "d": "x{\"\\\\[,:" }], "e": null });
        let compact = value.to_string();
        let text = String::from_utf8(indented(compact.as_bytes())).unwrap();
        assert_eq!(text, serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn people_read_lines_and_programs_do_not() {
        let table = [
            ("curl/7.88.1", "/api/v1/pods", true),
            ("Wget/1.21", "/api/v1/pods?limit=1", true),
            ("Mozilla/5.0 (X11)", "/", true),
            ("kubectl/v1.37.1", "/api/v1/pods", false),
            ("kubectl/v1.37.1", "/api/v1/pods?limit=1&pretty=true", true),
            ("curl/7.88.1", "/api/v1/pods?pretty=0", false),
            ("curl/7.88.1", "/api/v1/pods?pretty=", true),
            ("curl/7.88.1", "/api/v1/pods?pretty=yes", false),
        ];
        for (agent, uri, wanted) in table {
            let request = Request::builder().uri(uri).header(header::USER_AGENT, agent).body(Body::empty()).unwrap();
            assert_eq!(is_wanted(&request), wanted, "{agent} {uri}");
        }
    }
}
