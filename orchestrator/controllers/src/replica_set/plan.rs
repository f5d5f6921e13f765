//! Decides how many pods a ReplicaSet must make, or which it gives up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::context::since;
use crate::pods::{condition, is_active, is_ready, phase};

/// What one pass should do.
#[derive(Debug)]
pub enum Step {
    Rest,
    Create { missing: usize },
    Delete { surplus: Vec<Arc<Pod>> },
}

/// `pods` are the set's own without those that are ending; `siblings` counts a pod's relatives on its node.
pub fn plan(wanted: usize, pods: &[Arc<Pod>], siblings: impl Fn(&Pod) -> usize, now: Timestamp) -> Step {
    let mut active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    if active.len() < wanted {
        return Step::Create { missing: wanted - active.len() };
    }
    let surplus = active.len() - wanted;
    if surplus == 0 {
        return Step::Rest;
    }
    if wanted > 0 {
        let mut on_node = HashMap::new();
        for pod in &active {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            on_node.entry(node).or_insert_with(|| siblings(pod));
        }
        active.sort_by_cached_key(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            rank(pod, on_node.get(&node).copied().unwrap_or(0), now)
        });
    }
    active.truncate(surplus);
    Step::Delete { surplus: active }
}

/// Smallest goes first, as upstream's ActivePodsWithRanks: unassigned, pending, unready, cheap to delete, crowded,
/// lately ready (in powers of two of seconds), often restarted, young.
fn rank(pod: &Pod, siblings: usize, now: Timestamp) -> impl Ord + use<> {
    let assigned = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    let phase = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost");
    let cost: i32 = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let ready_since = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    let ready_for = if is_ready(pod) { since(ready_since, now).as_secs() } else { 0 };
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = statuses.map(|status| status.restart_count).max().unwrap_or(0);
    let age = since(pod.creation_timestamp().as_ref(), now).as_secs();
    let magnitude = |seconds: u64| seconds.checked_ilog2().map_or(0, |power| power + 1);
    (
        (assigned, phase, is_ready(pod), cost, Reverse(siblings)),
        (magnitude(ready_for), Reverse(restarts), magnitude(age), pod.uid()),
    )
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 100_000;

    fn at(ago: i64) -> String {
        Timestamp::from_second(NOW - ago).expect("in range").to_string()
    }

    /// Words are `name[@node][+ready-seconds][!cost][*restarts][~]`; `~` means it failed.
    fn pod(word: &str) -> Arc<Pod> {
        let part = |mark: char| {
            let (_, rest) = word.split_once(mark)?;
            Some(rest.split(['@', '+', '!', '*', '~']).next().unwrap_or("").to_owned())
        };
        let ready = part('+')
            .map(|ago| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at(ago.parse().unwrap())}]));
        let phase = if word.contains('~') {
            "Failed"
        } else if ready.is_some() {
            "Running"
        } else {
            "Pending"
        };
        let name = word.split(['@', '+', '!', '*', '~']).next().unwrap();
        let value = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": at(5000),
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": part('!').unwrap_or("0".into())}},
            "spec": {"nodeName": part('@'), "containers": []},
            "status": {"phase": phase, "conditions": ready, "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": part('*').map_or(0, |n| n.parse::<i32>().unwrap())}]},
        });
        Arc::new(serde_json::from_value(value).expect("a pod"))
    }

    fn check(wanted: usize, pods: &str, expected: Expect) {
        let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
        let siblings = |of: &Pod| pods.iter().filter(|pod| pod.spec == of.spec).count();
        let step = match plan(wanted, &pods, siblings, Timestamp::from_second(NOW).expect("in range")) {
            Step::Rest => "rest".into(),
            Step::Create { missing } => format!("create {missing}"),
            Step::Delete { surplus } => {
                format!("delete {}", surplus.iter().map(|pod| pod.name_any()).collect::<Vec<_>>().join(" "))
            }
        };
        expected.assert_eq(&step);
    }

    #[test]
    fn missing_pods_are_made_and_failed_ones_do_not_count() {
        check(3, "a@n+9 b@n~", expect!["create 2"]);
        check(1, "a@n+9 b@n~", expect!["rest"]);
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        check(1, "a@n+9 b", expect!["delete b"]);
        check(1, "a@n+9 b@n", expect!["delete b"]);
        check(2, "a@n+9 b@n c", expect!["delete c"]);
        check(1, "a@n+9!5 b@m+9!-1", expect!["delete b"]);
        check(2, "a@n+9 b@m+9 c@m+9", expect!["delete b"]);
        check(1, "a@n+900 b@m+9", expect!["delete b"]);
        check(1, "a@n+9 b@m+9*3", expect!["delete b"]);
        check(0, "a@n+9 b@m", expect!["delete a b"]);
    }
}
