//! Manifests that are refused, and the exact words.

// tidy: long because it is one table of refusals

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{created, json, kind};
use crate::kinds::Problem;

pub(super) fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.field, problem.message)).collect()
}

pub(super) fn check(manifest: &str, expect: Expect) {
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
pub(super) fn check_update(manifest: &str, change: &str, expect: Expect) {
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
    check(
        "{kind: ConfigMap, metadata: {name: A_b, namespace: b}}",
        expect![[r#"
        metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    check(
        "{kind: ConfigMap, metadata: {generateName: a-}}",
        expect![[r#"
        metadata.name: Required value: name or generateName is required
        metadata.namespace: Required value
    "#]],
    );
    check(
        "{kind: Node, metadata: {name: a, namespace: b}}",
        expect![[r#"
        metadata.namespace: Forbidden: not allowed on this type
    "#]],
    );
    check(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, labels: {a/b/c: -x}, annotations: {'': y}, finalizers: [z, orphan, foregroundDeletion]}}",
        expect![[r#"
            metadata.labels: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
            metadata.labels: Invalid value: "-x": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.annotations: Invalid value: "": name part must be non-empty
            metadata.annotations: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.finalizers: Invalid value: ["z","orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set
            metadata.finalizers[0]: Invalid value: "z": name is neither a standard finalizer name nor is it fully qualified
        "#]],
    );
    check(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}, {apiVersion: v1, kind: Pod, name: q, controller: true}]}}",
        expect![[r#"
            metadata.ownerReferences.uid: Invalid value: "": must not be empty
            metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"Pod","name":"p","uid":"u"},{"apiVersion":"v1","controller":true,"kind":"Pod","name":"q"}]: Only one reference can have Controller set to true. Found "true" in references for p and q
        "#]],
    );
    check(
        "{kind: Namespace, metadata: {name: a.b}}",
        expect![[r#"
        metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check(
        "{kind: ClusterRole, metadata: {name: a/b}}",
        expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
    "#]],
    );
}

#[test]
fn metadata_that_changed() {
    check_update(
        "{kind: ConfigMap, metadata: {name: a, namespace: b, uid: u, deletionTimestamp: x}}",
        "{metadata: {uid: v, finalizers: [a.b/c]}}",
        expect![[r#"
            metadata.uid: Invalid value: "v": field is immutable
            metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.b/c"}
        "#]],
    );
}

#[test]
fn a_pod_needs_containers_that_are_whole() {
    check_pod(
        "",
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    check_pod(
        "containers: [{}]",
        expect![[r#"
        spec.containers[0].name: Required value
        spec.containers[0].image: Required value
    "#]],
    );
    check_pod(
        "containers: [{name: a, image: x}, {name: a, image: ' x'}, {name: A, image: x, imagePullPolicy: Now}]",
        expect![[r#"
        spec.containers[1].image: Invalid value: " x": must not have leading or trailing whitespace
        spec.containers[1].name: Duplicate value: "a"
        spec.containers[2].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[2].imagePullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never"
    "#]],
    );
    check_pod(
        "containers: [{name: a, image: x}], initContainers: [{name: a, image: x, livenessProbe: {exec: {command: [x]}}}]",
        expect![[r#"
        spec.initContainers[0].name: Duplicate value: "a"
        spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
    "#]],
    );
}

#[test]
fn ports_and_environment() {
    check_pod(
        "containers: [{name: a, image: x, ports: [{}, {containerPort: 70000, protocol: tcp}, {containerPort: 1, name: UP}, {containerPort: 1, name: p, hostPort: 5}, {containerPort: 2, name: p, hostPort: 5}]}]",
        expect![[r#"
        spec.containers[0].ports[0].containerPort: Required value
        spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].ports[2].name: Invalid value: "UP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].ports[2].name: Invalid value: "UP": must contain at least one letter (a-z)
        spec.containers[0].ports[4].name: Duplicate value: "p"
        spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//5"
    "#]],
    );
    check_pod(
        "containers: [{name: a, image: x, env: [{}, {name: a=b}, {name: a, value: b, valueFrom: {fieldRef: {fieldPath: spec.x}}}, {name: a, valueFrom: {}}, {name: a, valueFrom: {secretKeyRef: {key: a/b}}}, {name: a, valueFrom: {resourceFieldRef: {resource: x}}}], envFrom: [{}, {configMapRef: {}}]}]",
        expect![[r#"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
        spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
        spec.containers[0].env[4].valueFrom.secretKeyRef.name: Required value
        spec.containers[0].env[4].valueFrom.secretKeyRef.key: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        spec.containers[0].env[5].valueFrom.resourceFieldRef.resource: Unsupported value: "x": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
        spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
        spec.containers[0].envFrom[1].configMapRef.name: Required value
    "#]],
    );
}

#[test]
fn volumes_and_mounts() {
    check_pod(
        "containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a}, {}, {name: v, mountPath: /b, subPath: ../x}]}], volumes: [{name: v}, {name: v, emptyDir: {}, secret: {secretName: x}}, {name: V, configMap: {}}, {name: h, hostPath: {path: /a/../b, type: Nope}}, {name: p, projected: {sources: [{}, {serviceAccountToken: {expirationSeconds: 1, path: t}}]}}, {name: s, secret: {secretName: s, defaultMode: 512, items: [{key: k, path: /abs}]}}]",
        expect![[r#"
        spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type
        spec.volumes[1].name: Duplicate value: "v"
        spec.volumes[2].configMap.name: Required value
        spec.volumes[2].name: Invalid value: "V": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.volumes[3].hostPath.path: Invalid value: "/a/../b": must not contain '..'
        spec.volumes[3].hostPath.type: Unsupported value: "Nope": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
        spec.volumes[4].projected.sources[0]: Required value: must specify a volume type
        spec.volumes[4].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes
        spec.volumes[5].secret.items[0].path: Invalid value: "/abs": must be a relative path
        spec.volumes[5].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
        spec.containers[0].volumeMounts[1].name: Not found: "w"
        spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
        spec.containers[0].volumeMounts[2].name: Required value
        spec.containers[0].volumeMounts[2].mountPath: Required value
        spec.containers[0].volumeMounts[3].subPath: Invalid value: "../x": must not contain '..'
    "#]],
    );
}

#[test]
fn probes() {
    check_pod(
        "containers: [{name: a, image: x, readinessProbe: {}, livenessProbe: {httpGet: {port: 0, scheme: ftp}, tcpSocket: {port: 1}, successThreshold: 2}, startupProbe: {exec: {}, periodSeconds: -1}}]",
        expect![[r#"
        spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "ftp": supported values: "HTTP", "HTTPS"
        spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[0].readinessProbe: Required value: must specify a handler type
        spec.containers[0].startupProbe.exec.command: Required value
        spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
}

#[test]
fn resources() {
    check_pod(
        "containers: [{name: a, image: x, resources: {limits: {cpu: 1, memory: 1Gi, foo: 1, x.y/z: 500m}, requests: {cpu: 1100m, memory: -1, x.y/z: 1, ephemeral-storage: 1Zi}}}]",
        expect![[r#"
        spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers
        spec.containers[0].resources.limits[x.y/z]: Invalid value: "500m": must be an integer
        spec.containers[0].resources.requests: Invalid value: "1100m": must be less than or equal to cpu limit of 1
        spec.containers[0].resources.requests[ephemeral-storage]: Invalid value: "1Zi": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource for containers
        spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.requests: Invalid value: "1": must be equal to x.y/z limit of 500m
    "#]],
    );
}

#[test]
fn the_rest_of_a_pod() {
    check_pod(
        "containers: [{name: a, image: x}], restartPolicy: Maybe, dnsPolicy: None, hostname: A, activeDeadlineSeconds: 0, nodeSelector: {a: '-'}, securityContext: {runAsUser: -1}, imagePullSecrets: [{}], hostAliases: [{ip: x, hostnames: [A]}], schedulingGates: [{name: g}, {name: g}]",
        expect![[r#"
        spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"
        spec.nodeSelector: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
        spec.imagePullSecrets[0].name: Required value
        spec.schedulingGates[1].name: Duplicate value: "g"
        spec.dnsConfig: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None
        spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.hostAliases[0].hostnames[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    check_pod(
        "containers: [{name: a, image: x}], tolerations: [{operator: Equal}, {key: a, operator: Exists, value: b}, {key: a, operator: Like, effect: Never, tolerationSeconds: 1}], topologySpreadConstraints: [{}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}",
        expect![[r#"
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
        spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
        spec.tolerations[1].operator: Invalid value: {"key":"a","operator":"Exists","value":"b"}: value must be empty when `operator` is 'Exists'
        spec.tolerations[2].effect: Invalid value: "Never": effect must be 'NoExecute' when `tolerationSeconds` is set
        spec.tolerations[2].operator: Unsupported value: "Like": supported values: "Equal", "Exists"
        spec.tolerations[2].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
        spec.topologySpreadConstraints[0].whenUnsatisfiable: Required value
    "#]],
    );
}

#[test]
fn what_may_change_in_a_pod() {
    let pod = "{kind: Pod, metadata: {name: a, namespace: b}, spec: {nodeName: n, containers: [{name: a, image: 'x:1'}], tolerations: [{key: a, operator: Exists}]}}";
    check_update(
        pod,
        "{spec: {containers: [{name: a, image: 'x:2'}], activeDeadlineSeconds: 5, tolerations: [{key: a, operator: Exists}, {key: b, operator: Exists}]}}",
        expect![[""]],
    );
    check_update(
        pod,
        "{spec: {nodeName: m}}",
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        - nodeName: "n"
        + nodeName: "m"
    "#]],
    );
    check_update(
        pod,
        "{spec: {containers: [{name: a, image: 'x:1'}, {name: b, image: 'x:1'}]}}",
        expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    check_update(
        pod,
        "{spec: {tolerations: [], schedulingGates: [{name: g}]}}",
        expect![[r#"
        spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
}

#[test]
fn deployments_and_replica_sets() {
    check(
        "{kind: Deployment, metadata: {name: a, namespace: b}, spec: {}}",
        expect![[r#"
        spec.selector: Required value
        spec.template: Required value
    "#]],
    );
    check(
        "{kind: Deployment, metadata: {name: a, namespace: b}, spec: {replicas: -1, selector: {matchLabels: {a: b}}, strategy: {type: Recreate, rollingUpdate: {}}, template: {metadata: {labels: {a: c}}, spec: {restartPolicy: Never, containers: [{name: a}]}}}}",
        expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`
        spec.template.spec.containers[0].image: Required value
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
    "#]],
    );
    check(
        "{kind: Deployment, metadata: {name: a, namespace: b}, spec: {selector: {}, minReadySeconds: 700, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}, template: {spec: {containers: [{name: a, image: x}]}}}}",
        expect![[r#"
        spec.selector: Invalid value: {}: empty selector is invalid for deployment
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
        spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds
    "#]],
    );
    check(
        "{kind: Deployment, metadata: {name: a, namespace: b}, spec: {selector: {matchExpressions: [{key: a, operator: In}, {key: b, operator: Likes}]}, strategy: {rollingUpdate: {maxSurge: x, maxUnavailable: 101%}}, template: {spec: {containers: [{name: a, image: x}]}}}}",
        expect![[r#"
        spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.selector.matchExpressions[1].operator: Invalid value: "Likes": not a valid selector operator
        spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
        spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
    "#]],
    );
    check(
        "{kind: ReplicaSet, metadata: {name: a, namespace: b}, spec: {selector: {matchLabels: {a: b}}}}",
        expect![[r#"
        spec.template: Required value
    "#]],
    );
    check_update(
        "{kind: ReplicaSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}}}",
        "{spec: {selector: {matchLabels: {a: c}}}}",
        expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable
    "#]],
    );
}

#[test]
fn services() {
    check(
        "{kind: Service, metadata: {name: 1a, namespace: b}, spec: {}}",
        expect![[r#"
        metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        spec.ports: Required value
    "#]],
    );
    check_service(
        "ports: [{port: 80}, {port: 80, name: A}, {port: 0, name: c, targetPort: TOO, protocol: X}]",
        expect![[r#"
        spec.ports[0].name: Required value
        spec.ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}
        spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[2].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        spec.ports[2].targetPort: Invalid value: "TOO": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.ports[2].targetPort: Invalid value: "TOO": must contain at least one letter (a-z)
    "#]],
    );
    check_service(
        "type: Else, sessionAffinity: Maybe, ports: [{port: 80, nodePort: 30000}]",
        expect![[r#"
        spec.sessionAffinity: Unsupported value: "Maybe": supported values: "ClientIP", "None"
        spec.type: Unsupported value: "Else": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
    "#]],
    );
    check_service(
        "ports: [{port: 80, nodePort: 30000}], externalTrafficPolicy: Local, clusterIP: x",
        expect![[r#"
        spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
        spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
    "#]],
    );
    check_service(
        "type: NodePort, clusterIP: None, ports: [{port: 80}], externalTrafficPolicy: All",
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
        spec.externalTrafficPolicy: Unsupported value: "All": supported values: "Cluster", "Local"
    "#]],
    );
    check_service(
        "type: ExternalName, clusterIP: 10.0.0.1",
        expect![[r#"
        spec.clusterIPs: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value
    "#]],
    );
    check_service("clusterIP: None", expect![[""]]);
}

#[test]
fn a_service_keeps_its_address() {
    let service =
        "{kind: Service, metadata: {name: a, namespace: b}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}";
    check_update(
        service,
        "{spec: {clusterIP: 10.0.0.2}}",
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set
    "#]],
    );
    check_update(service, "{spec: {clusterIP: null, clusterIPs: null, type: null}}", expect![[""]]);
    check_update(service, "{spec: {type: ExternalName, externalName: x}}", expect![[""]]);
}

#[test]
fn config_maps_and_secrets() {
    check(
        "{kind: ConfigMap, metadata: {name: a, namespace: b}, data: {a/b: x, c: y}, binaryData: {c: eA==}}",
        expect![[r#"
        data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[c]: Invalid value: "c": duplicate of key present in binaryData
        binaryData[c]: Invalid value: "c": duplicate of key present in data
    "#]],
    );
    let big = "x".repeat(1024 * 1024 + 1);
    check(
        &format!("{{kind: ConfigMap, metadata: {{name: a, namespace: b}}, data: {{a: {big}}}}}"),
        expect![[r#"
        []: Too long: may not be more than 1048576 bytes
    "#]],
    );
    check_update(
        "{kind: ConfigMap, metadata: {name: a}, immutable: true, data: {a: b}}",
        "{immutable: false, data: {a: c}}",
        expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    check(
        "{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/tls, data: {'..': eA==}}",
        expect![[r#"
        data[..]: Invalid value: "..": must not be '..'
        data[tls.crt]: Required value
        data[tls.key]: Required value
    "#]],
    );
    check(
        "{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: eA==}}",
        expect![[r#"
        data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": expected value at line 1 column 1
    "#]],
    );
    check(
        "{kind: Secret, metadata: {name: a, namespace: b}, type: kubernetes.io/basic-auth}",
        expect![[r#"
        data[username]: Required value
        data[password]: Required value
    "#]],
    );
    check_update(
        "{kind: Secret, metadata: {name: a}}",
        "{type: x/y}",
        expect![[r#"
        type: Invalid value: "x/y": field is immutable
    "#]],
    );
}

#[test]
fn rbac() {
    check(
        "{kind: Role, metadata: {name: a, namespace: b}, rules: [{}, {verbs: [get], nonResourceURLs: [/x], resources: [y]}]}",
        expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
        rules[1].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs
    "#]],
    );
    check(
        "{kind: RoleBinding, metadata: {name: a, namespace: b}, roleRef: {kind: X, apiGroup: y}, subjects: [{kind: ServiceAccount}, {kind: Bot, name: z}]}",
        expect![[r#"
        roleRef.apiGroup: Unsupported value: "y": supported values: "rbac.authorization.k8s.io"
        roleRef.kind: Unsupported value: "X": supported values: "Role", "ClusterRole"
        roleRef.name: Required value
        subjects[0].name: Required value
        subjects[0].namespace: Required value
        subjects[1].kind: Unsupported value: "Bot": supported values: "ServiceAccount", "User", "Group"
    "#]],
    );
    check_update(
        "{kind: ClusterRoleBinding, metadata: {name: a}, roleRef: {kind: ClusterRole, name: r}}",
        "{roleRef: {name: s}}",
        expect![[r#"
        roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"s"}: cannot change roleRef
    "#]],
    );
}

// tidy: long because it is one table of refusals
#[test]
fn small_kinds() {
    check(
        "{kind: Node, metadata: {name: a}, spec: {taints: [{key: a, effect: X}, {key: b, effect: NoSchedule}, {key: b, effect: NoSchedule}]}}",
        expect![[r#"
        spec.taints[0].effect: Unsupported value: "X": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        spec.taints[2]: Duplicate value: {"effect":"NoSchedule","key":"b"}
    "#]],
    );
    check_update(
        "{kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.0.0.0/24]}}",
        "{spec: {podCIDRs: [10.0.1.0/24]}}",
        expect![[r#"
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
    "#]],
    );
    check(
        "{kind: Lease, metadata: {name: a, namespace: b}, spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}",
        expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
        spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check(
        "{kind: Event, metadata: {name: a, namespace: b}, involvedObject: {namespace: c}}",
        expect![[r#"
        involvedObject.namespace: Invalid value: "c": does not match event.namespace
    "#]],
    );
    check(
        "{kind: Endpoints, metadata: {name: a, namespace: b}, subsets: [{addresses: [{ip: x}], ports: [{port: 1}, {port: 2, name: b}]}, {}]}",
        expect![[r#"
        subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        subsets[0].ports[0].name: Required value
        subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`
    "#]],
    );
    check(
        "{kind: EndpointSlice, metadata: {name: a, namespace: b}, addressType: IPv4, endpoints: [{addresses: []}, {addresses: ['::1', x]}], ports: [{}, {}]}",
        expect![[r#"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses[0]: Invalid value: "::1": must be an IPv4 address
        endpoints[1].addresses[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        ports[1].name: Duplicate value: ""
    "#]],
    );
    check(
        "{kind: PriorityClass, metadata: {name: a}, value: 1000000001}",
        expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
    "#]],
    );
    check(
        "{kind: PriorityClass, metadata: {name: system-x}, value: 1}",
        expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class
    "#]],
    );
    check_update(
        "{kind: RuntimeClass, metadata: {name: a}, handler: wasm}",
        "{handler: cri}",
        expect![[r#"
        handler: Invalid value: "cri": field is immutable
    "#]],
    );
    check(
        "{kind: Binding, metadata: {name: a}, target: {kind: Pod}}",
        expect![[r#"
        target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"
        target.name: Required value
    "#]],
    );
    check(
        "{kind: SubjectAccessReview, spec: {}}",
        expect![[r#"
        spec.resourceAttributes: Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes must be specified
        spec.user: Invalid value: "": at least one of user or group must be specified
    "#]],
    );
    assert!(
        (kind("SelfSubjectAccessReview").validate)(&serde_json::json!({ "spec": { "resourceAttributes": {} } }))
            .is_empty()
    );
}
