//! Quotas over the whole road: never exceeded, given back, known after a crash.

use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{MemoryStore, RaftStore, Store};
use expect_test::expect;
use serde_json::json;

use super::*;
use crate::admission::resource_quota::{QuotaNews, ResourceQuotas, keeper};

const CMS: &str = "/api/v1/namespaces/d/configmaps";
const PODS: &str = "/api/v1/namespaces/d/pods";
const QUOTAS: &str = "/api/v1/namespaces/d/resourcequotas";

async fn open(store: Arc<dyn Store>, news: QuotaNews) -> Server {
    let mut options = Options::new(store, Arc::new(AllButMallory));
    options.clock = Arc::new(|| "2026-01-02T03:04:05.6Z".parse().unwrap());
    options.admission = vec![Arc::new(ResourceQuotas(news))];
    Server::new(options).await.unwrap()
}

/// A server with the namespace `d` and a keeper that ends with the returned set.
async fn kept() -> (Server, tokio::task::JoinSet<()>) {
    let news = QuotaNews::default();
    let server = open(Arc::new(MemoryStore::new()), news.clone()).await;
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(keeper::keep(server.clone(), news));
    (server, tasks)
}

async fn limit(server: &Server, name: &str, spec: Value) {
    let (status, reply) =
        send(server, &format!("POST {QUOTAS}"), json!({ "metadata": { "name": name }, "spec": spec })).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
}

/// Waits until the quota's status is this, as JSON.
async fn until(server: &Server, name: &str, wanted: Value) {
    let mut seen = Value::Null;
    for _ in 0..500 {
        let (_, reply) = send(server, &format!("GET {QUOTAS}/{name}"), Value::Null).await;
        seen = reply["status"]["used"].clone();
        if seen == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} uses {seen}, wanted {wanted}");
}

fn named(name: &str) -> Value {
    json!({ "metadata": { "name": name } })
}

fn asking(name: &str, cpu: &str) -> Value {
    let resources = json!({ "requests": { "cpu": cpu, "memory": "1Gi" } });
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "i", "resources": resources }] } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_creators_at_once_never_exceed_and_deletions_free() {
    let (server, _keeper) = kept().await;
    limit(&server, "q", json!({ "hard": { "count/configmaps": "20", "secrets": "5" } })).await;
    until(&server, "q", json!({ "count/configmaps": "0", "secrets": "0" })).await;
    let mut creators = tokio::task::JoinSet::new();
    for creator in 0..64 {
        let server = server.clone();
        creators.spawn(async move {
            let (status, reply) = send(&server, &format!("POST {CMS}"), named(&format!("c{creator}"))).await;
            if status != StatusCode::CREATED {
                let message = reply["message"].as_str().unwrap().to_owned();
                let expected = "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=20, limited: count/configmaps=20";
                assert!(message.ends_with(expected), "{message}");
            }
            status
        });
    }
    let answers = creators.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::CREATED).count(), 20);
    until(&server, "q", json!({ "count/configmaps": "20", "secrets": "0" })).await;
    let (_, list) = send(&server, &format!("GET {CMS}"), Value::Null).await;
    let name = list["items"][7]["metadata"]["name"].as_str().unwrap().to_owned();
    check(&server, &format!("DELETE {CMS}/{name}?dryRun=All"), Value::Null, expect!["200 Status/-"]).await;
    check(&server, &format!("POST {CMS}"), named("dry"), expect![[r#"403 Forbidden configmaps "dry" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=20, limited: count/configmaps=20"#]]).await;
    check(&server, &format!("DELETE {CMS}/{name}"), Value::Null, expect!["200 Status/-"]).await;
    check(&server, &format!("POST {CMS}?dryRun=All"), named("dry"), expect!["201 ConfigMap/dry"]).await;
    check(&server, &format!("POST {CMS}"), named("again"), expect!["201 ConfigMap/again"]).await;
    check(&server, &format!("POST {CMS}?dryRun=All"), named("dry"), expect![[r#"403 Forbidden configmaps "dry" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=20, limited: count/configmaps=20"#]]).await;
}

#[tokio::test]
async fn pods_take_compute_until_they_rest() {
    let (server, _keeper) = kept().await;
    check(&server, &format!("POST {PODS}"), asking("before", "1"), expect!["201 Pod/before"]).await;
    limit(
        &server,
        "q",
        json!({ "hard": { "pods": "3", "requests.cpu": "2", "requests.memory": "4096Mi", "count/pods": "4" } }),
    )
    .await;
    let used = |pods: &str, cpu: &str, memory: &str, all: &str| json!({ "pods": pods, "requests.cpu": cpu, "requests.memory": memory, "count/pods": all });
    until(&server, "q", used("1", "1", "1Gi", "1")).await;
    let post = format!("POST {PODS}");
    check(&server, &post, pod("silent"), expect![[r#"403 Forbidden pods "silent" is forbidden: failed quota: q: must specify requests.cpu for: c; requests.memory for: c"#]]).await;
    check(&server, &post, asking("large", "1500m"), expect![[r#"403 Forbidden pods "large" is forbidden: exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=1, limited: requests.cpu=2"#]]).await;
    check(&server, &post, asking("b", "500m"), expect!["201 Pod/b"]).await;
    until(&server, "q", used("2", "1500m", "2Gi", "2")).await;
    let rests = json!({ "status": { "phase": "Succeeded" } });
    check(&server, &format!("PATCH {PODS}/before/status"), rests, expect!["200 Pod/before"]).await;
    until(&server, "q", used("1", "500m", "1Gi", "2")).await;
    check(&server, &post, asking("large", "1500m"), expect!["201 Pod/large"]).await;
    check(&server, &post, asking("more", "1"), expect![[r#"403 Forbidden pods "more" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2"#]]).await;
    check(&server, &format!("DELETE {PODS}/before"), Value::Null, expect!["200 Pod/before"]).await;
    check(&server, &format!("DELETE {PODS}/b"), Value::Null, expect!["200 Pod/b"]).await;
    until(&server, "q", used("1", "1500m", "1Gi", "1")).await;
}

#[tokio::test]
async fn a_changed_quota_is_counted_anew_and_a_finalizer_holds_its_share() {
    let (server, _keeper) = kept().await;
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/f"] } });
    check(&server, &format!("POST {CMS}"), held, expect!["201 ConfigMap/held"]).await;
    limit(&server, "q", json!({ "hard": { "pods": "1" } })).await;
    until(&server, "q", json!({ "pods": "0" })).await;
    let wider = json!({ "spec": { "hard": { "configmaps": "2" } } });
    check(&server, &format!("PATCH {QUOTAS}/q"), wider, expect!["200 ResourceQuota/q"]).await;
    until(&server, "q", json!({ "configmaps": "1", "pods": "0" })).await;
    check(&server, &format!("DELETE {CMS}/held"), Value::Null, expect!["200 ConfigMap/held"]).await;
    check(&server, &format!("POST {CMS}"), named("a"), expect!["201 ConfigMap/a"]).await;
    until(&server, "q", json!({ "configmaps": "2", "pods": "0" })).await;
    check(&server, &format!("POST {CMS}"), named("b"), expect![[r#"403 Forbidden configmaps "b" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"#]]).await;
    let free = json!({ "metadata": { "finalizers": null } });
    check(&server, &format!("PATCH {CMS}/held"), free, expect!["200 ConfigMap/held"]).await;
    check(&server, &format!("POST {CMS}"), named("b"), expect!["201 ConfigMap/b"]).await;
    until(&server, "q", json!({ "configmaps": "2", "pods": "0" })).await;
}

#[tokio::test]
async fn services_are_charged_when_they_change() {
    let (server, _keeper) = kept().await;
    limit(&server, "q", json!({ "hard": { "services": "2", "services.nodeports": "1" } })).await;
    until(&server, "q", json!({ "services": "0", "services.nodeports": "0" })).await;
    let services = "/api/v1/namespaces/d/services";
    let service = |ports: Value| json!({ "metadata": { "name": "s" }, "spec": { "ports": ports } });
    let one = json!([{ "name": "a", "port": 1 }]);
    check(&server, &format!("POST {services}"), service(one.clone()), expect!["201 Service/s"]).await;
    let node_port = json!({ "spec": { "type": "NodePort" } });
    check(&server, &format!("PATCH {services}/s"), node_port, expect!["200 Service/s"]).await;
    until(&server, "q", json!({ "services": "1", "services.nodeports": "1" })).await;
    let two = json!({ "spec": { "ports": [{ "name": "a", "port": 1 }, { "name": "b", "port": 2 }] } });
    check(&server, &format!("PATCH {services}/s"), two, expect![[r#"403 Forbidden services "s" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"#]]).await;
    let inner = json!({ "spec": { "type": "ClusterIP" } });
    check(&server, &format!("PATCH {services}/s"), inner, expect!["200 Service/s"]).await;
    until(&server, "q", json!({ "services": "1", "services.nodeports": "0" })).await;
}

/// What is charged lies in the log with the object: a server that died without a word knows it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_parts_no_object_from_its_charge() {
    let folder = tempfile::tempdir().unwrap();
    let news = QuotaNews::default();
    let store = Arc::new(RaftStore::open(amphipod_store::Options::new(folder.path())).await.unwrap());
    let server = open(store.clone(), news.clone()).await;
    send(&server, "POST /api/v1/namespaces", named("d")).await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(keeper::keep(server.clone(), news));
    limit(&server, "q", json!({ "hard": { "configmaps": "8" } })).await;
    until(&server, "q", json!({ "configmaps": "0" })).await;
    tasks.shutdown().await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(brief(&server, &format!("POST {CMS}"), named(name)).await, format!("201 ConfigMap/{name}"));
    }
    drop(server);
    store.shutdown().await;
    drop(store);
    let again = Arc::new(RaftStore::open(amphipod_store::Options::new(folder.path())).await.unwrap());
    let server = open(again.clone(), QuotaNews::default()).await;
    let key = server.cluster(again.snapshot()).key("resourcequotas", "d", "q").unwrap();
    assert_eq!(again.snapshot().charged(&key, "configmaps"), 6);
    for name in ["g", "h"] {
        assert_eq!(brief(&server, &format!("POST {CMS}"), named(name)).await, format!("201 ConfigMap/{name}"));
    }
    check(&server, &format!("POST {CMS}"), named("i"), expect![[r#"403 Forbidden configmaps "i" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=8, limited: configmaps=8"#]]).await;
    again.shutdown().await;
}
