//! kube-rs as an operator uses it, from another process and over TLS: a controller with a finalizer and what it owns, watchers of
//! both kinds, reflectors of whole objects and of metadata, waiting for conditions, patches, logs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{Controller, WatchStreamExt, finalizer, reflector};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, probe_wasm};

const FINALIZER: &str = "example.com/cleanup";
/// More than a busy operator has, and than clients put on one connection.
const WATCHES: usize = 120;
const PATIENCE: Duration = Duration::from_secs(60);

fn map(name: &str, label: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": { "part": label } }, "data": { "k": "v" } }))
        .unwrap()
}

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[test]
fn an_operator_in_rust_works() {
    let cluster = Cluster::start();
    let image = cluster.push_hello("hello:v1");
    let probe = cluster.push("probe:v1", &probe_wasm());
    cluster.kubectl("wait --for=create sa/default --timeout=30s");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let work = async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client(&cluster).await;
        objects_are_owned_and_cleaned_up(&client).await;
        watchers_see_what_changes(&client).await;
        many_watch_one_thing(&client).await;
        metadata_alone_is_read(&client).await;
        patches_and_pages(&client).await;
        conditions_are_awaited(&client, &image).await;
        logs_are_streamed(&client, &probe).await;
    };
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, work).await.expect("in time") });
}

/// A parent gets a finalizer and a child; a deleted child comes again; a deleted parent is cleaned up and goes with its child.
async fn objects_are_owned_and_cleaned_up(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let (cleaned, mut told) = tokio::sync::mpsc::unbounded_channel();
    let parents = watcher::Config::default().labels("part=parent");
    let controller = Controller::new(maps.clone(), parents)
        .owns(maps.clone(), watcher::Config::default().labels("part=child"))
        .run(reconcile, |_, _: &finalizer::Error<kube::Error>, _| Action::requeue(Duration::from_millis(50)), {
            Arc::new((client.clone(), cleaned))
        })
        .for_each(|_| async {});
    let running = tokio::spawn(controller);
    let parent = maps.create(&PostParams::default(), &map("parent", "parent")).await.unwrap();
    let is_there = |seen: Option<&ConfigMap>| seen.is_some();
    let first = await_condition(maps.clone(), "parent-child", is_there).await.unwrap().unwrap();
    maps.delete("parent-child", &DeleteParams::default()).await.unwrap();
    let again = |seen: Option<&ConfigMap>| seen.is_some_and(|seen| seen.uid() != first.uid());
    await_condition(maps.clone(), "parent-child", again).await.unwrap();
    assert_eq!(maps.get("parent").await.unwrap().finalizers(), [FINALIZER]);
    let deleted = maps.delete("parent", &DeleteParams::default()).await.unwrap();
    assert!(deleted.is_left(), "it waits for the finalizer");
    assert_eq!(told.recv().await.as_deref(), Some("parent"));
    await_condition(maps.clone(), "parent", conditions::is_deleted(&parent.uid().unwrap())).await.unwrap();
    await_condition(maps.clone(), "parent-child", |seen: Option<&ConfigMap>| seen.is_none()).await.unwrap();
    running.abort();
}

type Context = (Client, tokio::sync::mpsc::UnboundedSender<String>);

async fn reconcile(parent: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, finalizer::Error<kube::Error>> {
    let maps: Api<ConfigMap> = Api::default_namespaced(context.0.clone());
    let (maps, context) = (&maps, &context);
    let step = |event: finalizer::Event<ConfigMap>| async move {
        match event {
            finalizer::Event::Apply(parent) => {
                let owner = kube::Resource::controller_owner_ref(&*parent, &()).expect("it has a name and a uid");
                let child = json!({ "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "labels": { "part": "child" }, "ownerReferences": [owner] } });
                let name = format!("{}-child", parent.name_any());
                maps.patch(&name, &PatchParams::apply("operator").force(), &Patch::Apply(child)).await?;
            }
            finalizer::Event::Cleanup(parent) => context.1.send(parent.name_any()).expect("somebody listens"),
        }
        Ok(Action::await_change())
    };
    finalizer(maps, FINALIZER, parent, step).await
}

/// By list and watch as by a streaming list: what is there, a mark, then what changes, also by losing the label.
async fn watchers_see_what_changes(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let plain = watcher::Config::default().labels("part=watched").page_size(1);
    for config in [plain, watcher::Config::default().labels("part=watched").streaming_lists()] {
        for name in ["a", "b"] {
            maps.create(&PostParams::default(), &map(name, "watched")).await.unwrap();
        }
        let mut events = std::pin::pin!(watcher(maps.clone(), config));
        let mut seen = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            seen.push(match event {
                watcher::Event::Init => "init".to_owned(),
                watcher::Event::InitApply(object) => format!("init {}", object.name_any()),
                watcher::Event::InitDone => {
                    let away = Patch::Merge(json!({ "metadata": { "labels": { "part": "other" } } }));
                    maps.patch("a", &PatchParams::default(), &away).await.unwrap();
                    let more = Patch::Strategic(json!({ "data": { "more": "1" } }));
                    maps.patch("b", &PatchParams::default(), &more).await.unwrap();
                    "done".to_owned()
                }
                watcher::Event::Apply(object) => format!("applied {}", object.name_any()),
                watcher::Event::Delete(object) => format!("deleted {}", object.name_any()),
            });
            if seen.len() == 6 {
                break;
            }
        }
        assert_eq!(seen, ["init", "init a", "init b", "done", "deleted a", "applied b"]);
        for name in ["a", "b"] {
            maps.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
}

/// One client, one connection, and every watch is told at once.
async fn many_watch_one_thing(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let params = WatchParams::default().fields("metadata.name=crowd");
    let starts = (0..WATCHES).map(|_| maps.watch(&params, "0"));
    let watches = futures::future::try_join_all(starts).await.unwrap();
    maps.create(&PostParams::default(), &map("crowd", "crowd")).await.unwrap();
    for watch in watches {
        let first = std::pin::pin!(watch).try_next().await.unwrap().unwrap();
        assert!(matches!(&first, WatchEvent::Added(object) if object.name_any() == "crowd"), "{first:?}");
    }
}

/// Lists and watches of `PartialObjectMetadata`, into a store.
async fn metadata_alone_is_read(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &map("meta", "meta")).await.unwrap();
    let metas: Api<PartialObjectMeta<ConfigMap>> = Api::default_namespaced(client.clone());
    let listed = metas.list(&ListParams::default().labels("part=meta")).await.unwrap();
    assert_eq!(listed.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["meta"]);
    assert_eq!(metas.get("meta").await.unwrap().labels()["part"], "meta");
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (store, writer) = reflector::store();
        let stream = watcher(metas.clone(), config).reflect(writer).applied_objects();
        let running = tokio::spawn(stream.for_each(|_| async {}));
        store.wait_until_ready().await.unwrap();
        let names: BTreeSet<String> = store.state().iter().map(|each| each.name_any()).collect();
        assert!(names.contains("meta") && names.contains("kube-root-ca.crt"), "{names:?}");
        running.abort();
    }
}

/// Optimistic writes, applies of others' fields, dry runs, pages, discovery of a kind by its name.
async fn patches_and_pages(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = maps.create(&PostParams::default(), &map("written", "written")).await.unwrap();
    let mut entry =
        maps.entry("written").await.unwrap().and_modify(|map| _ = map.data.take()).or_insert(|| unreachable!());
    entry.commit(&PostParams::default()).await.unwrap();
    assert_ne!(entry.get().resource_version(), made.resource_version());
    let stale = maps.replace("written", &PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(&stale, kube::Error::Api(status) if status.is_conflict()), "{stale}");
    let apply = |value: &str| Patch::Apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": value } }));
    maps.patch("written", &PatchParams::apply("one"), &apply("1")).await.unwrap();
    let conflict = maps.patch("written", &PatchParams::apply("two"), &apply("2")).await.unwrap_err();
    assert!(conflict.to_string().contains(r#"conflict with "one""#), "{conflict}");
    let dry = maps.patch("written", &PatchParams::apply("two").force().dry_run(), &apply("2")).await.unwrap();
    assert_eq!(dry.data.unwrap()["k"], "2");
    assert_eq!(maps.get("written").await.unwrap().data.unwrap()["k"], "1");

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let first = namespaces.list(&ListParams::default().limit(2)).await.unwrap();
    let token = first.metadata.continue_.clone().expect("there are more");
    let rest = namespaces.list(&ListParams::default().continue_token(&token)).await.unwrap();
    assert_eq!(first.metadata.resource_version, rest.metadata.resource_version, "pages of one moment");
    assert_eq!(first.metadata.remaining_item_count, Some(rest.items.len() as i64));
    let (api, _) = kube::discovery::pinned_kind(client, &kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment"))
        .await
        .unwrap();
    let deployments: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &api);
    assert!(deployments.list(&ListParams::default()).await.unwrap().items.is_empty());
}

async fn conditions_are_awaited(client: &Client, image: &str) {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let wanted = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": image, "ports": [{ "containerPort": 8080 }] }] } } } });
    let wanted: Deployment = serde_json::from_value(wanted).unwrap();
    let made = deployments.create(&PostParams::default(), &wanted).await.unwrap();
    await_condition(deployments.clone(), "web", conditions::is_deployment_completed()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items.remove(0);
    await_condition(pods, &pod.name_any(), conditions::is_pod_running()).await.unwrap();
    deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
    await_condition(deployments, "web", conditions::is_deleted(&made.uid().unwrap())).await.unwrap();
}

async fn logs_are_streamed(client: &Client, probe: &str) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({ "metadata": { "name": "once" }, "spec": { "restartPolicy": "Never",
        "containers": [{ "name": "once", "image": probe, "args": ["print", "one two"] }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let is_done = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).is_some_and(|phase| phase == "Succeeded")
    };
    await_condition(pods.clone(), "once", is_done).await.unwrap();
    let follow = LogParams { follow: true, ..LogParams::default() };
    let lines: Vec<String> = pods.log_stream("once", &follow).await.unwrap().lines().try_collect().await.unwrap();
    assert_eq!(lines, ["one two"]);
}
