//! Tables of claims and volumes against what is decided of them.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

use super::claim::{self, Step};
use super::volume;

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    merge(&mut claim, more);
    serde_json::from_value(claim).expect("a claim")
}

fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
    let mut volume = json!({"metadata": {"name": name}, "status": {"phase": "Available"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}}});
    merge(&mut volume, more);
    Arc::new(serde_json::from_value(volume).expect("a volume"))
}

fn check(claimed: Value, volumes: &[Arc<PersistentVolume>], class: Value, expected: Expect) {
    let class = serde_json::from_value(class).expect("a class or none");
    let step = claim::step(&claim(claimed), volumes, Option::as_ref(&class));
    expected.assert_eq(&match step {
        Step::Rest => "rest".to_owned(),
        Step::Bind(volume) => format!("bind {}", volume.metadata.name.as_deref().unwrap_or_default()),
        Step::Wait(None) => "wait".to_owned(),
        Step::Wait(Some(why)) => format!("wait {} {}", why.reason, why.message),
        Step::Provision { provisioner } => format!("provision by {provisioner}"),
        Step::Lost { reason, .. } => format!("lost {reason}"),
    });
}

#[test]
fn the_smallest_volume_that_suits_is_taken() {
    let sizes =
        || [volume("big", "9Gi", json!({})), volume("tiny", "1Gi", json!({})), volume("fits", "3Gi", json!({}))];
    check(json!({}), &sizes(), Value::Null, expect!["bind fits"]);
    let other = [
        volume("many", "2Gi", json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}})),
        volume("class", "2Gi", json!({"spec": {"storageClassName": "fast"}})),
        volume("block", "2Gi", json!({"spec": {"volumeMode": "Block"}})),
        volume("taken", "2Gi", json!({"spec": {"claimRef": {"name": "x", "namespace": "n"}}})),
        volume("released", "2Gi", json!({"status": {"phase": "Released"}})),
        volume("labelled", "4Gi", json!({"metadata": {"labels": {"a": "b"}}})),
    ];
    check(json!({}), &other, Value::Null, expect!["bind labelled"]);
    check(json!({"spec": {"accessModes": ["ReadWriteMany"]}}), &other, Value::Null, expect!["bind many"]);
    check(json!({"spec": {"storageClassName": "fast"}}), &other, Value::Null, expect!["bind class"]);
    check(json!({"spec": {"volumeMode": "Block"}}), &other, Value::Null, expect!["bind block"]);
    check(json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), &other, Value::Null, expect!["bind labelled"]);
    let reserved = json!({"spec": {"claimRef": {"name": "c", "namespace": "n"}}});
    let two = [volume("free", "2Gi", json!({})), volume("mine", "9Gi", reserved)];
    check(json!({}), &two, Value::Null, expect!["bind mine"]);
}

#[test]
fn a_claim_without_volume_is_told_why() {
    check(
        json!({}),
        &[],
        Value::Null,
        expect!["wait FailedBinding no persistent volumes available for this claim and no storage class is set"],
    );
    let of_class = || json!({"spec": {"storageClassName": "fast"}});
    check(
        of_class(),
        &[],
        Value::Null,
        expect![[r#"wait ProvisioningFailed storageclass.storage.k8s.io "fast" not found"#]],
    );
    let class = |provisioner: &str, mode: &str| json!({"metadata": {"name": "fast"}, "provisioner": provisioner, "volumeBindingMode": mode});
    check(of_class(), &[], class("disks.io", "Immediate"), expect!["provision by disks.io"]);
    check(
        of_class(),
        &[],
        class("kubernetes.io/no-provisioner", "Immediate"),
        expect!["wait ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner"],
    );
    let late = || class("kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    let free = [volume("v", "2Gi", json!({"spec": {"storageClassName": "fast"}}))];
    check(
        of_class(),
        &free,
        late(),
        expect!["wait WaitForFirstConsumer waiting for first consumer to be created before binding"],
    );
    let mine = [volume(
        "v",
        "2Gi",
        json!({"spec": {"storageClassName": "fast", "claimRef": {"name": "c", "namespace": "n"}}}),
    )];
    check(of_class(), &mine, late(), expect!["bind v"]);
}

#[test]
fn a_volume_asked_for_by_name_must_suit() {
    let wish = || json!({"spec": {"volumeName": "v"}});
    check(wish(), &[], Value::Null, expect!["wait"]);
    check(wish(), &[volume("v", "2Gi", json!({}))], Value::Null, expect!["bind v"]);
    check(
        wish(),
        &[volume("v", "1Gi", json!({}))],
        Value::Null,
        expect![[r#"wait VolumeMismatch Cannot bind to requested volume "v": requested PV is too small"#]],
    );
    check(
        wish(),
        &[volume("v", "2Gi", json!({"spec": {"storageClassName": "x"}}))],
        Value::Null,
        expect![[r#"wait VolumeMismatch Cannot bind to requested volume "v": storageClassName does not match"#]],
    );
    let other = json!({"spec": {"claimRef": {"name": "x", "namespace": "n", "uid": "y"}}});
    check(
        wish(),
        &[volume("v", "2Gi", other)],
        Value::Null,
        expect![[r#"wait FailedBinding volume "v" already bound to a different claim."#]],
    );
}

#[test]
fn a_bound_claim_may_lose_its_volume() {
    let bound = |volume: &str| json!({"metadata": {"annotations": {claim::BIND_COMPLETED: "yes"}}, "spec": {"volumeName": volume}});
    check(bound("v"), &[], Value::Null, expect!["lost ClaimLost"]);
    check(bound(""), &[], Value::Null, expect!["lost ClaimLost"]);
    check(bound("v"), &[volume("v", "2Gi", json!({}))], Value::Null, expect!["bind v"]);
    let other = json!({"spec": {"claimRef": {"name": "x", "namespace": "n", "uid": "y"}}});
    check(bound("v"), &[volume("v", "2Gi", other)], Value::Null, expect!["lost ClaimMisbound"]);
    check(
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        &[volume("v", "2Gi", json!({}))],
        Value::Null,
        expect!["rest"],
    );
}

fn check_volume(more: Value, claimed: Option<Value>, expected: Expect) {
    let claim = claimed.map(claim);
    expected.assert_eq(&format!("{:?}", volume::step(&volume("v", "2Gi", more), claim.as_ref())));
}

#[test]
fn a_volume_is_free_bound_or_released() {
    let of = |uid: &str, policy: &str| json!({"spec": {"claimRef": {"name": "c", "namespace": "n", "uid": uid}, "persistentVolumeReclaimPolicy": policy}});
    check_volume(json!({}), None, expect![[r#"Phase("Available")"#]]);
    check_volume(of("", "Retain"), None, expect![[r#"Phase("Available")"#]]);
    check_volume(of("u", "Retain"), Some(json!({"spec": {"volumeName": "v"}})), expect![[r#"Phase("Bound")"#]]);
    check_volume(of("u", "Retain"), Some(json!({})), expect!["WakeClaim"]);
    check_volume(of("u", "Retain"), Some(json!({"spec": {"volumeName": "w"}})), expect!["Unbind"]);
    check_volume(of("u", "Retain"), None, expect!["Reclaim(Nothing)"]);
    check_volume(of("old", "Retain"), Some(json!({"spec": {"volumeName": "v"}})), expect!["Reclaim(Nothing)"]);
    check_volume(
        of("u", "Delete"),
        None,
        expect![[
            r#"Reclaim(Fail { reason: "VolumeFailedDelete", message: "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched" })"#
        ]],
    );
    check_volume(
        of("u", "Recycle"),
        None,
        expect![[
            r#"Reclaim(Fail { reason: "VolumeFailedRecycle", message: "No recycler plugin found for the volume!" })"#
        ]],
    );
    let mut made = of("u", "Delete");
    merge(&mut made, json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "disks.io"}}}));
    check_volume(made, None, expect!["Reclaim(Nothing)"]);
}
