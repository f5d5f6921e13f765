//! Volumes, claims, and the kinds of storage.k8s.io.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";
const CLUSTER: &str = "metadata: {name: x, creationTimestamp: '2026-01-01T11:00:00Z'}";
const SPEC: &str = "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}";

fn claim(fields: &str) -> String {
    format!("{{kind: PersistentVolumeClaim, {METADATA}, spec: {{{SPEC}{fields}}}}}")
}

fn volume(fields: &str) -> String {
    format!(
        "{{kind: PersistentVolume, {CLUSTER}, spec: {{accessModes: [ReadWriteOnce], capacity: {{storage: 1Gi}}{fields}}}}}"
    )
}

#[test]
fn volumes_and_claims() {
    becomes(
        "{kind: PersistentVolumeClaim, metadata: {name: x}, spec: {dataSource: {kind: PersistentVolumeClaim, name: y}}}",
        expect![[""]],
    );
    becomes("{kind: PersistentVolume, metadata: {name: x}, spec: {hostPath: {path: /x}}}", expect![[""]]);
}

#[test]
fn rules_of_claims() {
    refused(&claim(""), expect![[""]]);
    refused(
        "{kind: PersistentVolumeClaim, metadata: {name: x, namespace: n}, spec: {volumeMode: Odd, storageClassName: A_b}}",
        expect![[""]],
    );
    refused(
        "{kind: PersistentVolumeClaim, metadata: {name: x, namespace: n}, spec: {accessModes: [ReadWriteOncePod, ReadWriteMany, Odd], resources: {requests: {storage: '0'}}, dataSource: {kind: Odd}}}",
        expect![[""]],
    );
}

#[test]
fn a_claim_changes_in_size_alone() {
    refused_update(&claim(""), "{spec: {volumeName: v}}", expect![[""]]);
    refused_update(&claim(""), "{spec: {accessModes: [ReadWriteMany]}}", expect![[""]]);
    refused_update(&claim(""), "{spec: {resources: {requests: {storage: 2Gi}}}}", expect![[""]]);
    refused_update(
        &claim(", volumeAttributesClassName: a"),
        "{spec: {volumeAttributesClassName: null}}",
        expect![[""]],
    );
    let (kind, mut old) = super::created(&claim(""));
    old["status"] = serde_json::json!({ "phase": "Bound", "capacity": { "storage": "1Gi" } });
    for (size, complaint) in [
        ("2Gi", ""),
        ("1Mi", "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity\n"),
    ] {
        let mut new = old.clone();
        new["spec"]["resources"]["requests"]["storage"] = size.into();
        assert_eq!(super::checks::shown(&(kind.validate_update)(&new, &old)), complaint);
    }
}

#[test]
fn rules_of_volumes() {
    refused(&volume(", hostPath: {path: /x}"), expect![[""]]);
    refused(&volume(", nfs: {}, hostPath: {path: /a/../b}, persistentVolumeReclaimPolicy: Odd"), expect![[""]]);
    refused(&volume(", local: {path: /x}, volumeAttributesClassName: ''"), expect![[""]]);
    refused("{kind: PersistentVolume, metadata: {name: x}, spec: {capacity: {storage: '0', cpu: 1}}}", expect![[""]]);
    refused_update(
        &volume(", hostPath: {path: /x}"),
        "{spec: {hostPath: {path: /y}, volumeMode: Block}}",
        expect![[""]],
    );
}

#[test]
fn classes_and_drivers() {
    becomes("{kind: StorageClass, metadata: {name: x}, provisioner: a/b}", expect![[""]]);
    becomes("{kind: CSIDriver, metadata: {name: x}, spec: {}}", expect![[""]]);
    refused(
        &format!(
            "{{kind: StorageClass, {CLUSTER}, provisioner: 'a//b', reclaimPolicy: Recycle, volumeBindingMode: Odd, parameters: {{'': a}}}}"
        ),
        expect![[""]],
    );
    refused_update(
        &format!("{{kind: StorageClass, {CLUSTER}, provisioner: a}}"),
        "{provisioner: b, parameters: {a: b}, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer}",
        expect![[""]],
    );
    refused(
        &format!(
            "{{kind: CSIDriver, {CLUSTER}, spec: {{fsGroupPolicy: Odd, volumeLifecycleModes: [Odd], tokenRequests: [{{audience: a, expirationSeconds: 1}}, {{audience: a}}], nodeAllocatableUpdatePeriodSeconds: 1}}}}"
        ),
        expect![[""]],
    );
    refused_update(
        &format!("{{kind: CSIDriver, {CLUSTER}, spec: {{}}}}"),
        "{spec: {attachRequired: false}}",
        expect![[""]],
    );
    refused(&format!("{{kind: VolumeAttributesClass, {CLUSTER}}}"), expect![[""]]);
    refused_update(
        &format!("{{kind: VolumeAttributesClass, {CLUSTER}, driverName: a, parameters: {{a: b}}}}"),
        "{driverName: b, parameters: {a: c}}",
        expect![[""]],
    );
    refused(
        &format!(
            "{{kind: CSINode, {CLUSTER}, spec: {{drivers: [{{name: a, nodeID: ''}}, {{name: a, nodeID: b, topologyKeys: [k, k, '']}}]}}}}"
        ),
        expect![[""]],
    );
    refused(&format!("{{kind: CSIStorageCapacity, {METADATA}, storageClassName: A, capacity: '-1'}}"), expect![[""]]);
    refused(&format!("{{kind: VolumeAttachment, {CLUSTER}, spec: {{nodeName: n, source: {{}}}}}}"), expect![[""]]);
    refused(
        &format!(
            "{{kind: VolumeAttachment, {CLUSTER}, spec: {{attacher: a, nodeName: n, source: {{inlineVolumeSpec: {{accessModes: [ReadWriteOnce], nfs: {{server: a, path: /b}}}}}}}}}}"
        ),
        expect![[""]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: PersistentVolumeClaim, {METADATA}, spec: {{volumeName: v, storageClassName: fast, volumeMode: Filesystem}}, status: {{phase: Bound, capacity: {{storage: 1Gi}}, accessModes: [ReadWriteMany, ReadWriteOnce]}}}}"
        ),
        expect![[""]],
    );
    row(&claim(""), expect![[""]]);
    row(
        &format!(
            "{{kind: PersistentVolume, {CLUSTER}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOncePod], persistentVolumeReclaimPolicy: Retain, claimRef: {{namespace: n, name: c}}, storageClassName: fast}}, status: {{phase: Bound}}}}"
        ),
        expect![[""]],
    );
    row(
        "{kind: StorageClass, metadata: {name: x, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: p}",
        expect![[""]],
    );
    row(
        &format!(
            "{{kind: CSIDriver, {CLUSTER}, spec: {{tokenRequests: [{{audience: a}}], volumeLifecycleModes: [Persistent, Ephemeral]}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: CSINode, {CLUSTER}, spec: {{drivers: [{{}}, {{}}]}}}}"), expect![[""]]);
    row(&format!("{{kind: CSIStorageCapacity, {METADATA}, storageClassName: fast, capacity: 1Gi}}"), expect![[""]]);
    row(
        &format!(
            "{{kind: VolumeAttachment, {CLUSTER}, spec: {{attacher: a, nodeName: n, source: {{persistentVolumeName: v}}}}, status: {{attached: true}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: VolumeAttributesClass, {CLUSTER}, driverName: d}}"), expect![[""]]);
}
