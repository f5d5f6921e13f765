//! What manifests become. Defaults are idempotent, whatever they are given.

use expect_test::expect;

use super::checks::becomes as check;

// tidy: long because it is one whole pod
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
        expect![[r#"
            metadata:
              name: web
              namespace: default
            spec:
              containers:
              - env:
                - name: A
                  valueFrom:
                    fieldRef:
                      apiVersion: v1
                      fieldPath: metadata.name
                image: ghcr.io/x/web
                imagePullPolicy: Always
                lifecycle:
                  preStop:
                    httpGet:
                      path: /
                      port: 80
                      scheme: HTTP
                livenessProbe:
                  failureThreshold: 3
                  grpc:
                    port: 1
                    service: ''
                  periodSeconds: 3
                  successThreshold: 1
                  timeoutSeconds: 1
                name: web
                ports:
                - containerPort: 80
                  protocol: TCP
                readinessProbe:
                  failureThreshold: 3
                  httpGet:
                    path: /
                    port: 80
                    scheme: HTTP
                  periodSeconds: 10
                  successThreshold: 1
                  timeoutSeconds: 1
                resources:
                  limits:
                    cpu: 1
                    memory: 64Mi
                  requests:
                    cpu: '1'
                    memory: 64Mi
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: ClusterFirst
              enableServiceLinks: true
              restartPolicy: Always
              schedulerName: default-scheduler
              securityContext: {}
              terminationGracePeriodSeconds: 30
              volumes:
              - emptyDir: {}
                name: a
              - name: b
                secret:
                  defaultMode: 420
                  secretName: s
              - hostPath:
                  path: /x
                  type: ''
                name: c
              - name: d
                projected:
                  defaultMode: 420
                  sources:
                  - serviceAccountToken:
                      expirationSeconds: 3600
                      path: t
                  - downwardAPI:
                      items:
                      - fieldRef:
                          apiVersion: v1
                          fieldPath: metadata.name
                        path: p
            status:
              phase: Pending
              qosClass: Guaranteed
        "#]],
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
        expect![[r#"
            metadata:
              name: a
            spec:
              containers:
              - image: a:1
                imagePullPolicy: IfNotPresent
                name: a
                ports:
                - containerPort: 80
                  hostPort: 80
                  protocol: TCP
                resources: {}
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: ClusterFirst
              enableServiceLinks: true
              hostNetwork: true
              restartPolicy: Always
              schedulerName: default-scheduler
              schedulingGates:
              - name: g
              securityContext: {}
              serviceAccount: robot
              serviceAccountName: robot
              terminationGracePeriodSeconds: 30
            status:
              conditions:
              - message: Scheduling is blocked due to non-empty scheduling gates
                reason: SchedulingGated
                status: 'False'
                type: PodScheduled
              phase: Pending
              qosClass: BestEffort
        "#]],
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
        expect![[r#"
            metadata:
              name: web
            spec:
              progressDeadlineSeconds: 600
              replicas: 1
              revisionHistoryLimit: 10
              selector:
                matchLabels:
                  app: web
              strategy:
                rollingUpdate:
                  maxSurge: 25%
                  maxUnavailable: 25%
                type: RollingUpdate
              template:
                metadata:
                  labels:
                    app: web
                spec:
                  containers:
                  - image: web:1
                    imagePullPolicy: IfNotPresent
                    name: web
                    resources:
                      limits:
                        cpu: 1
                    terminationMessagePath: /dev/termination-log
                    terminationMessagePolicy: File
                  dnsPolicy: ClusterFirst
                  restartPolicy: Always
                  schedulerName: default-scheduler
                  securityContext: {}
                  terminationGracePeriodSeconds: 30
            status: {}
        "#]],
    );
}

#[test]
fn a_recreating_deployment_has_no_rolling_update() {
    check(
        "{kind: Deployment, metadata: {name: a}, spec: {replicas: 0, strategy: {type: Recreate}}}",
        expect![[r#"
            metadata:
              name: a
            spec:
              progressDeadlineSeconds: 600
              replicas: 0
              revisionHistoryLimit: 10
              strategy:
                type: Recreate
            status: {}
        "#]],
    );
}

#[test]
fn a_replica_set() {
    check(
        "{kind: ReplicaSet, metadata: {name: a}, spec: {}}",
        expect![[r#"
        metadata:
          name: a
        spec:
          replicas: 1
        status:
          replicas: 0
    "#]],
    );
}

#[test]
fn services() {
    check(
        "{kind: Service, metadata: {name: a}, spec: {selector: {a: b}, ports: [{port: 80}]}}",
        expect![[r#"
            metadata:
              name: a
            spec:
              internalTrafficPolicy: Cluster
              ipFamilies:
              - IPv4
              ipFamilyPolicy: SingleStack
              ports:
              - port: 80
                protocol: TCP
                targetPort: 80
              selector:
                a: b
              sessionAffinity: None
              type: ClusterIP
            status:
              loadBalancer: {}
        "#]],
    );
    check(
        "{kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, sessionAffinity: ClientIP, clusterIP: 10.0.0.9, ports: [{port: 80, targetPort: http, protocol: UDP}]}}",
        expect![[r#"
            metadata:
              name: a
            spec:
              allocateLoadBalancerNodePorts: true
              clusterIP: 10.0.0.9
              clusterIPs:
              - 10.0.0.9
              externalTrafficPolicy: Cluster
              internalTrafficPolicy: Cluster
              ipFamilies:
              - IPv4
              ipFamilyPolicy: SingleStack
              ports:
              - port: 80
                protocol: UDP
                targetPort: http
              sessionAffinity: ClientIP
              sessionAffinityConfig:
                clientIP:
                  timeoutSeconds: 10800
              type: LoadBalancer
            status:
              loadBalancer: {}
        "#]],
    );
    check(
        "{kind: Service, metadata: {name: a}, spec: {type: ExternalName, externalName: x.y}}",
        expect![[r#"
            metadata:
              name: a
            spec:
              externalName: x.y
              sessionAffinity: None
              type: ExternalName
            status:
              loadBalancer: {}
        "#]],
    );
}

#[test]
fn a_secret_and_a_namespace() {
    check(
        "{kind: Secret, metadata: {name: a}, data: {a: eA==, b: eQ==}, stringData: {b: hello}}",
        expect![[r#"
            data:
              a: eA==
              b: aGVsbG8=
            metadata:
              name: a
            type: Opaque
        "#]],
    );
    check(
        "{kind: Namespace, metadata: {name: a}}",
        expect![[r#"
        metadata:
          labels:
            kubernetes.io/metadata.name: a
          name: a
        spec:
          finalizers:
          - kubernetes
        status:
          phase: Active
    "#]],
    );
}

#[test]
fn bindings_classes_slices_and_nodes() {
    check(
        "{kind: RoleBinding, metadata: {name: a}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s}]}",
        expect![[r#"
            metadata:
              name: a
            roleRef:
              apiGroup: rbac.authorization.k8s.io
              kind: Role
              name: r
            subjects:
            - apiGroup: rbac.authorization.k8s.io
              kind: User
              name: u
            - kind: ServiceAccount
              name: s
        "#]],
    );
    check(
        "{kind: PriorityClass, metadata: {name: a}, value: 3}",
        expect![[r#"
        metadata:
          name: a
        preemptionPolicy: PreemptLowerPriority
        value: 3
    "#]],
    );
    check(
        "{kind: EndpointSlice, metadata: {name: a}, addressType: IPv4, ports: [{port: 1}]}",
        expect![[r#"
        addressType: IPv4
        metadata:
          name: a
        ports:
        - name: ''
          port: 1
          protocol: TCP
    "#]],
    );
    check(
        "{kind: Node, metadata: {name: a}, status: {capacity: {cpu: '1'}}}",
        expect![[r#"
        metadata:
          name: a
        status:
          allocatable:
            cpu: '1'
          capacity:
            cpu: '1'
    "#]],
    );
}
