//! One pod of a Job: its index, its end, and whether it is still to be counted.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::pods::{condition, is_ready, is_terminal, is_terminating, phase};

/// A pod that bears it is not counted yet, and cannot go before it is.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

pub fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// Whether a pod is replaced only once it has ended, not already while it ends.
pub fn waits_for_the_end(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

pub fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

pub fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

/// A deleted pod may never reach a phase: it counts as failed at once, unless the Job waits for its end.
pub fn has_failed(pod: &Pod, spec: &JobSpec) -> bool {
    phase(pod) == "Failed" || (!waits_for_the_end(spec) && is_terminating(&pod.metadata) && !has_succeeded(pod))
}

pub fn is_ending(pod: &Pod) -> bool {
    is_terminating(&pod.metadata) && !is_terminal(pod)
}

/// The completion index, whatever the Job's completions are.
pub fn index(pod: &Pod) -> Option<usize> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// The index, where it is one of the Job's.
pub fn valid_index(pod: &Pod, spec: &JobSpec) -> Option<usize> {
    index(pod).filter(|index| *index < completions(spec))
}

/// Of an indexed Job.
pub fn completions(spec: &JobSpec) -> usize {
    usize::try_from(spec.completions.unwrap_or(0)).unwrap_or(0)
}

/// How often pods of this index failed before this one: what counted, and what was ignored.
pub fn index_failures(pod: &Pod) -> (i32, i32) {
    let read = |key: &str| pod.annotations().get(key)?.parse().ok().filter(|count: &i32| *count >= 0);
    (read(INDEX_FAILURES).unwrap_or(0), read(INDEX_IGNORED_FAILURES).unwrap_or(0))
}

/// When it ended: by its containers, else by its readiness, else by its deletion.
pub fn finished_at(pod: &Pod) -> Timestamp {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ends: Option<Vec<Timestamp>> = containers
        .map(|container| Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0))
        .collect();
    let by_containers = ends.and_then(|ends| ends.into_iter().max());
    let unready = condition(pod, "Ready").filter(|ready| ready.status == "False");
    let by_readiness = || unready.and_then(|ready| Some(ready.last_transition_time.as_ref()?.0));
    let by_deletion = || {
        let grace = pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let deleted = pod.metadata.deletion_timestamp.as_ref()?.0;
        deleted.checked_sub(Duration::from_secs(grace.unwrap_or(0))).ok()
    };
    let created = || pod.creation_timestamp().map(|created| created.0);
    by_containers.or_else(by_readiness).or_else(by_deletion).or_else(created).unwrap_or_default()
}

/// Smallest goes first, as upstream's ActivePods: unassigned, pending, unready, lately ready, often restarted, young.
pub fn worth(pod: &Pod) -> impl Ord + use<> {
    let assigned = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    let phase = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let moment = |time: Option<Timestamp>| Reverse(time.unwrap_or(Timestamp::MAX));
    let ready = condition(pod, "Ready").filter(|_| is_ready(pod));
    let ready_since = ready.and_then(|ready| ready.last_transition_time.as_ref()).map(|time| time.0);
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = statuses.map(|status| status.restart_count).max().unwrap_or(0);
    let created = pod.creation_timestamp().map(|created| created.0);
    (assigned, phase, is_ready(pod), moment(ready_since), Reverse(restarts), moment(created), pod.uid())
}
