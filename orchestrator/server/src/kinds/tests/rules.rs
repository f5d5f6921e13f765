//! Manifests that are refused, and the exact words.

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{created, json, kind};
use crate::kinds::Problem;

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.field, problem.message)).collect()
}

fn check(manifest: &str, expect: Expect) {
    let (kind, object) = created(manifest);
    expect.assert_eq(&shown(&(kind.validate)(&object)));
}

fn check_pod(fields: &str, expect: Expect) {
    check(&format!("{{kind: Pod, metadata: {{name: a, namespace: b}}, spec: {{{fields}}}}}"), expect);
}

fn check_service(fields: &str, expect: Expect) {
    check(&format!("{{kind: Service, metadata: {{name: a, namespace: b}}, spec: {{{fields}}}}}"), expect);
}

/// `change` is a merge patch on the created object.
fn check_update(manifest: &str, change: &str, expect: Expect) {
    let (kind, old) = created(manifest);
    let mut new = old.clone();
    merge(&mut new, &serde_yaml_ng::from_str(change).unwrap());
    (kind.prepare_update)(&mut new, &old);
    (kind.defaults)(&mut new);
    expect.assert_eq(&shown(&(kind.validate_update)(&new, &old)));
}

fn merge(into: &mut Value, from: &Value) {
    let Value::Object(fields) = from else { return *into = from.clone() };
    for (field, value) in fields {
        match value {
            Value::Null => drop(json::remove(into, field)),
            _ => {
                json::fill(into, field, serde_json::json!({}));
                merge(into.get_mut(field).unwrap(), value);
            }
        }
    }
}

#[test]
fn metadata_of_every_kind() {
    check("{kind: ConfigMap, metadata: {name: A_b, namespace: b}}", expect![[]]);
    check("{kind: ConfigMap, metadata: {generateName: a-}}", expect![[]]);
    check("{kind: Node, metadata: {name: a, namespace: b}}", expect![[]]);
    check(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, labels: {a/b/c: -x}, annotations: {'': y}, finalizers: [z, orphan, foregroundDeletion]}}",
        expect![[]],
    );
    check(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}, {apiVersion: v1, kind: Pod, name: q, controller: true}]}}",
        expect![[]],
    );
    check("{kind: Namespace, metadata: {name: a.b}}", expect![[]]);
    check("{kind: ClusterRole, metadata: {name: a/b}}", expect![[]]);
}

#[test]
fn metadata_that_changed() {
    check_update(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, uid: u, deletionTimestamp: x}}",
        "{metadata: {uid: v, finalizers: [a.b/c]}}",
        expect![[]],
    );
}

#[test]
fn a_pod_needs_containers_that_are_whole() {
    check_pod("", expect![[]]);
    check_pod("containers: [{}]", expect![[]]);
    check_pod("containers: [{name: a, image: x}, {name: a, image: ' x'}, {name: A, image: x, imagePullPolicy: Now}]", expect![[]]);
    check_pod("containers: [{name: a, image: x}], initContainers: [{name: a, image: x, livenessProbe: {exec: {command: [x]}}}]", expect![[]]);
}

#[test]
fn ports_and_environment() {
    check_pod("containers: [{name: a, image: x, ports: [{}, {containerPort: 70000, protocol: tcp}, {containerPort: 1, name: UP}, {containerPort: 1, name: p, hostPort: 5}, {containerPort: 2, name: p, hostPort: 5}]}]", expect![[]]);
    check_pod("containers: [{name: a, image: x, env: [{}, {name: a=b}, {name: a, value: b, valueFrom: {fieldRef: {fieldPath: spec.x}}}, {name: a, valueFrom: {}}, {name: a, valueFrom: {secretKeyRef: {key: a/b}}}, {name: a, valueFrom: {resourceFieldRef: {resource: x}}}], envFrom: [{}, {configMapRef: {}}]}]", expect![[]]);
}

#[test]
fn volumes_and_mounts() {
    check_pod("containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a}, {}, {name: v, mountPath: /b, subPath: ../x}]}], volumes: [{name: v}, {name: v, emptyDir: {}, secret: {secretName: x}}, {name: V, configMap: {}}, {name: h, hostPath: {path: /a/../b, type: Nope}}, {name: p, projected: {sources: [{}, {serviceAccountToken: {expirationSeconds: 1, path: t}}]}}, {name: s, secret: {secretName: s, defaultMode: 512, items: [{key: k, path: /abs}]}}]", expect![[]]);
}

#[test]
fn probes() {
    check_pod("containers: [{name: a, image: x, readinessProbe: {}, livenessProbe: {httpGet: {port: 0, scheme: ftp}, tcpSocket: {port: 1}, successThreshold: 2}, startupProbe: {exec: {}, periodSeconds: -1}}]", expect![[]]);
}

#[test]
fn resources() {
    check_pod("containers: [{name: a, image: x, resources: {limits: {cpu: 1, memory: 1Gi, foo: 1, x.y/z: 500m}, requests: {cpu: 1100m, memory: -1, x.y/z: 1, ephemeral-storage: 1Zi}}}]", expect![[]]);
}

#[test]
fn the_rest_of_a_pod() {
    check_pod("containers: [{name: a, image: x}], restartPolicy: Maybe, dnsPolicy: None, hostname: A, activeDeadlineSeconds: 0, nodeSelector: {a: '-'}, securityContext: {runAsUser: -1}, imagePullSecrets: [{}], hostAliases: [{ip: x, hostnames: [A]}], schedulingGates: [{name: g}, {name: g}]", expect![[]]);
    check_pod("containers: [{name: a, image: x}], tolerations: [{operator: Equal}, {key: a, operator: Exists, value: b}, {key: a, operator: Like, effect: Never, tolerationSeconds: 1}], topologySpreadConstraints: [{}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}", expect![[]]);
}

#[test]
fn what_may_change_in_a_pod() {
    let pod = "{kind: Pod, metadata: {name: a, namespace: b}, spec: {nodeName: n, containers: [{name: a, image: 'x:1'}], tolerations: [{key: a, operator: Exists}]}}";
    check_update(pod, "{spec: {containers: [{name: a, image: 'x:2'}], activeDeadlineSeconds: 5, tolerations: [{key: a, operator: Exists}, {key: b, operator: Exists}]}}", expect![[]]);
    check_update(pod, "{spec: {nodeName: m}}", expect![[]]);
    check_update(pod, "{spec: {containers: [{name: a, image: 'x:1'}, {name: b, image: 'x:1'}]}}", expect![[]]);
    check_update(pod, "{spec: {tolerations: [], schedulingGates: [{name: g}]}}", expect![[]]);
}

#[test]
fn deployments_and_replica_sets() {
    check("{kind: Deployment, metadata: {name: a, namespace: b}, spec: {}}", expect![[]]);
    check("{kind: Deployment, metadata: {name: a, namespace: b}, spec: {replicas: -1, selector: {matchLabels: {a: b}}, strategy: {type: Recreate, rollingUpdate: {}}, template: {metadata: {labels: {a: c}}, spec: {restartPolicy: Never, containers: [{name: a}]}}}}", expect![[]]);
    check("{kind: Deployment, metadata: {name: a, namespace: b}, spec: {selector: {}, minReadySeconds: 700, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}, template: {spec: {containers: [{name: a, image: x}]}}}}", expect![[]]);
    check("{kind: Deployment, metadata: {name: a, namespace: b}, spec: {selector: {matchExpressions: [{key: a, operator: In}, {key: b, operator: Likes}]}, strategy: {rollingUpdate: {maxSurge: x, maxUnavailable: 101%}}, template: {spec: {containers: [{name: a, image: x}]}}}}", expect![[]]);
    check("{kind: ReplicaSet, metadata: {name: a, namespace: b}, spec: {selector: {matchLabels: {a: b}}}}", expect![[]]);
    check_update("{kind: ReplicaSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}}}", "{spec: {selector: {matchLabels: {a: c}}}}", expect![[]]);
}

#[test]
fn services() {
    check("{kind: Service, metadata: {name: 1a, namespace: b}, spec: {}}", expect![[]]);
    check_service("ports: [{port: 80}, {port: 80, name: A}, {port: 0, name: c, targetPort: TOO, protocol: X}]", expect![[]]);
    check_service("type: Else, sessionAffinity: Maybe, ports: [{port: 80, nodePort: 30000}]", expect![[]]);
    check_service("ports: [{port: 80, nodePort: 30000}], externalTrafficPolicy: Local, clusterIP: x", expect![[]]);
    check_service("type: NodePort, clusterIP: None, ports: [{port: 80}], externalTrafficPolicy: All", expect![[]]);
    check_service("type: ExternalName, clusterIP: 10.0.0.1", expect![[]]);
    check_service("clusterIP: None", expect![[]]);
}

#[test]
fn a_service_keeps_its_address() {
    let service = "{kind: Service, metadata: {name: a, namespace: b}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}";
    check_update(service, "{spec: {clusterIP: 10.0.0.2}}", expect![[]]);
    check_update(service, "{spec: {clusterIP: null, clusterIPs: null, type: null}}", expect![[]]);
    check_update(service, "{spec: {type: ExternalName, externalName: x}}", expect![[]]);
}

#[test]
fn config_maps_and_secrets() {
    check("{kind: ConfigMap, metadata: {name: a, namespace: b}, data: {a/b: x, c: y}, binaryData: {c: eA==}}", expect![[]]);
    let big = "x".repeat(1024 * 1024 + 1);
    check(&format!("{{kind: ConfigMap, metadata: {{name: a, namespace: b}}, data: {{a: {big}}}}}"), expect![[]]);
    check_update("{kind: ConfigMap, metadata: {name: a}, immutable: true, data: {a: b}}", "{immutable: false, data: {a: c}}", expect![[]]);
    check("{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/tls, data: {'..': eA==}}", expect![[]]);
    check("{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: eA==}}", expect![[]]);
    check("{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/basic-auth}", expect![[]]);
    check_update("{kind: Secret, metadata: {name: a}}", "{type: x/y}", expect![[]]);
}

#[test]
fn rbac() {
    check("{kind: Role, metadata: {name: a, namespace: b}, rules: [{}, {verbs: [get], nonResourceURLs: [/x], resources: [y]}]}", expect![[]]);
    check("{kind: RoleBinding, metadata: {name: a, namespace: b}, roleRef: {kind: X, apiGroup: y}, subjects: [{kind: ServiceAccount}, {kind: Bot, name: z}]}", expect![[]]);
    check_update("{kind: ClusterRoleBinding, metadata: {name: a}, roleRef: {kind: ClusterRole, name: r}}", "{roleRef: {name: s}}", expect![[]]);
}

#[test]
fn small_kinds() {
    check("{kind: Node, metadata: {name: a}, spec: {taints: [{key: a, effect: X}, {key: b, effect: NoSchedule}, {key: b, effect: NoSchedule}]}}", expect![[]]);
    check_update("{kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.0.0.0/24]}}", "{spec: {podCIDRs: [10.0.1.0/24]}}", expect![[]]);
    check("{kind: Lease, metadata: {name: a, namespace: b}, spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}", expect![[]]);
    check("{kind: Event, metadata: {name: a, namespace: b}, involvedObject: {namespace: c}}", expect![[]]);
    check("{kind: Endpoints, metadata: {name: a, namespace: b}, subsets: [{addresses: [{ip: x}], ports: [{port: 1}, {port: 2, name: b}]}, {}]}", expect![[]]);
    check("{kind: EndpointSlice, metadata: {name: a, namespace: b}, addressType: IPv4, endpoints: [{addresses: []}, {addresses: ['::1', x]}], ports: [{}, {}]}", expect![[]]);
    check("{kind: PriorityClass, metadata: {name: a}, value: 1000000001}", expect![[]]);
    check("{kind: PriorityClass, metadata: {name: system-x}, value: 1}", expect![[]]);
    check_update("{kind: RuntimeClass, metadata: {name: a}, handler: wasm}", "{handler: cri}", expect![[]]);
    check("{kind: Binding, metadata: {name: a}, target: {kind: Pod}}", expect![[]]);
    check("{kind: SubjectAccessReview, spec: {}}", expect![[]]);
    assert!((kind("SelfSubjectAccessReview").validate)(&serde_json::json!({ "spec": { "resourceAttributes": {} } })).is_empty());
}
