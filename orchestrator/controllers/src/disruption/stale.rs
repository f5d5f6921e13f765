//! A pod that was said to be disrupted and then was not: after a while its condition says so.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::context::since;
use crate::pods::{condition, is_terminal, is_terminating};

const KIND: &str = "DisruptionTarget";
/// How long a pod may be said to be disrupted without its deletion.
const STALE_AFTER: Duration = Duration::from_secs(120);

/// How long until the pod's condition is stale; `None` when it says nothing that could be. What a node says of its own
/// pods may take as long as it takes.
pub fn stale_in(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let told = condition(pod, KIND).filter(|told| told.status == "True")?;
    let by_node = told.reason.as_deref() == Some("TerminationByKubelet");
    if by_node || is_terminating(&pod.metadata) || is_terminal(pod) {
        return None;
    }
    Some(STALE_AFTER.saturating_sub(since(told.last_transition_time.as_ref(), now)))
}

/// The strategic patch that takes it back.
pub fn taken_back(pod: &Pod, now: Timestamp) -> Value {
    let condition = json!({
        "type": KIND, "status": "False", "reason": null, "message": null, "lastTransitionTime": now.to_string(),
    });
    let metadata = json!({ "uid": pod.uid(), "resourceVersion": pod.resource_version() });
    json!({ "metadata": metadata, "status": { "conditions": [condition] } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_not_kept_is_stale_after_two_minutes() {
        let now = Timestamp::from_second(1000).unwrap();
        let pod = |status: &str, reason: &str, phase: &str, deleted: Option<&str>| -> Pod {
            let condition = json!({"type": KIND, "status": status, "reason": reason,
                "lastTransitionTime": Timestamp::from_second(970).unwrap().to_string()});
            serde_json::from_value(json!({"metadata": {"deletionTimestamp": deleted},
                "status": {"phase": phase, "conditions": [condition]}}))
            .unwrap()
        };
        let left = Some(Duration::from_secs(90));
        assert_eq!(stale_in(&pod("True", "EvictionByEvictionAPI", "Running", None), now), left);
        assert_eq!(stale_in(&pod("False", "EvictionByEvictionAPI", "Running", None), now), None);
        assert_eq!(stale_in(&pod("True", "TerminationByKubelet", "Running", None), now), None);
        assert_eq!(stale_in(&pod("True", "PreemptionByScheduler", "Failed", None), now), None);
        let deleted = Some("2026-01-01T00:00:00Z");
        assert_eq!(stale_in(&pod("True", "PreemptionByScheduler", "Running", deleted), now), None);
    }
}
