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
    becomes("{kind: DaemonSet, metadata: {name: x}, spec: {}, status: {numberReady: 3}}", expect![[""]]);
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
    refused(&set("DaemonSet", "updateStrategy: {rollingUpdate: {maxSurge: 1}},"), expect![[""]]);
    refused(&set("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}},"), expect![[""]]);
    refused(&set("DaemonSet", "updateStrategy: {type: Never},"), expect![[""]]);
    refused("{kind: DaemonSet, metadata: {name: x, namespace: n}, spec: {selector: {}}}", expect![[""]]);
    refused_update(&set("DaemonSet", ""), "{spec: {selector: {matchLabels: {app: b}}}}", expect![[""]]);
}

#[test]
fn a_stateful_set() {
    becomes(
        "{kind: StatefulSet, metadata: {name: x}, spec: {serviceName: s, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce]}}]}}",
        expect![[""]],
    );
    becomes(
        "{kind: StatefulSet, metadata: {name: x}, spec: {replicas: 0, updateStrategy: {type: OnDelete}}}",
        expect![[""]],
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
        expect![[""]],
    );
    refused(&set("StatefulSet", "updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}},"), expect![[""]]);
    refused_update(&set("StatefulSet", ""), "{spec: {replicas: 3, template: {spec: {hostname: h}}}}", expect![[""]]);
    refused_update(&set("StatefulSet", ""), "{spec: {serviceName: other}}", expect![[""]]);
}

#[test]
fn a_replication_controller_takes_selector_and_labels_from_its_template() {
    becomes(
        "{kind: ReplicationController, metadata: {name: x}, spec: {template: {metadata: {labels: {app: a}}, spec: {containers: []}}}}",
        expect![[""]],
    );
    refused("{kind: ReplicationController, metadata: {name: x, namespace: n}, spec: {}}", expect![[""]]);
    refused(
        "{kind: ReplicationController, metadata: {name: x, namespace: n}, spec: {selector: {b: c}, template: {metadata: {labels: {app: a}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}}}",
        expect![[""]],
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
        expect![[""]],
    );
    row(
        &format!(
            "{{kind: StatefulSet, {METADATA}, spec: {{replicas: 2, {selector}, {template}}}, status: {{readyReplicas: 1}}}}"
        ),
        expect![[""]],
    );
    row(
        &format!(
            "{{kind: ReplicationController, {METADATA}, spec: {{replicas: 2, selector: {{app: a}}, {template}}}, status: {{replicas: 2}}}}"
        ),
        expect![[""]],
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
    check("[{name: c, image: 'i:1', resources: {requests: {cpu: 200m}}}]", expect![[""]]);
    check("[{name: c, image: 'i:2', resources: {requests: {cpu: 100m, memory: 64Mi}}}]", expect![[""]]);
    check("[{name: c, image: 'i:1', resources: {limits: {cpu: 100m, memory: 64Mi}}}]", expect![[""]]);
    check("[{name: d, image: 'i:1'}]", expect![[""]]);
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
    check("[]", expect![[""]]);
    check("[{name: e, image: 'i:2'}, {name: c, targetContainerName: z, ports: [{containerPort: 1}]}]", expect![[""]]);
}
