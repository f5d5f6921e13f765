//! Counts a set's pods into its status.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity;
use crate::context::nonzero;
use crate::pods::{available_in, is_available, is_ready, is_terminating, phase};

/// Names of the revision that the pods had, and of the one that they get.
#[derive(Default)]
pub struct Revisions {
    pub current: String,
    pub update: String,
    pub collisions: i32,
}

impl Revisions {
    /// Those of the set's status.
    pub fn known(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        Self {
            current: status.current_revision.unwrap_or_default(),
            update: status.update_revision.unwrap_or_default(),
            collisions: status.collision_count.unwrap_or(0),
        }
    }
}

/// The new status, and when to look again because a ready pod becomes available by time alone.
pub fn status(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    revisions: &Revisions,
    now: Timestamp,
) -> (StatefulSetStatus, Option<Duration>) {
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let count = |which: &dyn Fn(&Pod) -> bool| nonzero(pods.iter().filter(|pod| which(pod)).count());
    let of = |revision: &str| count(&|pod| !is_terminating(&pod.metadata) && identity::revision(pod) == revision);
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&|_| true).unwrap_or(0),
        ready_replicas: count(&is_up),
        available_replicas: Some(count(&|pod| is_up(pod) && is_available(pod, min_ready, now)).unwrap_or(0)),
        current_replicas: of(&revisions.current),
        updated_replicas: of(&revisions.update),
        current_revision: Some(revisions.current.clone()),
        update_revision: Some(revisions.update.clone()),
        collision_count: Some(revisions.collisions),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    complete(set, &mut status);
    let waits = pods.iter().filter(|pod| is_up(pod)).map(|pod| available_in(pod, min_ready, now));
    (status, waits.filter(|wait| !wait.is_zero()).min())
}

/// Once every pod is new and ready, the newest revision is the current one.
fn complete(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    let wanted = set.spec.replicas.unwrap_or(1);
    let [updated, ready] = [status.updated_replicas, status.ready_replicas].map(|count| count.unwrap_or(0));
    if strategy != Some("OnDelete") && [updated, ready, status.replicas] == [wanted; 3] {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
}

/// Runs and is ready.
pub fn is_up(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1000;

    /// Pods are words of a revision and marks: `+N` ready since N seconds, `x` terminating.
    fn check(replicas: i32, pods: &str, expected: Expect) {
        let pod = |word: &str| {
            let revision: String = word.chars().take_while(char::is_ascii_uppercase).collect();
            let ready = word.split_once('+').map(|(_, since)| since.trim_end_matches('x').parse::<i64>().unwrap());
            let at = |ago: i64| Timestamp::from_second(NOW - ago).unwrap().to_string();
            let condition =
                ready.map(|since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at(since)}]));
            Arc::new(
                serde_json::from_value::<Pod>(json!({
                    "metadata": {"labels": {"controller-revision-hash": revision},
                        "deletionTimestamp": word.ends_with('x').then(|| at(0))},
                    "status": {"phase": if ready.is_some() { "Running" } else { "Pending" }, "conditions": condition},
                }))
                .unwrap(),
            )
        };
        let set = json!({"metadata": {"generation": 4}, "spec": {"replicas": replicas, "minReadySeconds": 10,
            "selector": {}, "template": {}, "updateStrategy": {"type": "RollingUpdate"}}});
        let set: StatefulSet = serde_json::from_value(set).unwrap();
        let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
        let revisions = Revisions { current: "A".into(), update: "B".into(), collisions: 0 };
        let (status, again) = status(&set, &pods, &revisions, Timestamp::from_second(NOW).unwrap());
        let counted = [Some(status.replicas), status.ready_replicas, status.available_replicas];
        let by_revision = [status.current_replicas, status.updated_replicas];
        let name = status.current_revision.unwrap();
        let shown = format!(
            "{:?} {:?} current {name} again {again:?}",
            counted.map(|n| n.unwrap_or(0)),
            by_revision.map(|n| n.unwrap_or(0))
        );
        expected.assert_eq(&shown);
    }

    #[test]
    fn pods_are_counted_and_a_full_rollout_is_complete() {
        check(3, "", expect!["[0, 0, 0] [0, 0] current A again None"]);
        check(3, "A+20 A+20 B", expect!["[3, 2, 2] [2, 1] current A again None"]);
        check(3, "A+20 A+20 Bx", expect!["[3, 2, 2] [2, 0] current A again None"]);
        check(2, "B+20 B+4", expect!["[2, 2, 1] [2, 2] current B again Some(6s)"]);
        check(0, "", expect!["[0, 0, 0] [0, 0] current B again None"]);
    }
}
