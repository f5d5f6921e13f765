//! Decides what a PodDisruptionBudget's status says: how many of its pods may be disrupted now. Upstream's arithmetic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::amount::{Round, scaled};
use crate::context::since;
use crate::pods::{is_ready, is_terminating};

/// How long an evicted pod may live on before it counts as kept after all.
pub const DELETION_MAX: Duration = Duration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

/// What a budget counts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub expected: i32,
    pub desired: i32,
}

/// Whether the budget is a share of what the pods' controllers want, so that these must be asked.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.clone().unwrap_or_default();
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// `scale`: the sum of what the pods' controllers want, where it is needed.
pub fn count(budget: &PodDisruptionBudget, pods: usize, scale: i32) -> Count {
    let spec = budget.spec.clone().unwrap_or_default();
    match (spec.max_unavailable, spec.min_available) {
        (Some(unavailable), _) => {
            Count { expected: scale, desired: (scale - scaled(&unavailable, scale, Round::Up)).max(0) }
        }
        (None, Some(IntOrString::Int(available))) => {
            Count { expected: i32::try_from(pods).unwrap_or(i32::MAX), desired: available }
        }
        (None, Some(share)) => Count { expected: scale, desired: scaled(&share, scale, Round::Up) },
        (None, None) => Count { expected: 0, desired: 0 },
    }
}

/// The new status, when to look again, and the pods that were evicted and yet are still there.
pub fn status(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    count: Count,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>, Vec<Arc<Pod>>) {
    let before = budget.status.clone().unwrap_or_default();
    let noted = before.disrupted_pods.unwrap_or_default();
    let (mut disrupted, mut again, mut kept) = (BTreeMap::new(), None, Vec::new());
    for pod in pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
        let Some(at) = noted.get(&pod.name_any()) else { continue };
        let left = DELETION_MAX.saturating_sub(since(Some(at), now));
        if left.is_zero() {
            kept.push(pod.clone());
        } else {
            again = Some(again.map_or(left, |again: Duration| again.min(left)));
            disrupted.insert(pod.name_any(), at.clone());
        }
    }
    let is_healthy =
        |pod: &&Arc<Pod>| !is_terminating(&pod.metadata) && !disrupted.contains_key(&pod.name_any()) && is_ready(pod);
    let healthy = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let allowed = if count.expected > 0 { (healthy - count.desired).max(0) } else { 0 };
    let generation = budget.metadata.generation;
    let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let condition = condition(budget, status, reason, "", now);
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(count.desired),
        expected_pods: Some(count.expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        observed_generation: generation,
        conditions: Some(with(before.conditions, Condition { observed_generation: generation, ..condition })),
    };
    (status, again, kept)
}

/// Nothing may be disrupted while it is not known what may.
pub fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let before = budget.status.clone().unwrap_or_default();
    let condition = condition(budget, "False", "SyncFailed", why, now);
    let condition = Condition { observed_generation: before.observed_generation, ..condition };
    let conditions = Some(with(before.conditions.clone(), condition));
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions, ..before }
}

/// The time of its last change stays while the status does.
fn condition(budget: &PodDisruptionBudget, status: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    let before = budget.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let before = before.into_iter().find(|condition| condition.type_ == ALLOWED && condition.status == status);
    Condition {
        type_: ALLOWED.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
        observed_generation: None,
    }
}

fn with(conditions: Option<Vec<Condition>>, condition: Condition) -> Vec<Condition> {
    let mut conditions = conditions.unwrap_or_default();
    match conditions.iter_mut().find(|one| one.type_ == condition.type_) {
        Some(one) => *one = condition,
        None => conditions.push(condition),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 10_000;

    fn at(ago: i64) -> String {
        Timestamp::from_second(NOW - ago).unwrap().to_string()
    }

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status}))
            .unwrap()
    }

    /// Pods are words `name` and marks: `+` ready, `x` terminating.
    fn check(spec: Value, disrupted: Value, pods: &str, scale: i32, expected: Expect) {
        let budget = budget(spec, json!({"disruptedPods": disrupted}));
        let pod = |word: &str| {
            let ready = if word.contains('+') { "True" } else { "False" };
            let deleted = word.contains('x').then(|| at(0));
            let name = word.trim_end_matches(['+', 'x']);
            let value = json!({"metadata": {"name": name, "deletionTimestamp": deleted},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}});
            Arc::new(serde_json::from_value::<Pod>(value).unwrap())
        };
        let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
        let count = count(&budget, pods.len(), scale);
        let (status, again, kept) = status(&budget, &pods, count, Timestamp::from_second(NOW).unwrap());
        let condition = &status.conditions.as_ref().unwrap()[0];
        let disrupted: Vec<_> = status.disrupted_pods.iter().flat_map(|pods| pods.keys()).collect();
        let kept: Vec<_> = kept.iter().map(|pod| pod.name_any()).collect();
        let numbers =
            [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed];
        let [expected_pods, desired, healthy, allowed] = numbers.map(Option::unwrap);
        expected.assert_eq(&format!(
            "expected {expected_pods} desired {desired} healthy {healthy} allowed {allowed} {} {} disrupted {disrupted:?} kept {kept:?} again {again:?}",
            condition.status, condition.reason,
        ));
    }

    #[test]
    fn a_number_counts_the_pods_that_are_there() {
        check(
            json!({"minAvailable": 2}),
            json!({}),
            "a+ b+ c+",
            0,
            expect!["expected 3 desired 2 healthy 3 allowed 1 True SufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"minAvailable": 2}),
            json!({}),
            "a+ b+ c",
            0,
            expect!["expected 3 desired 2 healthy 2 allowed 0 False InsufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"minAvailable": 1}),
            json!({}),
            "a+ b+x",
            0,
            expect!["expected 2 desired 1 healthy 1 allowed 0 False InsufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"minAvailable": 0}),
            json!({}),
            "",
            0,
            expect!["expected 0 desired 0 healthy 0 allowed 0 False InsufficientPods disrupted [] kept [] again None"],
        );
    }

    #[test]
    fn a_share_is_of_what_the_controllers_want() {
        check(
            json!({"minAvailable": "30%"}),
            json!({}),
            "a+ b+ c+",
            5,
            expect!["expected 5 desired 2 healthy 3 allowed 1 True SufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"maxUnavailable": "30%"}),
            json!({}),
            "a+ b+ c+ d+ e+",
            5,
            expect!["expected 5 desired 3 healthy 5 allowed 2 True SufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"maxUnavailable": 1}),
            json!({}),
            "a+ b+ c+",
            3,
            expect!["expected 3 desired 2 healthy 3 allowed 1 True SufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({"maxUnavailable": 9}),
            json!({}),
            "a",
            3,
            expect!["expected 3 desired 0 healthy 0 allowed 0 False InsufficientPods disrupted [] kept [] again None"],
        );
        check(
            json!({}),
            json!({}),
            "a+",
            3,
            expect!["expected 0 desired 0 healthy 1 allowed 0 False InsufficientPods disrupted [] kept [] again None"],
        );
    }

    #[test]
    fn an_evicted_pod_is_no_longer_healthy_unless_it_stays_too_long() {
        let noted = json!({"a": at(20), "b": at(200), "c": at(20), "gone": at(1)});
        check(
            json!({"minAvailable": 1}),
            noted,
            "a+ b+ c+x",
            0,
            expect![[
                r#"expected 3 desired 1 healthy 1 allowed 0 False InsufficientPods disrupted ["a"] kept ["b"] again Some(100s)"#
            ]],
        );
    }

    #[test]
    fn a_failure_allows_nothing_and_keeps_what_was_known() {
        let before = json!({"currentHealthy": 3, "disruptionsAllowed": 2, "observedGeneration": 2});
        let status = failed(&budget(json!({}), before), "why", Timestamp::from_second(NOW).unwrap());
        assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(3)));
        let condition = &status.conditions.unwrap()[0];
        assert_eq!((condition.reason.as_str(), condition.message.as_str()), ("SyncFailed", "why"));
        assert_eq!(condition.observed_generation, Some(2));
    }
}
