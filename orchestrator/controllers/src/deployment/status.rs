//! How far a Deployment's rollout is: counts and the conditions that `kubectl rollout status` reads.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{replicas, rollout_of};
use crate::context::since;

/// The status now, and when the progress deadline is to be looked at.
pub fn status(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |of: fn(&ReplicaSet) -> i32| sets.iter().map(|set| of(set)).sum::<i32>();
    let own = |of: fn(&ReplicaSet) -> i32| new.map(of).unwrap_or(0);
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let have: fn(&ReplicaSet) -> i32 = |set| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready: fn(&ReplicaSet) -> i32 = |set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let available: fn(&ReplicaSet) -> i32 =
        |set| set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(have)),
        updated_replicas: some(own(have)),
        ready_replicas: some(sum(ready)),
        available_replicas: some(sum(available)),
        unavailable_replicas: some((sum(replicas) - sum(available)).max(0)),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
        terminating_replicas: before.terminating_replicas,
    };
    let rollout = rollout_of(deployment);
    let enough = sum(available) >= rollout.wanted - rollout.unavailable;
    set(
        &mut status,
        now,
        match enough {
            true => ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.".into()),
            false => (
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".into(),
            ),
        },
    );
    let again = progress(deployment, &before, &mut status, new, now);
    (status, again)
}

/// Every pod is new and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(deployment.spec.replicas.unwrap_or(1)).filter(|wanted| *wanted != 0);
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}

fn progress(
    deployment: &Deployment,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    let current =
        before.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some("Progressing"));
    let reason = current.and_then(|condition| condition.reason.as_deref());
    if deployment.spec.paused == Some(true) {
        set(status, now, ("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into()));
        return None;
    }
    let subject = match new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name_any()),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    if is_complete(deployment, status) {
        set(
            status,
            now,
            ("Progressing", "True", "NewReplicaSetAvailable", format!("{subject} has successfully progressed.")),
        );
        return None;
    }
    // A rollout that was once complete only lost pods, unless there is another template.
    let same_rollout = before.updated_replicas.unwrap_or(0) > 0 && status.replicas == status.updated_replicas;
    if reason == Some("NewReplicaSetAvailable") && same_rollout {
        return None;
    }
    if reason == Some("DeploymentPaused") {
        set(status, now, ("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".into()));
    } else if current.is_none() {
        let message = format!("Created new replica set \"{}\"", new.map(|new| new.name_any()).unwrap_or_default());
        set(status, now, ("Progressing", "True", "NewReplicaSetCreated", message));
    } else if has_moved(before, status) || reason == Some("NewReplicaSetAvailable") {
        set(status, now, ("Progressing", "True", "ReplicaSetUpdated", format!("{subject} is progressing.")));
        renew(status, now);
    }
    let updated = current.and_then(|condition| condition.last_update_time.as_ref());
    let left = Duration::from_secs(u64::try_from(deadline).unwrap_or(0)).saturating_sub(since(updated, now));
    if left.is_zero() && !has_moved(before, status) {
        let message = format!("{subject} has timed out progressing.");
        set(status, now, ("Progressing", "False", "ProgressDeadlineExceeded", message));
        return None;
    }
    Some(left.max(Duration::from_secs(1)))
}

fn has_moved(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(now.updated_replicas) > count(before.updated_replicas)
        || old(now) < old(before)
        || count(now.ready_replicas) > count(before.ready_replicas)
        || count(now.available_replicas) > count(before.available_replicas)
}

fn renew(status: &mut DeploymentStatus, now: Timestamp) {
    let progressing = status.conditions.iter_mut().flatten().find(|c| c.type_.as_deref() == Some("Progressing"));
    if let Some(condition) = progressing {
        condition.last_update_time = Some(Time(now));
    }
}

/// Nothing changes when status and reason stay; the transition time only with the status.
fn set(status: &mut DeploymentStatus, now: Timestamp, (kind, value, reason, message): (&str, &str, &str, String)) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().position(|condition| condition.type_.as_deref() == Some(kind));
    let previous = known.map(|place| conditions.remove(place));
    let same = |condition: &DeploymentCondition| condition.status.as_deref() == Some(value);
    let unchanged = previous.as_ref().filter(|p| same(p) && p.reason.as_deref() == Some(reason)).cloned();
    let transition = previous.filter(|p| same(p)).and_then(|p| p.last_transition_time);
    let place = known.unwrap_or(conditions.len());
    conditions.insert(
        place,
        unchanged.unwrap_or_else(|| DeploymentCondition {
            type_: Some(kind.into()),
            status: Some(value.into()),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(Time(now)),
            last_transition_time: transition.or(Some(Time(now))),
        }),
    );
}
