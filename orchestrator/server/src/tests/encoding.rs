//! Protobuf both ways, as typed Go clients speak it, and what is refused.

use std::time::Duration;

use amphipod_schema::{decode_protobuf, encode_protobuf};
use bytes::Bytes;
use futures::StreamExt;
use http::header;

use super::*;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MAPS: &str = "/api/v1/namespaces/d/configmaps";

/// `Accept: accept`; a body goes as protobuf.
async fn ask(server: &Server, line: &str, (accept, body): (&str, Value)) -> Response<Body> {
    let bytes = if body.is_null() { Vec::new() } else { encode_protobuf(&body).unwrap() };
    let mut request = request(line, bytes);
    request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
    if !body.is_null() {
        request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF.parse().unwrap());
    }
    raw(server, request).await
}

async fn answer(server: &Server, line: &str, body: Value) -> (StatusCode, Value) {
    let response = ask(server, line, ("application/vnd.kubernetes.protobuf,application/json", body)).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], PROTOBUF, "{line}");
    let status = response.status();
    (status, decode_protobuf(&response.into_body().collect().await.unwrap().to_bytes()).unwrap().value)
}

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": "v" } })
}

#[tokio::test]
async fn objects_lists_and_errors_are_protobuf_for_those_who_prefer_it() {
    let server = server().await;
    let (status, created) = answer(&server, &format!("POST {MAPS}"), map("a")).await;
    assert_eq!((status, &created["data"]), (StatusCode::CREATED, &json!({ "k": "v" })));
    let (_, list) = answer(&server, &format!("GET {MAPS}"), Value::Null).await;
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["name"]), (&json!("ConfigMapList"), &json!("a")));
    let (status, refusal) = answer(&server, &format!("GET {MAPS}/none"), Value::Null).await;
    assert_eq!((status, &refusal["message"]), (StatusCode::NOT_FOUND, &json!("configmaps \"none\" not found")));
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": "other" } });
    let (status, refusal) = answer(&server, &format!("DELETE {MAPS}/a"), options).await;
    assert_eq!((status, &refusal["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
    let (_, groups) = answer(&server, "GET /apis", Value::Null).await;
    assert_eq!(groups["kind"], "APIGroupList");
}

#[tokio::test]
async fn every_request_that_is_no_object_of_its_address_may_be_protobuf() {
    let server = server().await;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    answer(&server, "POST /api/v1/namespaces/d/pods", pod).await;
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } });
    assert_eq!(answer(&server, "POST /api/v1/namespaces/d/pods/p/binding", binding).await.1["status"], "Success");
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } });
    assert_eq!(answer(&server, "POST /api/v1/namespaces/d/pods/p/eviction", eviction).await.0, StatusCode::CREATED);
    let (_, deployed) = send(&server, "POST /apis/apps/v1/namespaces/d/deployments", deployment("w", 1)).await;
    assert_eq!(deployed["kind"], "Deployment");
    let scale = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "w" }, "spec": { "replicas": 3 } });
    let (_, scaled) = answer(&server, "PUT /apis/apps/v1/namespaces/d/deployments/w/scale", scale).await;
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "nonResourceAttributes": { "verb": "get", "path": "/x" } },
    });
    let (_, reviewed) = answer(&server, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await;
    assert_eq!(reviewed["status"]["allowed"], true);
}

/// Length-delimited frames: `TYPE name` of each.
async fn events(response: Response<Body>, count: usize) -> Vec<String> {
    let mut body = response.into_body().into_data_stream();
    let mut bytes = Vec::new();
    let mut found = Vec::new();
    while found.len() < count {
        while bytes.len() < 4 || bytes.len() < 4 + length(&bytes) {
            let next = tokio::time::timeout(Duration::from_secs(20), body.next()).await;
            bytes.extend_from_slice(&next.expect("the watch goes on").unwrap().unwrap());
        }
        let rest = bytes.split_off(4 + length(&bytes));
        found.push(event(&bytes[4..]));
        bytes = rest;
    }
    found
}

fn length(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}

/// type 1 and object 2 of a bare WatchEvent; the object is an envelope within a RawExtension.
fn event(bytes: &[u8]) -> String {
    let kind_end = 2 + usize::from(bytes[1]);
    let at = bytes.windows(4).position(|window| window == b"k8s\0").unwrap();
    let object = decode_protobuf(&bytes[at..]).unwrap().value;
    format!("{} {} {}", std::str::from_utf8(&bytes[2..kind_end]).unwrap(), object["kind"], object["metadata"]["name"])
}

#[tokio::test]
async fn watches_are_framed() {
    let server = server().await;
    for name in ["a", "b"] {
        answer(&server, &format!("POST {MAPS}"), map(name)).await;
    }
    let list = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let accept = "application/vnd.kubernetes.protobuf;stream=watch";
    let response = ask(&server, &format!("GET {MAPS}?watch=true&{list}"), (accept, Value::Null)).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], accept);
    assert_eq!(
        events(response, 3).await,
        [r#"ADDED "ConfigMap" "a""#, r#"ADDED "ConfigMap" "b""#, r#"BOOKMARK "ConfigMap" null"#]
    );
    let accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let response = ask(&server, &format!("GET {MAPS}?watch=true"), (accept, Value::Null)).await;
    assert_eq!(events(response, 1).await, [r#"ADDED "PartialObjectMetadata" "a""#]);
}

#[tokio::test]
async fn what_cannot_be_read_or_written_is_refused() {
    let server = server().await;
    for (accept, code, content_type) in [
        ("application/cbor", 406, "application/json"),
        ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", 406, "application/json"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/vnd.kubernetes.protobuf", 200, "application/json"),
        ("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", 200, PROTOBUF),
        ("application/yaml", 200, "application/yaml"),
    ] {
        let response = ask(&server, &format!("GET {MAPS}"), (accept, Value::Null)).await;
        let given = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), given.as_str()), (code, content_type), "{accept}");
    }
    // A page of another site can make a browser send the last two.
    let foreign = [("text/plain", 415), ("application/x-www-form-urlencoded", 415)];
    let own = [("application/cbor", 415), ("application/json; charset=utf-8", 201), (PROTOBUF, 400)];
    for (content_type, code) in own.into_iter().chain(foreign) {
        let mut request = request(&format!("POST {MAPS}"), map("x").to_string().into_bytes());
        request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(raw(&server, request).await.status().as_u16(), code, "{content_type}");
    }
}

#[tokio::test]
async fn long_protobuf_replies_are_compressed() {
    let server = server().await;
    let mut big = map("big");
    big["data"]["k"] = "x".repeat(200_000).into();
    answer(&server, &format!("POST {MAPS}"), big).await;
    let mut request = request(&format!("GET {MAPS}/big"), Vec::new());
    request.headers_mut().insert(header::ACCEPT, PROTOBUF.parse().unwrap());
    request.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    let response = raw(&server, request).await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let packed: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).unwrap();
    assert_eq!(decode_protobuf(&plain).unwrap().value["metadata"]["name"], "big");
}
