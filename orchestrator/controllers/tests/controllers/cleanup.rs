//! Namespaces and garbage.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Nothing here runs.
async fn cluster() -> Cluster {
    Cluster::start(|_| Box::pin(std::future::ready(()))).await
}

impl Cluster {
    /// Gives the uid.
    async fn map(&self, namespace: &str, name: &str, owners: Value) -> String {
        let map = json!({"metadata": {"name": name, "ownerReferences": owners}});
        self.create::<ConfigMap>(namespace, map).await.uid().expect("a uid")
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
    let cluster = cluster().await;
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
    let cluster = cluster().await;
    let elsewhere = cluster.map("e", "a", json!([])).await;
    cluster.map("d", "stranger", json!([owner("ConfigMap", "a", &elsewhere)])).await;
    cluster.until::<ConfigMap>("d", "stranger", gone).await;
    cluster.told("OwnerRefInvalidNamespace").await;
    assert!(cluster.api::<ConfigMap>("e").get_opt("a").await.expect("asked").is_some());
}

#[tokio::test]
async fn in_the_foreground_the_owner_waits() {
    let cluster = cluster().await;
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
    let cluster = cluster().await;
    let a = cluster.map("d", "a", json!([])).await;
    cluster.map("d", "child", json!([owner("ConfigMap", "a", &a)])).await;
    cluster.delete("a", DeleteParams::orphan()).await;
    cluster.until::<ConfigMap>("d", "a", gone).await;
    let child = cluster.api::<ConfigMap>("d").get("child").await.expect("it stays");
    assert!(child.owner_references().is_empty());
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_empty() {
    let cluster = cluster().await;
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
