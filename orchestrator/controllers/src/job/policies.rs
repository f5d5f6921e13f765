//! What a Job's spec says of failed pods and of enough success.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::indexes::Indexes;
use super::member::completions;

/// What becomes of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It counts towards the limits; no rule or a rule `Count` says so.
    Counts,
    Ignored,
    FailsIndex,
    /// The whole Job fails, for this reason.
    FailsJob(String),
}

impl Failure {
    pub fn counts(&self) -> bool {
        *self != Self::Ignored
    }
}

/// The first rule that fits decides.
pub fn judge(spec: &JobSpec, pod: &Pod) -> Failure {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules).enumerate();
    let mut fitting =
        rules.filter_map(|(at, rule)| Some((rule, format!("{} rule at index {at}", rule.action), fits(rule, pod)?)));
    let Some((rule, which, why)) = fitting.next() else { return Failure::Counts };
    match rule.action.as_str() {
        "Ignore" => Failure::Ignored,
        "FailIndex" => Failure::FailsIndex,
        "FailJob" => Failure::FailsJob(format!("{why} matching {which}")),
        _ => Failure::Counts,
    }
}

/// Why a rule fits.
fn fits(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let status = pod.status.as_ref()?;
    if let Some(wanted) = &rule.on_exit_codes {
        let containers = [&status.container_statuses, &status.init_container_statuses].into_iter();
        let (container, code) = containers.flatten().flatten().find_map(|container| exit(wanted, container))?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let found = status.conditions.iter().flatten().find(|condition| {
        let is = |status: Option<&str>| status.unwrap_or("True") == condition.status;
        patterns.iter().any(|pattern| pattern.type_ == condition.type_ && is(pattern.status.as_deref()))
    })?;
    Some(format!("Pod {name} has condition {}", found.type_))
}

fn exit<'a>(wanted: &PodFailurePolicyOnExitCodesRequirement, container: &'a ContainerStatus) -> Option<(&'a str, i32)> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_meant = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
    let is_listed = wanted.values.contains(&code);
    let matches = match wanted.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    };
    (is_meant && code != 0 && matches).then_some((container.name.as_str(), code))
}

/// Which rule finds the successes enough.
pub fn is_enough(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    let rules = &spec.success_policy.as_ref().filter(|_| !succeeded.is_empty())?.rules;
    let at = rules.iter().position(|rule| meets(rule, spec, succeeded))?;
    Some(format!("Matched rules at index {at}"))
}

fn meets(rule: &SuccessPolicyRule, spec: &JobSpec, succeeded: &Indexes) -> bool {
    let count = rule.succeeded_count.and_then(|count| usize::try_from(count).ok());
    let Some(wanted) = &rule.succeeded_indexes else {
        return count.is_some_and(|count| succeeded.total() >= count);
    };
    let wanted = Indexes::parse(wanted, completions(spec));
    let met = wanted.shared(succeeded);
    !wanted.is_empty() && (met == wanted.total() || count.is_some_and(|count| met >= count))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: Value) -> JobSpec {
        let mut spec = json!({"template": {}, "completions": 10});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    /// `main=3 init:setup=1 DisruptionTarget`: how containers ended and which conditions are true.
    fn pod(words: &str) -> Pod {
        let (mut containers, mut inits, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for word in words.split_whitespace() {
            let Some((name, code)) = word.split_once('=') else {
                conditions.push(json!({"type": word, "status": "True"}));
                continue;
            };
            let (list, name) = match name.strip_prefix("init:") {
                Some(name) => (&mut inits, name),
                None => (&mut containers, name),
            };
            list.push(json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code.parse::<i32>().unwrap()}}}));
        }
        let status = json!({"containerStatuses": containers, "initContainerStatuses": inits, "conditions": conditions});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "status": status})).unwrap()
    }

    fn check(words: &str, expected: Expect) {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [3]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [4, 5]}},
            {"action": "Count", "onExitCodes": {"operator": "In", "values": [6]}},
            {"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]},
            {"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [7, 8]}},
        ]);
        let spec = spec(json!({"podFailurePolicy": {"rules": rules}}));
        expected.assert_eq(&format!("{:?}", judge(&spec, &pod(words))));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        check("main=3 DisruptionTarget", expect!["Ignored"]);
        check(
            "main=3",
            expect![[
                r#"FailsJob("Container main for pod d/p failed with exit code 3 matching FailJob rule at index 1")"#
            ]],
        );
        check("other=3", expect!["Ignored"]);
        check("main=0 init:setup=4", expect!["FailsIndex"]);
        check("main=6", expect!["Counts"]);
        check("main=8", expect!["Counts"]);
        check(
            "main=7 ConfigIssue",
            expect![[r#"FailsJob("Pod d/p has condition ConfigIssue matching FailJob rule at index 4")"#]],
        );
        assert_eq!(judge(&spec(json!({})), &pod("main=3")), Failure::Counts);
    }

    #[test]
    fn some_successes_may_be_enough() {
        let check = |rules: Value, succeeded: &str| {
            is_enough(&spec(json!({"successPolicy": {"rules": rules}})), &Indexes::parse(succeeded, 10))
        };
        let met = |at: usize| Some(format!("Matched rules at index {at}"));
        let rules = json!([{"succeededIndexes": "0,2-3"}, {"succeededIndexes": "5-8", "succeededCount": 2}, {"succeededCount": 5}]);
        assert_eq!(check(rules.clone(), ""), None);
        assert_eq!(check(rules.clone(), "0,2"), None);
        assert_eq!(check(rules.clone(), "0-3"), met(0));
        assert_eq!(check(rules.clone(), "5,8"), met(1));
        assert_eq!(check(rules.clone(), "1-5"), met(2));
        assert_eq!(check(json!([{"succeededIndexes": "20"}]), "1"), None);
        assert_eq!(is_enough(&spec(json!({})), &Indexes::parse("1", 10)), None);
    }
}
