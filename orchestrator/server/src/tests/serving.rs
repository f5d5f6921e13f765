//! Discovery, reviews, the road.

use expect_test::expect;
use http::HeaderValue;

use super::*;

async fn as_user(server: &Server, line: &str, user: &str, headers: &[(&'static str, &str)]) -> String {
    let mut request = request(line, Vec::new());
    request.extensions_mut().insert(Identity::new(user, &["system:authenticated"]));
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let (status, reply) = read(raw(server, request).await).await;
    format!("{} {}", status.as_u16(), reply["message"].as_str().unwrap_or("-"))
}

#[tokio::test]
async fn who_may_not_is_told_so_in_upstreams_words() {
    let server = server().await;
    let pods = "GET /api/v1/namespaces/d/pods";
    expect!["200 -"].assert_eq(&as_user(&server, pods, "alice", &[]).await);
    expect![[
        r#"403 pods is forbidden: User "mallory" cannot list resource "pods" in API group "" in the namespace "d""#
    ]]
    .assert_eq(&as_user(&server, pods, "mallory", &[]).await);
    expect![[r#"403 deployments.apps is forbidden: User "mallory" cannot list resource "deployments" in API group "apps" at the cluster scope"#]].assert_eq(&as_user(&server, "GET /apis/apps/v1/deployments", "mallory", &[]).await);
    expect![[r#"403 forbidden: User "mallory" cannot get path "/healthz""#]]
        .assert_eq(&as_user(&server, "GET /healthz", "mallory", &[]).await);
    expect![[
        r#"403 pods is forbidden: User "mallory" cannot list resource "pods" in API group "" in the namespace "d""#
    ]]
    .assert_eq(&as_user(&server, pods, "alice", &[("impersonate-user", "mallory")]).await);
    expect![[r#"403 users "alice" is forbidden: User "mallory" cannot impersonate resource "users" in API group "" at the cluster scope"#]].assert_eq(&as_user(&server, pods, "mallory", &[("impersonate-user", "alice")]).await);
    expect!["400 requested impersonation without impersonating a user"]
        .assert_eq(&as_user(&server, pods, "alice", &[("impersonate-group", "g")]).await);
}

#[tokio::test]
async fn without_credentials_one_is_anonymous() {
    let server = server().await;
    let mut request = request("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", b"{}".to_vec());
    request.extensions_mut().clear();
    let (status, reply) = read(raw(&server, request).await).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    assert_eq!(reply["status"]["userInfo"]["username"], "system:anonymous");
}

#[tokio::test]
async fn reviews_answer() {
    let server = server().await;
    let ask = json!({ "spec": { "user": "mallory", "resourceAttributes": { "verb": "get", "resource": "pods" } } });
    let (_, reply) = send(&server, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews", ask).await;
    assert_eq!(reply["status"], json!({ "allowed": false }));
    let ask = json!({ "spec": { "nonResourceAttributes": { "verb": "get", "path": "/x" } } });
    let (_, reply) = send(&server, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ask).await;
    assert_eq!(reply["status"], json!({ "allowed": true }));
    let (_, reply) =
        send(&server, "POST /apis/authentication.k8s.io/v1/tokenreviews", json!({ "spec": { "token": "x" } })).await;
    assert_eq!(reply["status"]["authenticated"], Value::Null);
}

#[tokio::test]
async fn discovery_in_both_forms() {
    let server = server().await;
    let (_, core) = send(&server, "GET /api/v1", Value::Null).await;
    let config_map = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "configmaps").unwrap().clone();
    expect![[r#"{"kind":"ConfigMap","name":"configmaps","namespaced":true,"shortNames":["cm"],"singularName":"configmap","storageVersionHash":"/cqpf5WsJrE=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}"#]].assert_eq(&config_map.to_string());
    let eviction = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "pods/eviction").unwrap().clone();
    expect![[r#"{"group":"policy","kind":"Eviction","name":"pods/eviction","namespaced":true,"singularName":"","verbs":["create"],"version":"v1"}"#]].assert_eq(&eviction.to_string());
    let mut aggregated = request("GET /apis", Vec::new());
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    aggregated.headers_mut().insert("accept", accept.parse().unwrap());
    let response = raw(&server, aggregated).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let (_, groups) = read(response).await;
    assert!(groups["items"].as_array().unwrap().iter().any(|group| group["metadata"]["name"] == "apps"));
    check(
        &server,
        "GET /apis/none",
        Value::Null,
        expect!["404 NotFound the server could not find the requested resource"],
    )
    .await;
    check(&server, "GET /apis/apps", Value::Null, expect!["200 APIGroup/-"]).await;
    let (_, version) = send(&server, "GET /version", Value::Null).await;
    assert_eq!((version["major"].as_str(), version["minor"].as_str()), (Some("1"), Some("37")));
}

#[tokio::test]
async fn long_lists_are_compressed_when_asked() {
    let server = server().await;
    for index in 0..3 {
        let body = json!({ "metadata": { "name": format!("c{index}") }, "data": { "k": "v".repeat(60_000) } });
        send(&server, "POST /api/v1/namespaces/d/configmaps", body).await;
    }
    let mut list = request("GET /api/v1/configmaps", Vec::new());
    list.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let response = raw(&server, list).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(response.into_body().collect().await.unwrap().to_bytes().len() < 20_000);
}

#[tokio::test]
async fn openapi_documents_are_found_by_the_index_and_cached_by_their_hash() {
    let server = server().await;
    let (_, index) = send(&server, "GET /openapi/v3", Value::Null).await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let response = raw(&server, request(&format!("GET {url}"), Vec::new())).await;
    let etag = response.headers()["etag"].clone();
    let (_, document) = read(response).await;
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let mut again = request(&format!("GET {url}"), Vec::new());
    again.headers_mut().insert("if-none-match", etag);
    assert_eq!(raw(&server, again).await.status(), 304);
}

/// Guards against a collapse, far above what it takes; the figure is measured elsewhere.
#[tokio::test]
async fn creates_do_not_cost_milliseconds() {
    let server = server().await;
    let router = server.router();
    let begun = std::time::Instant::now();
    const COUNT: u32 = 2_000;
    for index in 0..COUNT {
        let body =
            format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c{index}"}},"data":{{"k":"v"}}}}"#);
        let request = request("POST /api/v1/namespaces/d/configmaps", body.into_bytes());
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let each = begun.elapsed() / COUNT;
    assert!(each < std::time::Duration::from_millis(2), "{each:?}");
}

#[tokio::test]
async fn the_probes_name_a_store_that_cannot_write_any_more() {
    let store = Arc::new(MemoryStore::new());
    let server = Server::new(Options::new(store.clone(), Arc::new(AllButMallory))).await.unwrap();
    let ask = async |path: &str| {
        let (status, text) = read(raw(&server, request(&format!("GET {path}"), Vec::new())).await).await;
        format!("{} {}", status.as_u16(), text.as_str().unwrap_or_default())
    };
    assert_eq!(ask("/readyz").await, "200 ok");
    assert_eq!(
        ask("/readyz?verbose").await,
        "200 [+]ping ok\n[+]log ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n"
    );
    amphipod_store::Store::shutdown(&*store).await;
    assert_eq!(
        ask("/readyz").await,
        "500 [+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n"
    );
    assert_eq!(ask("/readyz?exclude=etcd").await, "200 ok");
    assert_eq!(ask("/readyz/ping").await, "200 ok");
    assert!(ask("/readyz/etcd").await.starts_with("500 internal server error: the store is unavailable"));
}

#[tokio::test]
async fn openapi_2_is_one_document_in_two_forms() {
    let server = server().await;
    let (status, document) = send(&server, "GET /openapi/v2", Value::Null).await;
    assert_eq!((status, &document["swagger"]), (StatusCode::OK, &Value::from("2.0")));
    let pod = &document["definitions"]["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    assert_eq!(document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["get"]["x-kubernetes-action"], "get");
    let ask = async |accept: &str, etag: Option<&HeaderValue>| {
        let mut asked = request("GET /openapi/v2", Vec::new());
        asked.headers_mut().insert("accept", accept.parse().unwrap());
        if let Some(etag) = etag {
            asked.headers_mut().insert("if-none-match", etag.clone());
        }
        raw(&server, asked).await
    };
    let response = ask("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", None).await;
    let sent = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!((response.status(), response.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, sent));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"\x0a\x032.0\x12") && body.len() > 100_000, "{} bytes", body.len());
    let etag = ask("*/*", None).await.headers()["etag"].clone();
    assert_eq!(ask("application/json", Some(&etag)).await.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(ask("text/html", None).await.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_server_that_ends_is_not_ready_and_closes_its_watches() {
    let server = server().await;
    let ask = async |path: &str| {
        let (status, text) = read(raw(&server, request(&format!("GET {path}"), Vec::new())).await).await;
        format!("{} {}", status.as_u16(), text.as_str().unwrap_or_default())
    };
    let watch = raw(&server, request("GET /api/v1/configmaps?watch=1", Vec::new())).await;
    server.end();
    assert!(watch.into_body().collect().await.is_ok(), "it ends as if its time were over");
    assert_eq!(
        ask("/readyz").await,
        "500 [+]ping ok\n[+]log ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n"
    );
    assert_eq!(ask("/readyz/shutdown").await, "500 internal server error: process is shutting down\n");
    assert_eq!(ask("/livez").await, "200 ok");
    expect!["429 TooManyRequests The apiserver is shutting down, please try again later."]
        .assert_eq(&brief(&server, "GET /api/v1/configmaps?watch=1", Value::Null).await);
    expect!["201 ConfigMap/late"].assert_eq(
        &brief(&server, "POST /api/v1/namespaces/d/configmaps", json!({ "metadata": { "name": "late" } })).await,
    );
}

/// A node that refuses everything in its own words.
struct Refusing(StatusCode);

#[async_trait::async_trait]
impl crate::seams::Relay for Refusing {
    async fn request(&self, _: &str, _: Request<Body>) -> Result<Response<Body>, crate::seams::RelayError> {
        Ok(Response::builder().status(self.0).body(Body::from("no such run\n")).unwrap())
    }
}

#[tokio::test]
async fn a_nodes_refusal_is_a_status_with_the_nodes_words() {
    for (code, expected) in [
        (StatusCode::BAD_REQUEST, "400 BadRequest no such run"),
        (StatusCode::INTERNAL_SERVER_ERROR, "500 InternalError Internal error occurred: no such run"),
    ] {
        let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
        options.relay = Some(Arc::new(Refusing(code)));
        let server = Server::new(options).await.unwrap();
        send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
        let mut bound = pod("p");
        bound["spec"]["nodeName"] = "n".into();
        let (status, made) = send(&server, "POST /api/v1/namespaces/d/pods", bound).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert_eq!(brief(&server, "GET /api/v1/namespaces/d/pods/p/log?previous=true", Value::Null).await, expected);
    }
}

#[tokio::test]
async fn who_asks_too_much_at_once_is_told_to_come_back() {
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.limits = crate::limits::Limits::new(10, 0);
    let server = Server::new(options).await.unwrap();
    let mut busy = request("GET /api/v1/pods", Vec::new());
    busy.extensions_mut().insert(Identity::new("alice", &[]));
    let response = raw(&server, busy).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, reply) = read(response).await;
    assert_eq!((status.as_u16(), &reply["reason"]), (429, &Value::from("TooManyRequests")));
    let (status, _) = send(&server, "GET /api/v1/pods", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "masters are not limited");
}

#[tokio::test]
async fn times_beyond_every_clock_are_taken() {
    const PODS: &str = "/api/v1/namespaces/d/pods";
    let server = server().await;
    let mut long = pod("long");
    long["spec"]["terminationGracePeriodSeconds"] = i64::MAX.into();
    long["spec"]["nodeName"] = "n".into();
    long["metadata"]["finalizers"] = json!(["example.com/f"]);
    check(&server, &format!("POST {PODS}"), long, expect!["201 Pod/long"]).await;
    let (status, reply) = send(&server, &format!("DELETE {PODS}/long"), Value::Null).await;
    assert_eq!((status.as_u16(), &reply["metadata"]["deletionTimestamp"]), (200, &json!("9999-12-30T22:00:00Z")));
    let (status, _) = send(&server, &format!("DELETE {PODS}/long?gracePeriodSeconds=5"), Value::Null).await;
    assert_eq!(status.as_u16(), 200);
    let watched = request(&format!("GET {PODS}?watch=true&timeoutSeconds={}", i64::MAX), Vec::new());
    assert_eq!(raw(&server, watched).await.status(), 200);
}
