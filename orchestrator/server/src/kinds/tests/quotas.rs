//! LimitRange, ResourceQuota, PodDisruptionBudget, and the control plane's health.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";

#[test]
fn a_limit_range_fills_what_follows_from_the_rest() {
    becomes(
        "{kind: LimitRange, metadata: {name: x}, spec: {limits: [{type: Container, max: {cpu: 2, memory: 1Gi}, default: {cpu: 1}, min: {storage: 1}}, {type: Pod, max: {cpu: 4}}]}}",
        expect![[""]],
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
        expect![[""]],
    );
    check("{type: Odd}, {type: Odd}", expect![[""]]);
    check("{type: Pod, default: {cpu: 1}, max: {pods: 1}}", expect![[""]]);
    check("{type: PersistentVolumeClaim, max: {cpu: 1}}", expect![[""]]);
    check(
        "{type: Container, max: {cpu: 4}, min: {cpu: 2}, maxLimitRequestRatio: {cpu: 3, memory: 500m}}",
        expect![[""]],
    );
}

#[test]
fn rules_of_quotas() {
    let check = |spec: &str, expect| refused(&format!("{{kind: ResourceQuota, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(
        "hard: {pods: 10, requests.cpu: 1, limits.memory: 2Gi, count/jobs.batch: 3, requests.storage: 1Gi, requests.nvidia.com/gpu: 1}",
        expect![[""]],
    );
    check("hard: {pods: 1500m, odd: 1, services: -1}", expect![[""]]);
    check("hard: {services: 1}, scopes: [BestEffort, NotBestEffort, Odd]", expect![[""]]);
    check(
        "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}, {scopeName: Terminating, operator: In, values: [a]}, {scopeName: PriorityClass, operator: Exists, values: [a]}]}",
        expect![[""]],
    );
    refused_update(
        &format!("{{kind: ResourceQuota, {METADATA}, spec: {{scopes: [Terminating]}}}}"),
        "{spec: {scopes: [NotTerminating]}}",
        expect![[""]],
    );
}

#[test]
fn rules_of_budgets() {
    let check =
        |spec: &str, expect| refused(&format!("{{kind: PodDisruptionBudget, {METADATA}, spec: {{{spec}}}}}"), expect);
    check("maxUnavailable: 1, selector: {matchLabels: {a: b}}", expect![[""]]);
    check("minAvailable: 120%, maxUnavailable: -1, unhealthyPodEvictionPolicy: Odd", expect![[""]]);
    check("minAvailable: many", expect![[""]]);
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: ResourceQuota, {METADATA}, status: {{hard: {{pods: '4', limits.cpu: '2', requests.cpu: '1'}}, used: {{pods: '1'}}}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: LimitRange, {METADATA}}}"), expect![[""]]);
    row(
        &format!(
            "{{kind: PodDisruptionBudget, {METADATA}, spec: {{minAvailable: 50%}}, status: {{disruptionsAllowed: 2}}}}"
        ),
        expect![[""]],
    );
    row(
        "{kind: ComponentStatus, metadata: {name: etcd-0}, conditions: [{type: Healthy, status: 'True', message: ok}]}",
        expect![[""]],
    );
}
