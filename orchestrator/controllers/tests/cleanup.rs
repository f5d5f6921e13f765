//! Namespaces and garbage, against the API server in process over a memory store.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_controllers::{Options, run};
use amphipod_server::Server;
use amphipod_server::seams::{Attributes, Authorize, Decision, Identity};
use amphipod_store::MemoryStore;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct AllowAll;
impl Authorize for AllowAll {
    fn authorize(&self, _: &Identity, _: &Attributes) -> Decision {
        Decision::Allowed { reason: String::new() }
    }
}

struct Cluster {
    client: kube::Client,
    _controllers: JoinSet<()>,
}

impl Cluster {
    async fn start() -> Self {
        let options = amphipod_server::Options::new(Arc::new(MemoryStore::new()), Arc::new(AllowAll));
        let server = Server::new(options).await.expect("a server");
        let client = server.client(Identity::system_masters());
        let informers = Informers::new(server.source(Identity::system_masters()));
        let mut controllers = JoinSet::new();
        let options = Options { clock: Arc::new(jiff::Timestamp::now), root_ca: "ca".into(), authority: None };
        controllers.spawn(run(client.clone(), informers, options));
        let cluster = Self { client, _controllers: controllers };
        cluster.create::<Namespace>("", json!({"metadata": {"name": "d"}})).await;
        cluster.create::<Namespace>("", json!({"metadata": {"name": "e"}})).await;
        cluster
    }

    fn api<K: kube::Resource<DynamicType = ()>>(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<K>(&());
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// Gives the uid.
    async fn create<K: kube::Resource<DynamicType = ()>>(&self, namespace: &str, object: Value) -> String {
        let mut object = object;
        object["apiVersion"] = K::api_version(&()).as_ref().into();
        object["kind"] = K::kind(&()).as_ref().into();
        let object = serde_json::from_value(object).expect("an object");
        let created = self.api::<K>(namespace).create(&PostParams::default(), &object).await.expect("created");
        created.uid().expect("a uid")
    }

    async fn map(&self, namespace: &str, name: &str, owners: Value) -> String {
        self.create::<ConfigMap>(namespace, json!({"metadata": {"name": name, "ownerReferences": owners}})).await
    }

    /// Waits until an object is as `wanted` says; `None` stands for its absence.
    async fn until<K>(&self, namespace: &str, name: &str, wanted: impl Fn(Option<&DynamicObject>) -> bool)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let mut states = std::pin::pin!(watcher::watch_object(self.api::<K>(namespace), name));
        let waiting = async {
            while let Some(state) = states.next().await {
                if state.is_ok_and(|state| wanted(state.as_ref())) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{name} is not as wanted"));
    }

    async fn delete(&self, name: &str, params: DeleteParams) {
        self.api::<ConfigMap>("d").delete(name, &params).await.expect("deleted");
    }

    async fn let_go(&self, name: &str) {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        self.api::<ConfigMap>("d").patch(name, &PatchParams::default(), &patch).await.expect("patched");
    }
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "blockOwnerDeletion": true})
}

fn gone(object: Option<&DynamicObject>) -> bool {
    object.is_none()
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let cluster = Cluster::start().await;
    let (a, b) = (cluster.map("d", "a", json!([])).await, cluster.map("d", "b", json!([])).await);
    let of_both = cluster.map("d", "both", json!([owner("ConfigMap", "a", &a), owner("ConfigMap", "b", &b)])).await;
    cluster.map("d", "deep", json!([owner("ConfigMap", "both", &of_both)])).await;
    cluster.delete("a", DeleteParams::background()).await;
    cluster.until::<ConfigMap>("d", "both", |both| both.is_some_and(|both| both.owner_references().len() == 1)).await;
    cluster.delete("b", DeleteParams::background()).await;
    cluster.until::<ConfigMap>("d", "both", gone).await;
    cluster.until::<ConfigMap>("d", "deep", gone).await;
    cluster.map("d", "late", json!([owner("ConfigMap", "b", &b)])).await;
    cluster.until::<ConfigMap>("d", "late", gone).await;
}

#[tokio::test]
async fn an_owner_elsewhere_is_none() {
    let cluster = Cluster::start().await;
    let elsewhere = cluster.map("e", "a", json!([])).await;
    cluster.map("d", "stranger", json!([owner("ConfigMap", "a", &elsewhere)])).await;
    cluster.until::<ConfigMap>("d", "stranger", gone).await;
    let events = cluster.api::<Event>("d");
    let told = async {
        let mut watching = std::pin::pin!(watcher::watcher(events, watcher::Config::default()));
        while let Some(event) = watching.next().await {
            if let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event
                && event.data["reason"] == "OwnerRefInvalidNamespace"
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("an event");
    assert!(cluster.api::<ConfigMap>("e").get_opt("a").await.expect("asked").is_some());
}

#[tokio::test]
async fn in_the_foreground_the_owner_waits() {
    let cluster = Cluster::start().await;
    let a = cluster.map("d", "a", json!([])).await;
    let held =
        json!({"metadata": {"name": "held", "finalizers": ["x/y"], "ownerReferences": [owner("ConfigMap", "a", &a)]}});
    cluster.create::<ConfigMap>("d", held).await;
    cluster.delete("a", DeleteParams::foreground()).await;
    cluster
        .until::<ConfigMap>("d", "held", |held| held.is_some_and(|held| held.metadata.deletion_timestamp.is_some()))
        .await;
    let waiting = cluster.api::<ConfigMap>("d").get("a").await.expect("it waits");
    assert_eq!(waiting.finalizers(), ["foregroundDeletion"]);
    cluster.let_go("held").await;
    cluster.until::<ConfigMap>("d", "a", gone).await;
}

#[tokio::test]
async fn orphans_stay() {
    let cluster = Cluster::start().await;
    let a = cluster.map("d", "a", json!([])).await;
    cluster.map("d", "child", json!([owner("ConfigMap", "a", &a)])).await;
    cluster.delete("a", DeleteParams::orphan()).await;
    cluster.until::<ConfigMap>("d", "a", gone).await;
    let child = cluster.api::<ConfigMap>("d").get("child").await.expect("it stays");
    assert!(child.owner_references().is_empty());
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_empty() {
    let cluster = Cluster::start().await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["x/y"]}});
    cluster.create::<ConfigMap>("d", held).await;
    cluster.create::<Secret>("d", json!({"metadata": {"name": "s"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    cluster.create::<Pod>("d", pod).await;
    cluster.api::<Namespace>("").delete("d", &DeleteParams::default()).await.expect("deleted");
    let says_why = |namespace: Option<&DynamicObject>| {
        namespace.is_some_and(|namespace| {
            namespace.data["status"]["conditions"].to_string().contains("x/y in 1 resource instances")
        })
    };
    cluster.until::<Namespace>("", "d", says_why).await;
    cluster.until::<Secret>("d", "s", gone).await;
    cluster.let_go("held").await;
    cluster.until::<Namespace>("", "d", gone).await;
    assert!(cluster.api::<Pod>("d").get_opt("p").await.expect("asked").is_none());
}
