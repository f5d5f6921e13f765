//! What manifests become. Defaults are idempotent, whatever they are given.

use expect_test::{Expect, expect};

use super::created;

fn check(manifest: &str, expect: Expect) {
    let (kind, mut object) = created(manifest);
    let once = object.clone();
    (kind.defaults)(&mut object);
    assert_eq!(once, object, "a second time changes nothing");
    object.as_object_mut().unwrap().retain(|field, _| !matches!(field.as_str(), "kind" | "apiVersion"));
    expect.assert_eq(&serde_yaml_ng::to_string(&object).unwrap());
}

#[test]
fn a_pod() {
    check(
        r"
kind: Pod
metadata: {name: web, namespace: default}
spec:
  containers:
  - name: web
    image: ghcr.io/x/web
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 1, memory: 64Mi}}
    readinessProbe: {httpGet: {port: 80}}
    livenessProbe: {grpc: {port: 1}, periodSeconds: 3}
    lifecycle: {preStop: {httpGet: {port: 80}}}
    env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumes:
  - {name: a}
  - {name: b, secret: {secretName: s}}
  - {name: c, hostPath: {path: /x}}
  - {name: d, projected: {sources: [{serviceAccountToken: {path: t}}, {downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}}]}}
",
        expect![[]],
    );
}

#[test]
fn a_pod_on_the_host_network_with_the_old_name_of_its_account() {
    check(
        r"
kind: Pod
metadata: {name: a}
spec:
  hostNetwork: true
  serviceAccount: robot
  schedulingGates: [{name: g}]
  containers: [{name: a, image: 'a:1', ports: [{containerPort: 80}]}]
",
        expect![[]],
    );
}

#[test]
fn a_deployment() {
    check(
        r"
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1', resources: {limits: {cpu: 1}}}]}
status: {replicas: 7}
",
        expect![[]],
    );
}

#[test]
fn a_recreating_deployment_has_no_rolling_update() {
    check(
        "{kind: Deployment, metadata: {name: a}, spec: {replicas: 0, strategy: {type: Recreate}}}",
        expect![[]],
    );
}

#[test]
fn a_replica_set() {
    check("{kind: ReplicaSet, metadata: {name: a}, spec: {}}", expect![[]]);
}

#[test]
fn services() {
    check(
        "{kind: Service, metadata: {name: a}, spec: {selector: {a: b}, ports: [{port: 80}]}}",
        expect![[]],
    );
    check(
        "{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, sessionAffinity: ClientIP, clusterIP: 10.0.0.9, ports: [{port: 80, targetPort: http, protocol: UDP}]}}",
        expect![[]],
    );
    check(
        "{kind: Service, metadata: {name: a}, spec: {type: ExternalName, externalName: x.y}}",
        expect![[]],
    );
}

#[test]
fn a_secret_and_a_namespace() {
    check(
        "{kind: Secret, metadata: {name: a}, data: {a: eA==, b: eQ==}, stringData: {b: hello}}",
        expect![[]],
    );
    check("{kind: Namespace, metadata: {name: a}}", expect![[]]);
}

#[test]
fn bindings_classes_slices_and_nodes() {
    check(
        "{kind: RoleBinding, metadata: {name: a}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s}]}",
        expect![[]],
    );
    check("{kind: PriorityClass, metadata: {name: a}, value: 3}", expect![[]]);
    check("{kind: EndpointSlice, metadata: {name: a}, addressType: IPv4, ports: [{port: 1}]}", expect![[]]);
    check("{kind: Node, metadata: {name: a}, status: {capacity: {cpu: '1'}}}", expect![[]]);
}
