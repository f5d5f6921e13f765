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
        expect![[r#"
            metadata:
              name: x
            spec:
              dataSource:
                kind: PersistentVolumeClaim
                name: y
              dataSourceRef:
                kind: PersistentVolumeClaim
                name: y
              volumeMode: Filesystem
            status:
              phase: Pending
        "#]],
    );
    becomes(
        "{kind: PersistentVolume, metadata: {name: x}, spec: {hostPath: {path: /x}}}",
        expect![[r#"
        metadata:
          name: x
        spec:
          hostPath:
            path: /x
            type: ''
          persistentVolumeReclaimPolicy: Retain
          volumeMode: Filesystem
        status:
          phase: Pending
    "#]],
    );
}

#[test]
fn rules_of_claims() {
    refused(&claim(""), expect![[""]]);
    refused(
        "{kind: PersistentVolumeClaim, metadata: {name: x, namespace: n}, spec: {volumeMode: Odd, storageClassName: A_b}}",
        expect![[r#"
            spec.accessModes: Required value: at least 1 access mode is required
            spec.resources[storage]: Required value
            spec.storageClassName: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem"
        "#]],
    );
    refused(
        "{kind: PersistentVolumeClaim, metadata: {name: x, namespace: n}, spec: {accessModes: [ReadWriteOncePod, ReadWriteMany, Odd], resources: {requests: {storage: '0'}}, dataSource: {kind: Odd}}}",
        expect![[r#"
            spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            spec.resources[storage]: Invalid value: "0": must be greater than zero
            spec.dataSource.name: Required value
            spec.dataSource: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup
            spec.dataSourceRef.name: Required value
            spec.dataSourceRef: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        "#]],
    );
}

#[test]
fn a_claim_changes_in_size_alone() {
    refused_update(&claim(""), "{spec: {volumeName: v}}", expect![[""]]);
    refused_update(
        &claim(""),
        "{spec: {accessModes: [ReadWriteMany]}}",
        expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        - accessModes: ["ReadWriteOnce"]
        + accessModes: ["ReadWriteMany"]
    "#]],
    );
    refused_update(
        &claim(""),
        "{spec: {resources: {requests: {storage: 2Gi}}}}",
        expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        - resources: {"requests":{"storage":"1Gi"}}
        + resources: {"requests":{"storage":"2Gi"}}
    "#]],
    );
    refused_update(
        &claim(", volumeAttributesClassName: a"),
        "{spec: {volumeAttributesClassName: null}}",
        expect![[r#"
            spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden
        "#]],
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
    refused(
        &volume(", nfs: {}, hostPath: {path: /a/../b}, persistentVolumeReclaimPolicy: Odd"),
        expect![[r#"
        spec.persistentVolumeReclaimPolicy: Unsupported value: "Odd": supported values: "Delete", "Recycle", "Retain"
        spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec.nfs: Forbidden: may not specify more than 1 volume type
    "#]],
    );
    refused(
        &volume(", local: {path: /x}, volumeAttributesClassName: ''"),
        expect![[r#"
        spec.nodeAffinity: Required value: Local volume requires node affinity
        spec.volumeAttributesClassName: Required value: an empty string is disallowed
        spec.csi: Required value: has to be specified when using volumeAttributesClassName
    "#]],
    );
    refused(
        "{kind: PersistentVolume, metadata: {name: x}, spec: {capacity: {storage: '0', cpu: 1}}}",
        expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Unsupported value: {"cpu":1,"storage":"0"}: supported values: "storage"
        spec.capacity[storage]: Invalid value: "0": must be greater than zero
        spec: Required value: must specify a volume type
    "#]],
    );
    refused_update(
        &volume(", hostPath: {path: /x}"),
        "{spec: {hostPath: {path: /y}, volumeMode: Block}}",
        expect![[r#"
            spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
            - hostPath: {"path":"/x","type":""}
            + hostPath: {"path":"/y","type":""}
            volumeMode: Invalid value: "Block": field is immutable
        "#]],
    );
}

// tidy: long because it is a table
#[test]
fn classes_and_drivers() {
    becomes(
        "{kind: StorageClass, metadata: {name: x}, provisioner: a/b}",
        expect![[r#"
        metadata:
          name: x
        provisioner: a/b
        reclaimPolicy: Delete
        volumeBindingMode: Immediate
    "#]],
    );
    becomes(
        "{kind: CSIDriver, metadata: {name: x}, spec: {}}",
        expect![[r#"
        metadata:
          name: x
        spec:
          attachRequired: true
          fsGroupPolicy: ReadWriteOnceWithFSType
          podInfoOnMount: false
          requiresRepublish: false
          seLinuxMount: false
          storageCapacity: false
          volumeLifecycleModes:
          - Persistent
    "#]],
    );
    refused(
        &format!(
            "{{kind: StorageClass, {CLUSTER}, provisioner: 'a//b', reclaimPolicy: Recycle, volumeBindingMode: Odd, parameters: {{'': a}}}}"
        ),
        expect![[r#"
            provisioner: Invalid value: "a//b": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            parameters: Invalid value: "": field can not be empty.
            reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
            volumeBindingMode: Unsupported value: "Odd": supported values: "Immediate", "WaitForFirstConsumer"
        "#]],
    );
    refused_update(
        &format!("{{kind: StorageClass, {CLUSTER}, provisioner: a}}"),
        "{provisioner: b, parameters: {a: b}, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer}",
        expect![[r#"
            parameters: Forbidden: updates to parameters are forbidden.
            provisioner: Forbidden: updates to provisioner are forbidden.
            reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.
            volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable
        "#]],
    );
    refused(
        &format!(
            "{{kind: CSIDriver, {CLUSTER}, spec: {{fsGroupPolicy: Odd, volumeLifecycleModes: [Odd], tokenRequests: [{{audience: a, expirationSeconds: 1}}, {{audience: a}}], nodeAllocatableUpdatePeriodSeconds: 1}}}}"
        ),
        expect![[r#"
            spec.fsGroupPolicy: Unsupported value: "Odd": supported values: "File", "None", "ReadWriteOnceWithFSType"
            spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes
            spec.tokenRequests[1].audience: Duplicate value: "a"
            spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Persistent", "Ephemeral"
            spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds
        "#]],
    );
    refused_update(
        &format!("{{kind: CSIDriver, {CLUSTER}, spec: {{}}}}"),
        "{spec: {attachRequired: false}}",
        expect![[r#"
            spec.attachedRequired: Invalid value: false: field is immutable
        "#]],
    );
    refused(
        &format!("{{kind: VolumeAttributesClass, {CLUSTER}}}"),
        expect![[r#"
        driverName: Required value
        parameters: Required value: must contain at least one key/value pair
    "#]],
    );
    refused_update(
        &format!("{{kind: VolumeAttributesClass, {CLUSTER}, driverName: a, parameters: {{a: b}}}}"),
        "{driverName: b, parameters: {a: c}}",
        expect![[r#"
            driverName: Forbidden: updates to driverName are forbidden.
            parameters: Forbidden: updates to parameters are forbidden.
        "#]],
    );
    refused(
        &format!(
            "{{kind: CSINode, {CLUSTER}, spec: {{drivers: [{{name: a, nodeID: ''}}, {{name: a, nodeID: b, topologyKeys: [k, k, '']}}]}}}}"
        ),
        expect![[r#"
            spec.drivers[0].nodeID: Required value
            spec.drivers[1].name: Duplicate value: "a"
            spec.drivers[1]: Duplicate value: "k"
            spec.drivers[1]: Required value
            spec.drivers[1]: Invalid value: "": name part must be non-empty
            spec.drivers[1]: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "#]],
    );
    refused(
        &format!("{{kind: CSIStorageCapacity, {METADATA}, storageClassName: A, capacity: '-1'}}"),
        expect![[r#"
        storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        capacity: Invalid value: "-1": must be greater than or equal to 0
    "#]],
    );
    refused(
        &format!("{{kind: VolumeAttachment, {CLUSTER}, spec: {{nodeName: n, source: {{}}}}}}"),
        expect![[r#"
        spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
        spec.attacher: Required value
    "#]],
    );
    refused(
        &format!(
            "{{kind: VolumeAttachment, {CLUSTER}, spec: {{attacher: a, nodeName: n, source: {{inlineVolumeSpec: {{accessModes: [ReadWriteOnce], nfs: {{server: a, path: /b}}}}}}}}}}"
        ),
        expect![[r#"
            spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes
        "#]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: PersistentVolumeClaim, {METADATA}, spec: {{volumeName: v, storageClassName: fast, volumeMode: Filesystem}}, status: {{phase: Bound, capacity: {{storage: 1Gi}}, accessModes: [ReadWriteMany, ReadWriteOnce]}}}}"
        ),
        expect!["x | Bound | v | 1Gi | RWO,RWX | fast | <unset> | 60m | Filesystem"],
    );
    row(&claim(""), expect!["x |  |  |  |  |  | <unset> | 60m | <unset>"]);
    row(
        &format!(
            "{{kind: PersistentVolume, {CLUSTER}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOncePod], persistentVolumeReclaimPolicy: Retain, claimRef: {{namespace: n, name: c}}, storageClassName: fast}}, status: {{phase: Bound}}}}"
        ),
        expect!["x | 1Gi | RWOP | Retain | Bound | n/c | fast | <unset> |  | 60m | <unset>"],
    );
    row(
        "{kind: StorageClass, metadata: {name: x, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: p}",
        expect!["x (default) | p | Delete | Immediate | false | <unknown>"],
    );
    row(
        &format!(
            "{{kind: CSIDriver, {CLUSTER}, spec: {{tokenRequests: [{{audience: a}}], volumeLifecycleModes: [Persistent, Ephemeral]}}}}"
        ),
        expect!["x | true | false | false | a | false | Persistent,Ephemeral | 60m"],
    );
    row(&format!("{{kind: CSINode, {CLUSTER}, spec: {{drivers: [{{}}, {{}}]}}}}"), expect!["x | 2 | 60m"]);
    row(
        &format!("{{kind: CSIStorageCapacity, {METADATA}, storageClassName: fast, capacity: 1Gi}}"),
        expect!["x | fast | 1Gi"],
    );
    row(
        &format!(
            "{{kind: VolumeAttachment, {CLUSTER}, spec: {{attacher: a, nodeName: n, source: {{persistentVolumeName: v}}}}, status: {{attached: true}}}}"
        ),
        expect!["x | a | v | n | true | 60m"],
    );
    row(&format!("{{kind: VolumeAttributesClass, {CLUSTER}, driverName: d}}"), expect!["x | d | 60m"]);
}
