//! What `kubectl get` shows.

use expect_test::{Expect, expect};

use super::{NOW, parse};

pub(super) fn check(manifest: &str, expect: Expect) {
    let (kind, object) = parse(manifest);
    let cells = (kind.row)(&object, NOW);
    let shown: Vec<String> = cells.iter().map(|cell| cell.as_str().map_or(cell.to_string(), str::to_owned)).collect();
    expect.assert_eq(&shown.join(" | "));
}

/// Two planned containers and one init container unless `spec` says otherwise.
fn check_pod(status: &str, expect: Expect) {
    let spec = "initContainers: [{name: i}], containers: [{name: a}, {name: b}]";
    check(&format!("{{kind: Pod, metadata: {{name: p}}, spec: {{{spec}}}, status: {{{status}}}}}"), expect);
}

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z', labels: {node-role.kubernetes.io/edge: '', node-role.kubernetes.io/a: ''}}";

#[test]
fn a_running_pod_in_full() {
    check(
        "{kind: Pod, metadata: {name: p, creationTimestamp: '2026-01-01T11:55:00Z'}, spec: {nodeName: n, readinessGates: [{conditionType: g}], containers: [{name: a}]}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}], conditions: [{type: g, status: 'True'}], containerStatuses: [{name: a, ready: true, restartCount: 3, state: {running: {}}, lastState: {terminated: {finishedAt: '2026-01-01T11:58:00Z'}}}]}}",
        expect!["p | 1/1 | Running | 3 (2m ago) | 5m | 10.0.0.1 | n | <none> | 1/1"],
    );
}

#[test]
fn pods_before_their_containers_run() {
    check_pod("phase: Pending", expect!["p | 0/2 | Pending | 0 | <unknown> | <none> | <none> | <none> | <none>"]);
    check_pod(
        "phase: Pending, conditions: [{type: PodScheduled, reason: SchedulingGated}]",
        expect!["p | 0/2 | SchedulingGated | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Failed, reason: Evicted",
        expect!["p | 0/2 | Evicted | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}]",
        expect!["p | 0/2 | Init:0/1 | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Pending, initContainerStatuses: [{name: i, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}}]",
        expect!["p | 0/2 | Init:CrashLoopBackOff | 2 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 3}}}]",
        expect!["p | 0/2 | Init:ExitCode:3 | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 137, signal: 9}}}]",
        expect!["p | 0/2 | Init:Signal:9 | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Failed, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 1, reason: Error}}}]",
        expect!["p | 0/2 | Init:Error | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}], containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]",
        expect!["p | 0/2 | PodInitializing | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
}

#[test]
fn pods_whose_containers_differ() {
    check_pod(
        "phase: Running, containerStatuses: [{name: a, state: {waiting: {reason: ImagePullBackOff}}}, {name: b, ready: true, state: {running: {}}}]",
        expect!["p | 1/2 | ImagePullBackOff | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Running, containerStatuses: [{name: a, state: {terminated: {reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]",
        expect!["p | 1/2 | NotReady | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: a, state: {terminated: {reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]",
        expect!["p | 1/2 | Running | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 2}}}]",
        expect!["p | 0/2 | ExitCode:2 | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Failed, containerStatuses: [{name: a, state: {terminated: {signal: 9}}}]",
        expect!["p | 0/2 | Signal:9 | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Failed, containerStatuses: [{name: a, state: {terminated: {reason: OOMKilled, exitCode: 137}}}]",
        expect!["p | 0/2 | OOMKilled | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check_pod(
        "phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {reason: Completed}}}, {name: b, state: {terminated: {reason: Completed}}}]",
        expect!["p | 0/2 | Completed | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
}

#[test]
fn pods_that_go_away() {
    let pod = |status: &str| {
        format!(
            "{{kind: Pod, metadata: {{name: p, deletionTimestamp: '2026-01-01T12:00:00Z'}}, spec: {{containers: [{{name: a}}]}}, status: {{{status}}}}}"
        )
    };
    check(&pod("phase: Running"), expect!["p | 0/1 | Terminating | 0 | <unknown> | <none> | <none> | <none> | <none>"]);
    check(
        &pod("phase: Running, reason: NodeLost"),
        expect!["p | 0/1 | Unknown | 0 | <unknown> | <none> | <none> | <none> | <none>"],
    );
    check(&pod("phase: Succeeded"), expect!["p | 0/1 | Succeeded | 0 | <unknown> | <none> | <none> | <none> | <none>"]);
}

#[test]
fn a_sidecar_counts_among_the_ready() {
    check(
        "{kind: Pod, metadata: {name: p}, spec: {initContainers: [{name: s, restartPolicy: Always}], containers: [{name: a}]}, status: {phase: Running, initContainerStatuses: [{name: s, started: true, ready: true, restartCount: 1, state: {running: {}}}], containerStatuses: [{name: a, ready: true, restartCount: 2, state: {running: {}}}]}}",
        expect!["p | 2/2 | Running | 3 | <unknown> | <none> | <none> | <none> | <none>"],
    );
}

#[test]
fn services() {
    let service = |spec: &str| format!("{{kind: Service, {METADATA}, spec: {{{spec}}}}}");
    check(
        &service(
            "type: ClusterIP, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}], selector: {a: b, c: d}",
        ),
        expect!["x | ClusterIP | 10.0.0.1 | <none> | 80/TCP,53/UDP | 60m | a=b,c=d"],
    );
    check(
        &service(
            "type: NodePort, clusterIP: 10.0.0.1, ports: [{port: 80, nodePort: 30080, protocol: TCP}], externalIPs: [1.2.3.4]",
        ),
        expect!["x | NodePort | 10.0.0.1 | 1.2.3.4 | 80:30080/TCP | 60m | <none>"],
    );
    check(
        &service("type: LoadBalancer, clusterIP: 10.0.0.1"),
        expect!["x | LoadBalancer | 10.0.0.1 | <pending> | <none> | 60m | <none>"],
    );
    check(
        &service("type: ExternalName, externalName: x.y"),
        expect!["x | ExternalName | <none> | x.y | <none> | 60m | <none>"],
    );
    check(
        &service("type: ClusterIP, clusterIP: None"),
        expect!["x | ClusterIP | None | <none> | <none> | 60m | <none>"],
    );
}

#[test]
fn workloads() {
    let template = "template: {spec: {containers: [{name: a, image: x}, {name: b, image: y}]}}, selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: In, values: [e, d]}, {key: f, operator: Exists}]}";
    check(
        &format!(
            "{{kind: Deployment, {METADATA}, spec: {{replicas: 3, {template}}}, status: {{readyReplicas: 2, updatedReplicas: 3, availableReplicas: 1}}}}"
        ),
        expect!["x | 2/3 | 3 | 1 | 60m | a,b | x,y | a=b,c in (d,e),f"],
    );
    check(
        &format!(
            "{{kind: ReplicaSet, {METADATA}, spec: {{replicas: 3, {template}}}, status: {{replicas: 3, readyReplicas: 2}}}}"
        ),
        expect!["x | 3 | 3 | 2 | 60m | a,b | x,y | a=b,c in (d,e),f"],
    );
    check(
        &format!(
            "{{kind: PodTemplate, {METADATA}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: a, image: x}}]}}}}}}"
        ),
        expect!["x | a | x | a=b"],
    );
    check(
        "{kind: ControllerRevision, metadata: {name: x, ownerReferences: [{controller: true, apiVersion: apps/v1, kind: StatefulSet, name: web}]}, revision: 3}",
        expect!["x | statefulset.apps/web | 3 | <unknown>"],
    );
}

#[test]
fn nodes() {
    check(
        &format!(
            "{{kind: Node, {METADATA}, spec: {{unschedulable: true}}, status: {{conditions: [{{type: Ready, status: 'True'}}], addresses: [{{type: InternalIP, address: 10.0.0.1}}], nodeInfo: {{kubeletVersion: v1.37.0, osImage: Linux, kernelVersion: '6', containerRuntimeVersion: wasmtime://48}}}}}}"
        ),
        expect![
            "x | Ready,SchedulingDisabled | a,edge | 60m | v1.37.0 | 10.0.0.1 | <none> | Linux | 6 | wasmtime://48"
        ],
    );
    check(
        "{kind: Node, metadata: {name: x}}",
        expect!["x | Unknown | <none> | <unknown> |  | <none> | <none> | <unknown> | <unknown> | <unknown>"],
    );
    check(
        "{kind: Node, metadata: {name: x}, status: {conditions: [{type: Ready, status: Unknown}]}}",
        expect!["x | NotReady | <none> | <unknown> |  | <none> | <none> | <unknown> | <unknown> | <unknown>"],
    );
}

#[test]
fn other_kinds() {
    check(&format!("{{kind: Namespace, {METADATA}, status: {{phase: Active}}}}"), expect!["x | Active | 60m"]);
    check(&format!("{{kind: ConfigMap, {METADATA}, data: {{a: b}}, binaryData: {{c: ''}}}}"), expect!["x | 2 | 60m"]);
    check(&format!("{{kind: Secret, {METADATA}, type: Opaque, data: {{a: b}}}}"), expect!["x | Opaque | 1 | 60m"]);
    check(&format!("{{kind: ServiceAccount, {METADATA}}}"), expect!["x | 0 | 60m"]);
    check(
        &format!(
            "{{kind: Event, {METADATA}, type: Warning, reason: Failed, message: ' no ', involvedObject: {{kind: Pod, name: p, fieldPath: 'spec.containers{{a}}'}}, source: {{component: agent, host: n}}, firstTimestamp: '2026-01-01T11:50:00Z', lastTimestamp: '2026-01-01T11:59:30Z', count: 4}}"
        ),
        expect!["30s | Warning | Failed | pod/p | spec.containers{a} | agent, n | no | 10m | 4 | x"],
    );
    check(
        &format!(
            "{{kind: Event, {METADATA}, reportingComponent: scheduler, involvedObject: {{kind: Pod, name: p}}, eventTime: '2026-01-01T11:59:00.000000Z'}}"
        ),
        expect!["60s |  |  | pod/p |  | scheduler |  | 60s | 1 | x"],
    );
    check(&format!("{{kind: Lease, {METADATA}, spec: {{holderIdentity: me}}}}"), expect!["x | me | 60m"]);
    check(
        &format!(
            "{{kind: Endpoints, {METADATA}, subsets: [{{addresses: [{{ip: 10.0.0.1}}, {{ip: 10.0.0.2}}], ports: [{{port: 80}}, {{port: 81}}]}}]}}"
        ),
        expect!["x | 10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more... | 60m"],
    );
    check(&format!("{{kind: Endpoints, {METADATA}}}"), expect!["x | <none> | 60m"]);
    check(
        &format!(
            "{{kind: EndpointSlice, {METADATA}, addressType: IPv4, endpoints: [{{addresses: [10.0.0.1]}}], ports: [{{port: 80}}]}}"
        ),
        expect!["x | IPv4 | 80 | 10.0.0.1 | 60m"],
    );
    check(&format!("{{kind: Role, {METADATA}}}"), expect!["x | 2026-01-01T11:00:00Z"]);
    check(
        &format!(
            "{{kind: RoleBinding, {METADATA}, roleRef: {{kind: ClusterRole, name: r}}, subjects: [{{kind: User, name: u}}, {{kind: ServiceAccount, namespace: n, name: s}}, {{kind: ServiceAccount, namespace: n, name: t}}]}}"
        ),
        expect!["x | ClusterRole/r | 60m | u |  | n/s, n/t"],
    );
    check(
        &format!("{{kind: PriorityClass, {METADATA}, value: 5, preemptionPolicy: Never}}"),
        expect!["x | 5 | false | 60m | Never"],
    );
    check(&format!("{{kind: RuntimeClass, {METADATA}, handler: wasm}}"), expect!["x | wasm | 60m"]);
}
