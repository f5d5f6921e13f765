//! Claims and volumes: what they allow, and what is planned for those that wait.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Cluster, merge, node, plain, pod, spec};
use crate::need::Need;
use crate::volumes::{Wanted, plan};

const ZONE: &str = "topology.kubernetes.io/zone";

fn claim(cluster: &mut Cluster, name: &str, extra: Value) {
    let mut claim = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "late"},
    });
    merge(&mut claim, extra);
    let key = ("default".to_owned(), name.to_owned());
    cluster.snapshot.storage.claims.insert(key, Arc::new(serde_json::from_value(claim).unwrap()));
}

fn bound(cluster: &mut Cluster, name: &str, volume: &str, modes: Value) {
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let extra = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume, "accessModes": modes}});
    claim(cluster, name, extra);
}

fn volume(cluster: &mut Cluster, name: &str, zone: Option<&str>, extra: Value) {
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "late"},
        "status": {"phase": "Available"},
    });
    if let Some(zone) = zone {
        let expression = json!({"key": ZONE, "operator": "In", "values": [zone]});
        let terms = json!([{ "matchExpressions": [expression] }]);
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
    }
    merge(&mut volume, extra);
    cluster.snapshot.storage.volumes.insert(name.to_owned(), Arc::new(serde_json::from_value(volume).unwrap()));
}

fn class(cluster: &mut Cluster, name: &str, extra: Value) {
    let mut class = json!({"metadata": {"name": name}, "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"});
    merge(&mut class, extra);
    cluster.snapshot.storage.classes.insert(name.to_owned(), Arc::new(serde_json::from_value(class).unwrap()));
}

fn using(claims: &[&str]) -> Value {
    let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    spec(json!({"volumes": claims.iter().map(volume).collect::<Vec<_>>()}))
}

fn two() -> Cluster {
    let mut cluster = Cluster::of([plain("a1"), plain("b1")]);
    class(&mut cluster, "late", json!({}));
    cluster
}

#[test]
fn claims_that_are_not_there_or_not_bound_keep_it_from_every_node() {
    let mut cluster = two();
    let told = |cluster: &mut Cluster, expected: Expect| cluster.check(using(&["data"]), expected);
    told(&mut cluster, expect![[r#"0/2 nodes are available: persistentvolumeclaim "data" not found."#]]);
    claim(&mut cluster, "data", json!({"spec": {"storageClassName": "now"}}));
    told(&mut cluster, expect!["0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."]);
    claim(&mut cluster, "data", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    told(&mut cluster, expect![[r#"0/2 nodes are available: persistentvolumeclaim "data" is being deleted."#]]);
    claim(&mut cluster, "data", json!({"spec": {"volumeName": "v"}, "status": {"phase": "Lost"}}));
    told(
        &mut cluster,
        expect![[
            r#"0/2 nodes are available: persistentvolumeclaim "data" bound to non-existent persistentvolume "v"."#
        ]],
    );
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {}}});
    let ephemeral = spec(json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]}));
    cluster.check(
        ephemeral,
        expect![[
            r#"0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v"."#
        ]],
    );
}

#[test]
fn the_pod_follows_its_volume() {
    let mut cluster = two();
    bound(&mut cluster, "data", "v", json!(["ReadWriteOnce"]));
    cluster.check(
        using(&["data"]),
        expect![
            "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."
        ],
    );
    volume(&mut cluster, "v", Some("b"), json!({}));
    cluster.check(using(&["data"]), expect!["b1"]);
    volume(&mut cluster, "v", Some("c"), json!({}));
    cluster.check(using(&["data"]), expect!["0/2 nodes are available: 2 node(s) had volume node affinity conflict."]);
}

#[test]
fn a_volumes_zone_must_be_the_nodes() {
    let mut cluster = two();
    bound(&mut cluster, "data", "v", json!(["ReadWriteOnce"]));
    let labelled = |zones: &str| json!({"metadata": {"labels": {"failure-domain.beta.kubernetes.io/zone": zones}}});
    volume(&mut cluster, "v", None, labelled("b__c"));
    cluster.check(using(&["data"]), expect!["b1"]);
    volume(&mut cluster, "v", None, labelled("c"));
    cluster.check(using(&["data"]), expect!["0/2 nodes are available: 2 node(s) had no available volume zone."]);
}

#[test]
fn a_waiting_claim_needs_a_volume_within_reach() {
    let mut cluster = two();
    claim(&mut cluster, "data", json!({}));
    let refused = || expect!["0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."];
    cluster.check(using(&["data"]), refused());
    volume(&mut cluster, "small", Some("a"), json!({"spec": {"capacity": {"storage": "1Mi"}}}));
    volume(&mut cluster, "taken", Some("a"), json!({"spec": {"claimRef": {"namespace": "default", "name": "other"}}}));
    volume(&mut cluster, "bound", Some("a"), json!({"status": {"phase": "Bound"}}));
    volume(&mut cluster, "shared", Some("a"), json!({"spec": {"accessModes": ["ReadOnlyMany"]}}));
    volume(&mut cluster, "foreign", Some("a"), json!({"spec": {"storageClassName": "other"}}));
    cluster.check(using(&["data"]), refused());
    volume(&mut cluster, "fits", Some("b"), json!({}));
    cluster.check(using(&["data"]), expect!["b1"]);
    // Promised to another claim a moment ago.
    cluster.snapshot.storage.give("fits", &("default".to_owned(), "rival".to_owned()));
    cluster.check(using(&["data"]), refused());
    cluster.snapshot.storage.take_back(&["fits".to_owned()], &[]);
    cluster.check(using(&["data"]), expect!["b1"]);
}

#[test]
fn each_claim_gets_a_volume_of_its_own_the_smallest_that_will_do() {
    let mut cluster = two();
    claim(&mut cluster, "big", json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}));
    claim(&mut cluster, "small", json!({}));
    for (name, size) in [("v1", "1Gi"), ("v4", "4Gi"), ("v9", "9Gi")] {
        volume(&mut cluster, name, Some("a"), json!({"spec": {"capacity": {"storage": size}}}));
    }
    cluster.check(using(&["big", "small"]), expect!["a1"]);
    let need = Need::of(&pod(using(&["big", "small"])));
    let wanted = Wanted::of(&need, &cluster.snapshot.storage).unwrap();
    let plan = plan(&wanted, &cluster.snapshot.storage, cluster.snapshot.at(0)).unwrap();
    assert_eq!(plan.volumes(), ["v1", "v4"]);
}

#[test]
fn a_provisioner_makes_volumes_where_its_class_allows() {
    let mut cluster = two();
    let allowed = json!([{"matchLabelExpressions": [{"key": ZONE, "values": ["b"]}]}]);
    class(&mut cluster, "made", json!({"provisioner": "example.com/disk", "allowedTopologies": allowed}));
    claim(&mut cluster, "data", json!({"spec": {"storageClassName": "made"}}));
    cluster.check(using(&["data"]), expect!["b1"]);
    // Once it is being made, the pod stays with it.
    class(&mut cluster, "made", json!({"provisioner": "example.com/disk"}));
    claim(
        &mut cluster,
        "data",
        json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "b1"}}, "spec": {"storageClassName": "made"}}),
    );
    cluster.check(using(&["data"]), expect!["b1"]);
    let driver = json!({"metadata": {"name": "example.com/disk"}, "spec": {"storageCapacity": true}});
    let driver = Arc::new(serde_json::from_value(driver).unwrap());
    cluster.snapshot.storage.drivers.insert("example.com/disk".to_owned(), driver);
    cluster.check(
        using(&["data"]),
        expect![
            "0/2 nodes are available: 1 node(s) did not have enough free storage, 1 node(s) didn't find available persistent volumes to bind."
        ],
    );
    let capacity = json!({"metadata": {"name": "c", "namespace": "n"}, "storageClassName": "made", "capacity": "5Gi",
        "nodeTopology": {"matchLabels": {ZONE: "b"}}});
    let capacity = Arc::new(serde_json::from_value(capacity).unwrap());
    cluster.snapshot.storage.capacities.insert(("n".to_owned(), "c".to_owned()), capacity);
    cluster.check(using(&["data"]), expect!["b1"]);
}

#[test]
fn some_volumes_are_for_one_pod_alone() {
    let mut cluster = two();
    volume(&mut cluster, "v", None, json!({}));
    bound(&mut cluster, "data", "v", json!(["ReadWriteOncePod"]));
    cluster.check(using(&["data"]), expect!["a1"]);
    let uid = cluster.place("a1", using(&["data"]));
    cluster.check(
        using(&["data"]),
        expect![
            "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
        ],
    );
    cluster.snapshot.remove_pod(&uid);
    cluster.check(using(&["data"]), expect!["a1"]);
    let disk = |read_only: bool| {
        let disk = json!({"pdName": "d", "readOnly": read_only});
        spec(json!({"volumes": [{"name": "d", "gcePersistentDisk": disk}]}))
    };
    let mut one = Cluster::of([plain("a1")]).holds("a1", disk(true));
    one.check(disk(true), expect!["a1"]);
    one.check(disk(false), expect!["0/1 nodes are available: 1 node(s) had no available disk."]);
}

#[test]
fn a_node_attaches_only_so_many() {
    let mut cluster = Cluster::of([node("a1", json!({}))]);
    for name in ["x", "y", "z"] {
        bound(&mut cluster, name, name, json!(["ReadWriteOnce"]));
        volume(&mut cluster, name, None, json!({"spec": {"csi": {"driver": "csi", "volumeHandle": name}}}));
    }
    let limits = json!({"metadata": {"name": "a1"},
        "spec": {"drivers": [{"name": "csi", "nodeID": "a1", "allocatable": {"count": 2}}]}});
    cluster.snapshot.storage.csi_nodes.insert("a1".to_owned(), Arc::new(serde_json::from_value(limits).unwrap()));
    cluster.place("a1", using(&["x"]));
    cluster.check(using(&["y"]), expect!["a1"]);
    cluster.check(using(&["y", "z"]), expect!["0/1 nodes are available: 1 node(s) exceed max volume count."]);
    cluster.place("a1", using(&["y"]));
    cluster.check(using(&["x"]), expect!["a1"]);
    cluster.check(using(&["z"]), expect!["0/1 nodes are available: 1 node(s) exceed max volume count."]);
}
