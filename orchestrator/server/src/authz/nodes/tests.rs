//! What a node may read, by the pods that are bound to it.

use std::sync::Arc;

use amphipod_store::{Key, MemoryStore, Meta, Op, Payload, Store, Txn};
use bytes::Bytes;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

struct World {
    store: Arc<MemoryStore>,
    nodes: Nodes,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let feed = Feed::new(store.clone()).await.unwrap();
        Self { store, nodes: Nodes::new(feed, crate::bootstrap::roles::node_rules()) }
    }

    async fn put(&self, storage: &str, value: Value) {
        let metadata = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        let id = self.store.resource(storage).await.unwrap();
        let key = Key::new(id, &metadata("namespace"), &metadata("name"));
        let node = value["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        let meta = Meta { uid: metadata("uid"), fields: vec![("spec.nodeName".to_owned(), node)], ..Meta::default() };
        let body = value.to_string();
        let at = u32::try_from(body.find("\"name\":").unwrap()).unwrap();
        let payload = Payload {
            codec: 0,
            body: body.into(),
            managed_fields_at: at,
            revision_at: at,
            managed_fields: Bytes::new(),
        };
        self.store.commit(Txn { ops: vec![Op::Put { key, meta, payload }], ..Txn::default() }).await.unwrap();
    }

    async fn delete(&self, storage: &str, namespace: &str, name: &str) {
        let id = self.store.resource(storage).await.unwrap();
        let op = Op::Delete { key: Key::new(id, namespace, name) };
        self.store.commit(Txn { ops: vec![op], ..Txn::default() }).await.unwrap();
    }

    /// `verb group/resource/subresource namespace/name`, each node a and b asks.
    fn ask(&self, question: &str) -> String {
        let words: Vec<&str> = question.split(' ').collect();
        let part = |word: usize, index: usize| {
            words.get(word).and_then(|word| word.split('/').nth(index)).unwrap_or_default().to_owned()
        };
        let answers = ["a", "b"].map(|node| {
            let attributes = Attributes {
                verb: part(0, 0),
                group: part(1, 0),
                version: "v1".to_owned(),
                resource: part(1, 1),
                subresource: part(1, 2),
                namespace: part(2, 0),
                name: part(2, 1),
                field_selector: words.get(3).map(|text| crate::route::equalities(text)).unwrap_or_default(),
                path: None,
            };
            let identity = Identity::new(format!("system:node:{node}"), &["system:nodes"]);
            match self.nodes.authorize(&identity, &attributes) {
                Ok(()) => "yes".to_owned(),
                Err(why) if why.is_empty() => "no".to_owned(),
                Err(why) => why,
            }
        });
        format!("{}\n", answers.join("; "))
    }

    fn check(&self, questions: &[&str], expected: Expect) {
        expected.assert_eq(&questions.iter().map(|question| self.ask(question)).collect::<String>());
    }
}

fn pod(name: &str, node: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["nodeName"] = json!(node);
    json!({"metadata": {"name": name, "namespace": "d", "uid": format!("{name}-1")}, "spec": spec})
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_as_long_as_they_do() {
    let world = World::new().await;
    let questions = ["get /secrets d/s", "list /configmaps d/c", "create /serviceaccounts/token d/sa", "get /pods d/p"];
    world.check(
        &questions[..1],
        expect![[r#"
            no relationship found between node 'a' and this object; no relationship found between node 'b' and this object
        "#]],
    );
    let spec = json!({"serviceAccountName": "sa", "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}],
        "volumes": [{"projected": {"sources": [{"configMap": {"name": "c"}}]}}]});
    world.put("pods", pod("p", "a", spec.clone())).await;
    world.check(
        &questions,
        expect![[r#"
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
        "#]],
    );
    world.put("pods", pod("q", "b", spec)).await;
    world.delete("pods", "d", "p").await;
    world.check(
        &questions[..2],
        expect![[r#"
            no relationship found between node 'a' and this object; yes
            no relationship found between node 'a' and this object; yes
        "#]],
    );
    let mut late = pod("q", "b", json!({"containers": []}));
    late["spec"]["ephemeralContainers"] = json!([{"envFrom": [{"secretRef": {"name": "late"}}]}]);
    world.put("pods", late).await;
    world.check(
        &["get /secrets d/late"],
        expect![[r#"
        no relationship found between node 'a' and this object; yes
    "#]],
    );
}

#[tokio::test]
async fn volumes_and_their_secrets_follow_the_claim() {
    let world = World::new().await;
    let claim = json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]});
    world.put("pods", pod("p", "a", claim)).await;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": "d", "name": "data"},
        "csi": {"nodePublishSecretRef": {"namespace": "x", "name": "key"}}}});
    world.put("persistentvolumes", volume).await;
    let attachment = json!({"metadata": {"name": "t"}, "spec": {"nodeName": "b"}});
    world.put("storage.k8s.io/volumeattachments", attachment).await;
    world.check(
        &[
            "get /persistentvolumes /v",
            "get /secrets x/key",
            "get /persistentvolumeclaims d/data",
            "patch /persistentvolumeclaims/status d/data",
            "get storage.k8s.io/volumeattachments /t",
        ],
        expect![[r#"
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
            yes; no relationship found between node 'b' and this object
            no relationship found between node 'a' and this object; yes
        "#]],
    );
}

#[tokio::test]
async fn nodes_are_kept_to_their_own() {
    let world = World::new().await;
    world.check(
        &[
            "get /nodes /a",
            "list /nodes",
            "patch /nodes/status /a",
            "list /pods",
            "list /pods / spec.nodeName=a",
            "watch /secrets d/",
            "list /secrets",
            "delete /secrets d/s",
            "update coordination.k8s.io/leases kube-node-lease/a",
            "get coordination.k8s.io/leases kube-system/a",
            "get storage.k8s.io/csinodes /b",
            "get /services d/x",
            "create apps/deployments d/x",
        ],
        expect![[r#"
            yes; node 'b' cannot read 'a', only its own Node object
            node 'a' cannot read all nodes, only its own Node object; node 'b' cannot read all nodes, only its own Node object
            yes; yes
            can only list/watch pods with spec.nodeName field selector; can only list/watch pods with spec.nodeName field selector
            yes; can only list/watch pods with spec.nodeName field selector
            No Object name found; No Object name found
            can only read namespaced object of this type; can only read namespaced object of this type
            can only read resources of this type; can only read resources of this type
            yes; can only access node lease with the same name as the requesting node
            can only access leases in the "kube-node-lease" system namespace; can only access leases in the "kube-node-lease" system namespace
            can only access CSINode with the same name as the requesting node; yes
            yes; yes
            no; no
        "#]],
    );
    let stranger = Identity::new("system:node:a", &["dev"]);
    assert_eq!(node_name(&stranger), None, "without the group it is no node");
}
