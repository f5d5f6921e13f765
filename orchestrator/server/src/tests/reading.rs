//! Get, list, watch.

use std::time::Duration;

use expect_test::expect;
use futures::StreamExt;

use super::*;

const CMS: &str = "/api/v1/namespaces/d/configmaps";

async fn put(server: &Server, name: &str, label: &str) {
    let body = json!({ "metadata": { "name": name, "labels": { "l": label } }, "data": { "k": "v" } });
    let (status, reply) = send(server, &format!("POST {CMS}"), body).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
}

/// `rv` and the names of a list.
fn names(list: &Value) -> String {
    let items = list["items"].as_array().into_iter().flatten();
    let names: Vec<_> = items.map(|item| item["metadata"]["name"].as_str().unwrap_or("-")).collect();
    let metadata = &list["metadata"];
    format!(
        "{} {} remaining {}",
        metadata["resourceVersion"].as_str().unwrap_or("-"),
        names.join(" "),
        metadata["remainingItemCount"]
    )
}

#[tokio::test]
async fn pages_of_a_list_share_one_revision() {
    let server = server().await;
    for name in ["a", "b", "c"] {
        put(&server, name, "x").await;
    }
    let (_, first) = send(&server, &format!("GET {CMS}?limit=2"), Value::Null).await;
    expect!["4 a b remaining 1"].assert_eq(&names(&first));
    put(&server, "bb", "x").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = send(&server, &format!("GET {CMS}?limit=2&continue={token}"), Value::Null).await;
    expect!["4 c remaining null"].assert_eq(&names(&second));
    let (_, all) = send(&server, "GET /api/v1/configmaps?limit=3", Value::Null).await;
    let token = all["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = send(&server, &format!("GET /api/v1/configmaps?continue={token}"), Value::Null).await;
    expect!["5 c remaining null"].assert_eq(&names(&rest));
    let empty = send(&server, "GET /api/v1/namespaces/none/configmaps", Value::Null).await.1;
    expect![[r#"{"apiVersion":"v1","items":[],"kind":"ConfigMapList","metadata":{"resourceVersion":"5"}}"#]]
        .assert_eq(&empty.to_string());
}

#[tokio::test]
async fn selectors_and_list_options() {
    let server = server().await;
    put(&server, "a", "x").await;
    put(&server, "b", "y").await;
    let list = async |query: &str| {
        let (status, reply) = send(&server, &format!("GET {CMS}?{query}"), Value::Null).await;
        if status == 200 {
            names(&reply)
        } else {
            format!("{} {}", status.as_u16(), reply["message"].as_str().unwrap_or("-"))
        }
    };
    expect!["3 b remaining null"].assert_eq(&list("labelSelector=l%20in%20(y,z)").await);
    expect!["3 a remaining null"].assert_eq(&list("fieldSelector=metadata.name%3Da").await);
    expect!["3 b remaining null"].assert_eq(&list("fieldSelector=metadata.name!%3Da").await);
    expect!["400 field label not supported: spec.x"].assert_eq(&list("fieldSelector=spec.x%3Da").await);
    expect!["400 unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"]
        .assert_eq(&list("labelSelector=a%20b").await);
    expect![[r#"422 ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#]].assert_eq(&list("resourceVersionMatch=Exact").await);
    expect![[r#"422 ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0""#]].assert_eq(&list("resourceVersionMatch=Exact&resourceVersion=0").await);
    expect![[r#"422 ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"#]].assert_eq(&list("sendInitialEvents=true").await);
    expect![[r#"400 Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#]]
        .assert_eq(&list("resourceVersion=x").await);
    expect!["400 continue key is not valid"].assert_eq(&list("continue=x").await);
}

#[tokio::test]
async fn tables_and_metadata_instead_of_objects() {
    let server = server().await;
    put(&server, "a", "x").await;
    let get = async |path: &str, target: &str| {
        let mut request = request(&format!("GET {path}"), Vec::new());
        let accept = format!("application/json;as={target};v=v1;g=meta.k8s.io");
        request.headers_mut().insert("accept", accept.parse().unwrap());
        read(raw(&server, request).await).await.1
    };
    let table = get(CMS, "Table").await;
    assert_eq!(table["kind"], "Table");
    expect![[r#"["a",1,"0s"]"#]].assert_eq(&table["rows"][0]["cells"].to_string());
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(get(&format!("{CMS}/a"), "Table").await["rows"].as_array().unwrap().len(), 1);
    let refused = get(&format!("{CMS}?includeObject=All"), "Table").await;
    expect!["Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty"]
        .assert_eq(refused["message"].as_str().unwrap());
    let partial = get(CMS, "PartialObjectMetadataList").await;
    assert_eq!((partial["kind"].as_str(), partial["items"][0].get("data")), (Some("PartialObjectMetadataList"), None));
    assert_eq!(partial["items"][0]["metadata"]["labels"]["l"], "x");
    let mut unknown = request(&format!("GET {CMS}"), Vec::new());
    unknown.headers_mut().insert("accept", "application/cbor".parse().unwrap());
    assert_eq!(raw(&server, unknown).await.status(), 406);
}

/// The next `count` events of a watch as `TYPE name rv`.
async fn events(response: Response<Body>, count: usize, doing: impl Future<Output = ()>) -> Vec<String> {
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    doing.await;
    let mut text = String::new();
    let read = async {
        while text.lines().count() < count {
            let Some(chunk) = body.next().await else { break };
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("the events come");
    let brief = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str().or(object["message"].as_str()).unwrap_or("-");
        let mark = if object["metadata"]["annotations"].is_object() { " end" } else { "" };
        format!(
            "{} {name} {}{mark}",
            event["type"].as_str().unwrap(),
            object["metadata"]["resourceVersion"].as_str().unwrap_or("-")
        )
    };
    text.lines().map(brief).collect()
}

async fn watch(server: &Server, query: &str) -> Response<Body> {
    raw(server, request(&format!("GET {CMS}?watch=true&{query}"), Vec::new())).await
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_what_changes() {
    let server = server().await;
    put(&server, "a", "x").await;
    let response = watch(&server, "resourceVersion=0").await;
    let seen = events(response, 4, async {
        put(&server, "b", "x").await;
        send(&server, &format!("PATCH {CMS}/a"), json!({ "data": { "k": "w" } })).await;
        send(&server, &format!("DELETE {CMS}/b"), Value::Null).await;
    });
    expect![[r#"
        ADDED a 2
        ADDED b 3
        MODIFIED a 4
        DELETED b 5"#]]
    .assert_eq(&seen.await.join("\n"));
    let from = watch(&server, "resourceVersion=3").await;
    expect![[r#"
        MODIFIED a 4
        DELETED b 5"#]]
    .assert_eq(&events(from, 2, async {}).await.join("\n"));
}

#[tokio::test]
async fn leaving_a_selector_is_a_deletion_and_entering_an_addition() {
    let server = server().await;
    put(&server, "a", "x").await;
    put(&server, "b", "y").await;
    let response = watch(&server, "labelSelector=l%3Dx").await;
    let seen = events(response, 4, async {
        let label = |value: &str| json!({ "metadata": { "labels": { "l": value } } });
        send(&server, &format!("PATCH {CMS}/a"), label("y")).await;
        send(&server, &format!("PATCH {CMS}/b"), json!({ "data": { "other": "change" } })).await;
        send(&server, &format!("PATCH {CMS}/b"), label("x")).await;
        send(&server, &format!("PATCH {CMS}/b"), json!({ "data": { "k": "z" } })).await;
    });
    expect![[r#"
        ADDED a 2
        DELETED a 4
        ADDED b 6
        MODIFIED b 7"#]]
    .assert_eq(&seen.await.join("\n"));
}

#[tokio::test]
async fn watch_list_ends_its_initial_events_with_a_bookmark() {
    let server = server().await;
    put(&server, "a", "x").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let seen = events(watch(&server, query).await, 3, put(&server, "b", "x"));
    expect![[r#"
        ADDED a 2
        BOOKMARK - 2 end
        ADDED b 3"#]]
    .assert_eq(&seen.await.join("\n"));
    let refused = read(watch(&server, "sendInitialEvents=true").await).await;
    assert_eq!(refused.0.as_u16(), 422);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let server = server().await;
    let response = watch(&server, "timeoutSeconds=1&allowWatchBookmarks=true").await;
    let body = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect()).await.unwrap();
    assert!(body.unwrap().to_bytes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_future_is_waited_for_three_seconds() {
    let server = server().await;
    let (status, reply) = send(&server, &format!("GET {CMS}?resourceVersion=99"), Value::Null).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(reply["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn a_client_in_this_process_lists_watches_and_patches() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchParams};
    let server = server().await;
    let api: Api<ConfigMap> = Api::namespaced(server.client(Identity::system_masters()), "d");
    let object = serde_json::from_value(json!({ "metadata": { "name": "a" }, "data": { "k": "v" } })).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let listed = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let revision = listed.metadata.resource_version.unwrap();
    let mut watched = Box::pin(api.watch(&WatchParams::default(), &revision).await.unwrap());
    let merge = Patch::Merge(json!({ "data": { "k": "w" } }));
    api.patch("a", &PatchParams::default(), &merge).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(5), watched.next()).await.unwrap().unwrap().unwrap();
    let kube::api::WatchEvent::Modified(object) = event else { panic!("{event:?}") };
    assert_eq!(object.data.unwrap()["k"], "w");
}

#[tokio::test]
async fn an_informer_in_this_process_follows_the_store() {
    use amphipod_api::{Change, Informers};
    use k8s_openapi::api::core::v1::ConfigMap;
    let server = server().await;
    put(&server, "a", "x").await;
    let informer = Informers::new(server.source(Identity::system_masters())).of::<ConfigMap>();
    informer.synced().await;
    assert!(informer.get("d", "a").is_some());
    let mut changes = informer.subscribe();
    changes.next().await;
    put(&server, "b", "x").await;
    let change = tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap().unwrap();
    let Change::Applied { now, .. } = change else { panic!("{change:?}") };
    assert_eq!(now.metadata.name.as_deref(), Some("b"));
}
