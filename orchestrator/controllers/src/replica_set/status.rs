//! Counts a set's pods into its status.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::selector;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::replicated::Replicated;
use super::{reason, wanted};
use crate::context::nonzero;
use crate::pods::{available_in, is_active, is_available, is_ready};

const FAILURE: &str = "ReplicaFailure";

/// What a pass has found and done.
pub struct Counted<'a> {
    pub pods: &'a [Arc<Pod>],
    pub terminating: usize,
    pub error: Option<&'a kube::Error>,
}

/// The new status, and when to look again because a ready pod becomes available by time alone.
pub fn status<K: Replicated>(set: &K, counted: &Counted<'_>, now: Timestamp) -> (ReplicaSetStatus, Option<Duration>) {
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref());
    let template_labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let active = || counted.pods.iter().filter(|pod| is_active(pod));
    let labelled = active().filter(|pod| selector::matches_pairs(&template_labels, pod.metadata.labels.as_ref()));
    let available = active().filter(|pod| is_available(pod, min_ready, now)).count();
    let waiting = active().filter(|pod| is_ready(pod)).map(|pod| available_in(pod, min_ready, now));
    let again = waiting.filter(|wait| !wait.is_zero()).min();
    let before = set.status();
    let status = ReplicaSetStatus {
        replicas: nonzero(active().count()).unwrap_or(0),
        fully_labeled_replicas: nonzero(labelled.count()),
        ready_replicas: nonzero(active().filter(|pod| is_ready(pod)).count()),
        available_replicas: nonzero(available),
        terminating_replicas: K::COUNTS_TERMINATING.then(|| nonzero(counted.terminating).unwrap_or(0)),
        observed_generation: set.meta().generation,
        conditions: conditions(set, before.conditions, counted, now),
    };
    (status, again)
}

fn conditions(
    set: &impl Replicated,
    before: Option<Vec<ReplicaSetCondition>>,
    counted: &Counted<'_>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = before.unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_.as_deref() == Some(FAILURE));
    match counted.error {
        Some(error) if !known => {
            let active = counted.pods.iter().filter(|pod| is_active(pod)).count();
            let doing = if active < wanted(set) { "FailedCreate" } else { "FailedDelete" };
            conditions.push(ReplicaSetCondition {
                type_: Some(FAILURE.into()),
                status: Some("True".into()),
                reason: Some(doing.into()),
                message: Some(reason(error)),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_.as_deref() != Some(FAILURE)),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}
