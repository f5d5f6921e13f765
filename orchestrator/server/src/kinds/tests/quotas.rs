//! LimitRange, ResourceQuota, PodDisruptionBudget, and the control plane's health.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";

#[test]
fn a_limit_range_fills_what_follows_from_the_rest() {
    becomes(
        "{kind: LimitRange, metadata: {name: x}, spec: {limits: [{type: Container, max: {cpu: 2, memory: 1Gi}, default: {cpu: 1}, min: {storage: 1}}, {type: Pod, max: {cpu: 4}}]}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              limits:
              - default:
                  cpu: 1
                  memory: 1Gi
                defaultRequest:
                  cpu: 1
                  memory: 1Gi
                  storage: 1
                max:
                  cpu: 2
                  memory: 1Gi
                min:
                  storage: 1
                type: Container
              - max:
                  cpu: 4
                type: Pod
        "#]],
    );
}

#[test]
fn rules_of_limit_ranges() {
    let check = |limits: &str, expect| {
        refused(&format!("{{kind: LimitRange, {METADATA}, spec: {{limits: [{limits}]}}}}"), expect)
    };
    check("{type: Container, max: {cpu: 2}, min: {cpu: 1}, maxLimitRequestRatio: {cpu: 2}}", expect![[""]]);
    check(
        "{type: Container, max: {cpu: 1}, min: {cpu: 2}, default: {cpu: 3}, defaultRequest: {cpu: 4}}",
        expect![[r#"
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than default limit value 3
            spec.limits[0].default[cpu]: Invalid value: "1": default value 3 is greater than max value 1
        "#]],
    );
    check(
        "{type: Odd}, {type: Odd}",
        expect![[r#"
        spec.limits[0].type: Invalid value: "Odd": must be a standard limit type or fully qualified
        spec.limits[1].type: Invalid value: "Odd": must be a standard limit type or fully qualified
        spec.limits[1].type: Duplicate value: "Odd"
    "#]],
    );
    check(
        "{type: Pod, default: {cpu: 1}, max: {pods: 1}}",
        expect![[r#"
        spec.limits[0].max[pods]: Invalid value: "pods": must be a standard resource for containers
        spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'
    "#]],
    );
    check(
        "{type: PersistentVolumeClaim, max: {cpu: 1}}",
        expect![[r#"
        spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided
    "#]],
    );
    check(
        "{type: Container, max: {cpu: 4}, min: {cpu: 2}, maxLimitRequestRatio: {cpu: 3, memory: 500m}}",
        expect![[r#"
            spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000
            spec.limits[0].maxLimitRequestRatio[memory]: Invalid value: "500m": ratio 500m is less than 1
        "#]],
    );
}

#[test]
fn rules_of_quotas() {
    let check = |spec: &str, expect| refused(&format!("{{kind: ResourceQuota, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(
        "hard: {pods: 10, requests.cpu: 1, limits.memory: 2Gi, count/jobs.batch: 3, requests.storage: 1Gi, requests.nvidia.com/gpu: 1}",
        expect![[""]],
    );
    check(
        "hard: {pods: 1500m, odd: 1, services: -1}",
        expect![[r#"
        spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
        spec.hard[pods]: Invalid value: "1500m": must be an integer
        spec.hard[services]: Invalid value: "-1": must be greater than or equal to 0
    "#]],
    );
    check(
        "hard: {services: 1}, scopes: [BestEffort, NotBestEffort, Odd]",
        expect![[r#"
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope
        spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: conflicting scopes
    "#]],
    );
    check(
        "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}, {scopeName: Terminating, operator: In, values: [a]}, {scopeName: PriorityClass, operator: Exists, values: [a]}]}",
        expect![[r#"
            spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
            spec.scopeSelector.matchExpressions.operator: Invalid value: "In": must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
            spec.scopeSelector.matchExpressions.values: Invalid value: ["a"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector
        "#]],
    );
    refused_update(
        &format!("{{kind: ResourceQuota, {METADATA}, spec: {{scopes: [Terminating]}}}}"),
        "{spec: {scopes: [NotTerminating]}}",
        expect![[r#"
            spec.scopes: Invalid value: ["NotTerminating"]: field is immutable
        "#]],
    );
}

#[test]
fn rules_of_budgets() {
    let check =
        |spec: &str, expect| refused(&format!("{{kind: PodDisruptionBudget, {METADATA}, spec: {{{spec}}}}}"), expect);
    check("maxUnavailable: 1, selector: {matchLabels: {a: b}}", expect![[""]]);
    check(
        "minAvailable: 120%, maxUnavailable: -1, unhealthyPodEvictionPolicy: Odd",
        expect![[r#"
        spec: Invalid value: {"maxUnavailable":-1,"minAvailable":"120%","unhealthyPodEvictionPolicy":"Odd"}: minAvailable and maxUnavailable cannot be both set
        spec.minAvailable: Invalid value: "120%": must not be greater than 100%
        spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
        spec.unhealthyPodEvictionPolicy: Unsupported value: "Odd": supported values: "AlwaysAllow", "IfHealthyBudget"
    "#]],
    );
    check(
        "minAvailable: many",
        expect![[r#"
        spec.minAvailable: Invalid value: "many": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
    "#]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: ResourceQuota, {METADATA}, status: {{hard: {{pods: '4', limits.cpu: '2', requests.cpu: '1'}}, used: {{pods: '1'}}}}}}"
        ),
        expect!["x | pods: 1/4, requests.cpu: 0/1 | limits.cpu: 0/2 | 60m"],
    );
    row(&format!("{{kind: LimitRange, {METADATA}}}"), expect!["x | 2026-01-01T11:00:00Z"]);
    row(
        &format!(
            "{{kind: PodDisruptionBudget, {METADATA}, spec: {{minAvailable: 50%}}, status: {{disruptionsAllowed: 2}}}}"
        ),
        expect!["x | 50% | N/A | 2 | 60m"],
    );
    row(
        "{kind: ComponentStatus, metadata: {name: etcd-0}, conditions: [{type: Healthy, status: 'True', message: ok}]}",
        expect!["etcd-0 | Healthy | ok | "],
    );
}
