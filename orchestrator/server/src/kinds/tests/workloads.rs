//! DaemonSet, StatefulSet, ReplicationController, and what pods' subresources may change.

use expect_test::expect;

use super::checks::{becomes, merge, refused, refused_update, row, shown};
use super::created;
use crate::kinds::pod::{ephemeral, resize};

const TEMPLATE: &str = "template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: 'i:1'}]}}";
const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";

fn set(kind: &str, fields: &str) -> String {
    format!("{{kind: {kind}, {METADATA}, spec: {{{fields} selector: {{matchLabels: {{app: a}}}}, {TEMPLATE}}}}}")
}

#[test]
fn a_daemon_set_counts_its_templates_in_an_annotation() {
    becomes(
        "{kind: DaemonSet, metadata: {name: x}, spec: {}, status: {numberReady: 3}}",
        expect![[r#"
        metadata:
          annotations:
            deprecated.daemonset.template.generation: '1'
          name: x
        spec:
          revisionHistoryLimit: 10
          updateStrategy:
            rollingUpdate:
              maxSurge: 0
              maxUnavailable: 1
            type: RollingUpdate
        status:
          currentNumberScheduled: 0
          desiredNumberScheduled: 0
          numberMisscheduled: 0
          numberReady: 0
    "#]],
    );
    let (kind, old) = created(&set("DaemonSet", ""));
    let annotation = |object: &serde_json::Value| {
        object["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone()
    };
    let mut new = old.clone();
    (kind.prepare_update)(&mut new, &old);
    assert_eq!(annotation(&new), "1");
    merge(&mut new, &serde_json::json!({ "spec": { "template": { "metadata": { "labels": { "b": "c" } } } } }));
    (kind.prepare_update)(&mut new, &old);
    assert_eq!(annotation(&new), "2");
}

#[test]
fn rules_of_daemon_sets() {
    refused(&set("DaemonSet", ""), expect![[""]]);
    refused(
        &set("DaemonSet", "updateStrategy: {rollingUpdate: {maxSurge: 1}},"),
        expect![[r#"
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero
    "#]],
    );
    refused(
        &set("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}},"),
        expect![[r#"
        spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
    "#]],
    );
    refused(
        &set("DaemonSet", "updateStrategy: {type: Never},"),
        expect![[r#"
        spec.updateStrategy: Unsupported value: "Never": supported values: "RollingUpdate", "OnDelete"
    "#]],
    );
    refused(
        "{kind: DaemonSet, metadata: {name: x, namespace: n}, spec: {selector: {}}}",
        expect![[r#"
        spec.selector: Invalid value: {}: empty selector is invalid for daemonset
        spec.template.spec.containers: Required value
        spec.template.spec.restartPolicy: Required value
        spec.template.spec.dnsPolicy: Required value
        spec.template.spec.restartPolicy: Unsupported value: "": supported values: "Always"
    "#]],
    );
    refused_update(
        &set("DaemonSet", ""),
        "{spec: {selector: {matchLabels: {app: b}}}}",
        expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
    "#]],
    );
}

#[test]
fn a_stateful_set() {
    becomes(
        "{kind: StatefulSet, metadata: {name: x}, spec: {serviceName: s, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce]}}]}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              persistentVolumeClaimRetentionPolicy:
                whenDeleted: Retain
                whenScaled: Retain
              podManagementPolicy: OrderedReady
              replicas: 1
              revisionHistoryLimit: 10
              serviceName: s
              updateStrategy:
                rollingUpdate:
                  maxUnavailable: 1
                  partition: 0
                type: RollingUpdate
              volumeClaimTemplates:
              - apiVersion: v1
                kind: PersistentVolumeClaim
                metadata:
                  name: d
                spec:
                  accessModes:
                  - ReadWriteOnce
                  volumeMode: Filesystem
                status:
                  phase: Pending
            status:
              availableReplicas: 0
              replicas: 0
        "#]],
    );
    becomes(
        "{kind: StatefulSet, metadata: {name: x}, spec: {replicas: 0, updateStrategy: {type: OnDelete}}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              persistentVolumeClaimRetentionPolicy:
                whenDeleted: Retain
                whenScaled: Retain
              podManagementPolicy: OrderedReady
              replicas: 0
              revisionHistoryLimit: 10
              updateStrategy:
                type: OnDelete
            status:
              availableReplicas: 0
              replicas: 0
        "#]],
    );
}

#[test]
fn rules_of_stateful_sets() {
    refused(&set("StatefulSet", ""), expect![[""]]);
    refused(
        &set(
            "StatefulSet",
            "podManagementPolicy: Odd, replicas: -1, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: -1, maxUnavailable: 0}}, persistentVolumeClaimRetentionPolicy: {whenScaled: Keep}, ordinals: {start: -1},",
        ),
        expect![[r#"
            spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
            spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: "Retain", "Delete"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    refused(
        &set("StatefulSet", "updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}},"),
        expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
    "#]],
    );
    refused_update(&set("StatefulSet", ""), "{spec: {replicas: 3, template: {spec: {hostname: h}}}}", expect![[""]]);
    refused_update(
        &set("StatefulSet", ""),
        "{spec: {serviceName: other}}",
        expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
}

#[test]
fn a_replication_controller_takes_selector_and_labels_from_its_template() {
    becomes(
        "{kind: ReplicationController, metadata: {name: x}, spec: {template: {metadata: {labels: {app: a}}, spec: {containers: []}}}}",
        expect![[r#"
            metadata:
              labels:
                app: a
              name: x
            spec:
              replicas: 1
              selector:
                app: a
              template:
                metadata:
                  labels:
                    app: a
                spec:
                  containers: []
                  dnsPolicy: ClusterFirst
                  restartPolicy: Always
                  schedulerName: default-scheduler
                  securityContext: {}
                  terminationGracePeriodSeconds: 30
            status:
              replicas: 0
        "#]],
    );
    refused(
        "{kind: ReplicationController, metadata: {name: x, namespace: n}, spec: {}}",
        expect![[r#"
        spec.selector: Required value
        spec.template: Required value
    "#]],
    );
    refused(
        "{kind: ReplicationController, metadata: {name: x, namespace: n}, spec: {selector: {b: c}, template: {metadata: {labels: {app: a}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}}}",
        expect![[r#"
            spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        "#]],
    );
}

#[test]
fn rows() {
    let template = "template: {spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: i}]}}";
    let selector = "selector: {matchLabels: {app: a}}";
    row(
        &format!(
            "{{kind: DaemonSet, {METADATA}, spec: {{{selector}, {template}}}, status: {{desiredNumberScheduled: 3, currentNumberScheduled: 2, numberReady: 1}}}}"
        ),
        expect!["x | 3 | 2 | 1 | 0 | 0 | disk=ssd | 60m | c | i | app=a"],
    );
    row(
        &format!(
            "{{kind: StatefulSet, {METADATA}, spec: {{replicas: 2, {selector}, {template}}}, status: {{readyReplicas: 1}}}}"
        ),
        expect!["x | 1/2 | 60m | c | i"],
    );
    row(
        &format!(
            "{{kind: ReplicationController, {METADATA}, spec: {{replicas: 2, selector: {{app: a}}, {template}}}, status: {{replicas: 2}}}}"
        ),
        expect!["x | 2 | 2 | 0 | 60m | c | i | app=a"],
    );
}

const POD: &str = "{kind: Pod, metadata: {name: x, namespace: n}, spec: {containers: [{name: c, image: 'i:1', resources: {requests: {cpu: 100m, memory: 64Mi}}}], ephemeralContainers: [{name: e, image: 'i:1'}]}}";

#[test]
fn a_resize_changes_cpu_and_memory_alone() {
    let check = |containers: &str, expect: expect_test::Expect| {
        let (kind, old) = created(POD);
        let mut new = old.clone();
        new["spec"]["containers"] = serde_yaml_ng::from_str(containers).unwrap();
        (kind.defaults)(&mut new);
        expect.assert_eq(&shown(&resize::validate(&new, &old)));
    };
    check(
        "[{name: c, image: 'i:1', resources: {requests: {cpu: 200m, memory: 32Mi}, limits: {cpu: 1}}}]",
        expect![[""]],
    );
    check(
        "[{name: c, image: 'i:1', resources: {requests: {cpu: 200m}}}]",
        expect![[r#"
        spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed
    "#]],
    );
    check(
        "[{name: c, image: 'i:2', resources: {requests: {cpu: 100m, memory: 64Mi}}}]",
        expect![[r#"
        spec: Forbidden: only cpu and memory resources are mutable
        - containers: [{"image":"i:1","imagePullPolicy":"IfNotPresent","name":"c","resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
        + containers: [{"image":"i:2","imagePullPolicy":"IfNotPresent","name":"c","resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
    "#]],
    );
    check(
        "[{name: c, image: 'i:1', resources: {limits: {cpu: 100m, memory: 64Mi}}}]",
        expect![[r#"
        spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing
    "#]],
    );
    check(
        "[{name: d, image: 'i:1'}]",
        expect![[r#"
        spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing
        spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize
    "#]],
    );
}

#[test]
fn ephemeral_containers_are_added_and_never_taken_away() {
    let check = |containers: &str, expect: expect_test::Expect| {
        let (kind, old) = created(POD);
        let mut new = old.clone();
        new["spec"]["ephemeralContainers"] = serde_yaml_ng::from_str(containers).unwrap();
        (kind.defaults)(&mut new);
        let mut problems = (kind.validate)(&new);
        problems.extend(ephemeral::validate_update(&new, &old));
        expect.assert_eq(&shown(&problems));
    };
    check("[{name: e, image: 'i:1'}, {name: f, image: 'i:1', targetContainerName: c}]", expect![[""]]);
    check(
        "[]",
        expect![[r#"
        spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be removed

    "#]],
    );
    check(
        "[{name: e, image: 'i:2'}, {name: c, targetContainerName: z, ports: [{containerPort: 1}]}]",
        expect![[r#"
        spec.ephemeralContainers[1].name: Duplicate value: "c"
        spec.ephemeralContainers[1].image: Required value
        spec.ephemeralContainers[1].targetContainerName: Not found: "z"
        spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container
        spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be changed
        - image: "i:1"
        + image: "i:2"
    "#]],
    );
}
