//! HorizontalPodAutoscaler and Event, each in two forms of one stored object.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";
const V1: &str = "apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler";
const V2: &str = "apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler";
const TARGET: &str = "scaleTargetRef: {kind: Deployment, name: web}";

#[test]
fn autoscalers() {
    becomes(
        &format!(
            "{{{V2}, metadata: {{name: x}}, spec: {{maxReplicas: 3, behavior: {{scaleDown: {{selectPolicy: Min}}}}}}}}"
        ),
        expect![[r#"
            metadata:
              name: x
            spec:
              behavior:
                scaleDown:
                  policies:
                  - periodSeconds: 15
                    type: Percent
                    value: 100
                  selectPolicy: Min
                scaleUp:
                  policies:
                  - periodSeconds: 15
                    type: Pods
                    value: 4
                  - periodSeconds: 15
                    type: Percent
                    value: 100
                  selectPolicy: Max
                  stabilizationWindowSeconds: 0
              maxReplicas: 3
              metrics:
              - resource:
                  name: cpu
                  target:
                    averageUtilization: 80
                    type: Utilization
                type: Resource
              minReplicas: 1
            status: {}
        "#]],
    );
    becomes(
        &format!("{{{V1}, metadata: {{name: x}}, spec: {{maxReplicas: 3}}}}"),
        expect![[r#"
        metadata:
          name: x
        spec:
          maxReplicas: 3
          minReplicas: 1
          targetCPUUtilizationPercentage: 80
        status: {}
    "#]],
    );
    becomes(
        &format!(
            "{{{V1}, metadata: {{name: x, annotations: {{autoscaling.alpha.kubernetes.io/conditions: '[]', autoscaling.alpha.kubernetes.io/metrics: '[{{\"type\":\"Pods\",\"pods\":{{\"metricName\":\"hits\",\"targetAverageValue\":\"3\"}}}}]'}}}}, spec: {{maxReplicas: 3}}}}"
        ),
        expect![[r#"
            metadata:
              annotations:
                autoscaling.alpha.kubernetes.io/metrics: '[{"pods":{"metricName":"hits","targetAverageValue":"3"},"type":"Pods"}]'
              name: x
            spec:
              maxReplicas: 3
              minReplicas: 1
            status: {}
        "#]],
    );
}

#[test]
fn rules_of_autoscalers() {
    let check = |spec: &str, expect| refused(&format!("{{{V2}, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(&format!("maxReplicas: 3, {TARGET}"), expect![[""]]);
    check(
        "minReplicas: -1, maxReplicas: 0",
        expect![[r#"
        spec.minReplicas: Invalid value: -1: must be greater than or equal to 0
        spec.maxReplicas: Invalid value: 0: must be greater than 0
        spec.scaleTargetRef.kind: Required value
        spec.scaleTargetRef.name: Required value
    "#]],
    );
    check(
        &format!(
            "{TARGET}, minReplicas: 0, maxReplicas: 1, behavior: {{scaleDown: {{tolerance: '-1', policies: [{{type: Pods, value: 1, periodSeconds: 1}}]}}}}"
        ),
        expect![[r#"
        spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas
        spec.behavior.scaleDown.tolerance: Invalid value: "-1": must be greater than or equal to 0
    "#]],
    );
    check(
        &format!(
            "{TARGET}, minReplicas: 0, maxReplicas: 1, metrics: [{{type: External, external: {{metric: {{name: queue}}, target: {{type: AverageValue, averageValue: '5'}}}}}}]"
        ),
        expect![[""]],
    );
    check(
        &format!(
            "{TARGET}, minReplicas: 3, maxReplicas: 2, metrics: [{{}}, {{type: Resource}}, {{type: Pods, pods: {{target: {{type: Odd, averageValue: '0'}}}}, resource: {{}}}}, {{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 0, averageValue: '1'}}}}}}]"
        ),
        expect![[r#"
            spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`
            spec.metrics[0].type: Required value: must specify a metric source type
            spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[1].resource: Required value: must populate information for the given metric source
            spec.metrics[2].pods.metric.name: Required value: must specify a metric name
            spec.metrics[2].pods.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue
            spec.metrics[2].pods.target.averageValue: Invalid value: "0": must be positive
            spec.metrics[2].resource: Forbidden: must populate the given metric source only
            spec.metrics[3].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
            spec.metrics[3].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization
        "#]],
    );
    check(
        &format!(
            "{TARGET}, maxReplicas: 2, behavior: {{scaleUp: {{stabilizationWindowSeconds: 4000, selectPolicy: Odd, policies: []}}, scaleDown: {{policies: [{{type: Odd, value: 0, periodSeconds: 2000}}]}}}}"
        ),
        expect![[r#"
            spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies: Required value: must specify at least one Policy
            spec.behavior.scaleDown.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"
            spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 2000: must be less than or equal to 1800
        "#]],
    );
    refused(
        &format!("{{{V1}, {METADATA}, spec: {{maxReplicas: 1, targetCPUUtilizationPercentage: 0, {TARGET}}}}}"),
        expect![[r#"
            spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
        "#]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{{V2}, {METADATA}, spec: {{{TARGET}, minReplicas: 1, maxReplicas: 3, metrics: [{{type: Resource, resource: {{name: cpu, target: {{averageUtilization: 80}}}}}}, {{type: Pods, pods: {{target: {{averageValue: '5'}}}}}}, {{type: Object}}]}}, status: {{currentReplicas: 2, currentMetrics: [{{type: Resource, resource: {{current: {{averageUtilization: 12}}}}}}]}}}}"
        ),
        expect!["x | Deployment/web | cpu: 12%/80%, <unknown>/5 + 1 more... | 1 | 3 | 2 | 60m"],
    );
    row(
        &format!(
            "{{{V1}, {METADATA}, spec: {{{TARGET}, maxReplicas: 3, targetCPUUtilizationPercentage: 50}}, status: {{currentCPUUtilizationPercentage: 7}}}}"
        ),
        expect!["x | Deployment/web | cpu: 7%/50% | <unset> | 3 | 0 | 60m"],
    );
}

const EVENT: &str = "apiVersion: events.k8s.io/v1, kind: Event";

#[test]
fn events_of_the_newer_group_are_the_same_under_other_names() {
    row(
        &format!(
            "{{{EVENT}, {METADATA}, type: Warning, reason: Failed, note: no, regarding: {{kind: Pod, name: p}}, reportingController: c, reportingInstance: i, eventTime: '2026-01-01T11:59:00.000000Z'}}"
        ),
        expect!["60s | Warning | Failed | pod/p |  | c, i | no | 60s | 1 | x"],
    );
    let good = format!(
        "{{{EVENT}, {METADATA}, type: Normal, action: Start, reason: Started, regarding: {{kind: Pod, name: p, namespace: n}}, reportingController: c.d/e, reportingInstance: i, eventTime: '2026-01-01T11:59:00.000000Z'}}"
    );
    refused(&good, expect![[""]]);
    refused_update(&good, "{note: other}", expect![[""]]);
    refused(
        &format!("{{{EVENT}, {METADATA}, type: Odd, deprecatedCount: 3, series: {{count: 1}}}}"),
        expect![[r#"
        involvedObject.namespace: Invalid value: "": does not match event.namespace
        series.count: Invalid value: "": should be at least 2
        series.lastObservedTime: Required value
        eventTime: Required value
        type: Invalid value: "": has invalid value: Odd
        count: Invalid value: "": needs to be unset
    "#]],
    );
    refused(
        &format!(
            "{{kind: Event, {METADATA}, involvedObject: {{namespace: other}}, eventTime: '2026-01-01T11:59:00.000000Z'}}"
        ),
        expect![[r#"
            reportingController: Required value
            reportingController: Invalid value: "": name part must be non-empty
            reportingController: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            reportingInstance: Required value
            action: Required value
            reason: Required value
        "#]],
    );
    let (kind, event) = super::parse(&good);
    let fields = (kind.fields)(&event);
    assert!(
        fields.contains(&("regarding.name", "p".to_owned()))
            && fields.contains(&("reportingController", "c.d/e".to_owned()))
    );
}
