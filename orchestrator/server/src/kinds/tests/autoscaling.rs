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
        expect![[""]],
    );
    becomes(&format!("{{{V1}, metadata: {{name: x}}, spec: {{maxReplicas: 3}}}}"), expect![[""]]);
    becomes(
        &format!(
            "{{{V1}, metadata: {{name: x, annotations: {{autoscaling.alpha.kubernetes.io/conditions: '[]', autoscaling.alpha.kubernetes.io/metrics: '[{{\"type\":\"Pods\",\"pods\":{{\"metricName\":\"hits\",\"targetAverageValue\":\"3\"}}}}]'}}}}, spec: {{maxReplicas: 3}}}}"
        ),
        expect![[""]],
    );
}

#[test]
fn rules_of_autoscalers() {
    let check = |spec: &str, expect| refused(&format!("{{{V2}, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(&format!("maxReplicas: 3, {TARGET}"), expect![[""]]);
    check("minReplicas: 0, maxReplicas: 0", expect![[""]]);
    check(
        &format!(
            "{TARGET}, minReplicas: 3, maxReplicas: 2, metrics: [{{}}, {{type: Resource}}, {{type: Pods, pods: {{target: {{type: Odd, averageValue: '0'}}}}, resource: {{}}}}, {{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 0, averageValue: '1'}}}}}}]"
        ),
        expect![[""]],
    );
    check(
        &format!(
            "{TARGET}, maxReplicas: 2, behavior: {{scaleUp: {{stabilizationWindowSeconds: 4000, selectPolicy: Odd, policies: []}}, scaleDown: {{policies: [{{type: Odd, value: 0, periodSeconds: 2000}}]}}}}"
        ),
        expect![[""]],
    );
    refused(
        &format!("{{{V1}, {METADATA}, spec: {{maxReplicas: 1, targetCPUUtilizationPercentage: 0, {TARGET}}}}}"),
        expect![[""]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{{V2}, {METADATA}, spec: {{{TARGET}, minReplicas: 1, maxReplicas: 3, metrics: [{{type: Resource, resource: {{name: cpu, target: {{averageUtilization: 80}}}}}}, {{type: Pods, pods: {{target: {{averageValue: '5'}}}}}}, {{type: Object}}]}}, status: {{currentReplicas: 2, currentMetrics: [{{type: Resource, resource: {{current: {{averageUtilization: 12}}}}}}]}}}}"
        ),
        expect![[""]],
    );
    row(
        &format!(
            "{{{V1}, {METADATA}, spec: {{{TARGET}, maxReplicas: 3, targetCPUUtilizationPercentage: 50}}, status: {{currentCPUUtilizationPercentage: 7}}}}"
        ),
        expect![[""]],
    );
}

const EVENT: &str = "apiVersion: events.k8s.io/v1, kind: Event";

#[test]
fn events_of_the_newer_group_are_the_same_under_other_names() {
    row(
        &format!(
            "{{{EVENT}, {METADATA}, type: Warning, reason: Failed, note: no, regarding: {{kind: Pod, name: p}}, reportingController: c, reportingInstance: i, eventTime: '2026-01-01T11:59:00.000000Z'}}"
        ),
        expect![[""]],
    );
    let good = format!(
        "{{{EVENT}, {METADATA}, type: Normal, action: Start, reason: Started, regarding: {{kind: Pod, name: p, namespace: n}}, reportingController: c.d/e, reportingInstance: i, eventTime: '2026-01-01T11:59:00.000000Z'}}"
    );
    refused(&good, expect![[""]]);
    refused_update(&good, "{note: other, series: {count: 2}}", expect![[""]]);
    refused(&format!("{{{EVENT}, {METADATA}, type: Odd, deprecatedCount: 3, series: {{count: 1}}}}"), expect![[""]]);
    refused(
        &format!(
            "{{kind: Event, {METADATA}, involvedObject: {{namespace: other}}, eventTime: '2026-01-01T11:59:00.000000Z'}}"
        ),
        expect![[""]],
    );
    let (kind, event) = super::parse(&good);
    let fields = (kind.fields)(&event);
    assert!(
        fields.contains(&("regarding.name", "p".to_owned()))
            && fields.contains(&("reportingController", "c.d/e".to_owned()))
    );
}
