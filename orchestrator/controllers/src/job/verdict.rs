//! Whether a Job has come to its end, and to which. Failing is decided by its policy, its limits and its deadline,
//! in this order; success before all pods are through, by its success policy. That all went well, `account` finds.

use std::time::Duration;

use k8s_openapi::api::batch::v1::JobCondition;

use super::member::{completions, has_failed};
use super::policies::{Failure, is_enough, judge};
use super::view::{View, condition, true_condition};

pub const SUCCESS_MET: &str = "SuccessCriteriaMet";
pub const FAILURE_TARGET: &str = "FailureTarget";
pub const COMPLETE: &str = "Complete";
pub const FAILED: &str = "Failed";

/// `SuccessCriteriaMet` or `FailureTarget`, new or as decided before; `None`: it goes on.
pub fn verdict(view: &View<'_>) -> Option<JobCondition> {
    decided(view).or_else(|| policy(view)).or_else(|| limits(view)).or_else(|| index_limits(view)).or_else(|| {
        let message = is_enough(view.spec, &view.succeeded_indexes)?;
        Some(condition(SUCCESS_MET, "SuccessPolicy", message, view.now))
    })
}

fn decided(view: &View<'_>) -> Option<JobCondition> {
    let known = |kind| true_condition(&view.status, kind);
    known(SUCCESS_MET).or_else(|| known(FAILURE_TARGET)).cloned()
}

fn failing(view: &View<'_>, reason: &str, message: impl Into<String>) -> Option<JobCondition> {
    Some(condition(FAILURE_TARGET, reason, message, view.now))
}

fn policy(view: &View<'_>) -> Option<JobCondition> {
    view.spec.pod_failure_policy.as_ref()?;
    let mut failed = view.pods.iter().filter(|pod| has_failed(pod, view.spec));
    let message = failed.find_map(|pod| match judge(view.spec, pod) {
        Failure::FailsJob(message) => Some(message),
        _ => None,
    })?;
    failing(view, "PodFailurePolicy", message)
}

fn limits(view: &View<'_>) -> Option<JobCondition> {
    let limit = usize::try_from(view.spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
    if view.failed > limit || too_many_restarts(view, limit) {
        return failing(view, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let is_late = view.status.start_time.is_some() && view.until_deadline() == Some(Duration::ZERO);
    is_late.then(|| failing(view, "DeadlineExceeded", "Job was active longer than specified deadline"))?
}

/// Containers that are restarted in their pods are failures as well.
fn too_many_restarts(view: &View<'_>, limit: usize) -> bool {
    if view.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let statuses = view.pods.iter().filter_map(|pod| pod.status.as_ref());
    let live = statuses.filter(|status| matches!(status.phase.as_deref(), Some("Running" | "Pending")));
    let containers = live.flat_map(|status| {
        let (inits, mains) = (status.init_container_statuses.iter(), status.container_statuses.iter());
        inits.chain(mains).flatten()
    });
    let restarts: usize = containers.map(|status| usize::try_from(status.restart_count).unwrap_or(0)).sum();
    restarts > 0 && restarts >= limit
}

fn index_limits(view: &View<'_>) -> Option<JobCondition> {
    let failed = view.failed_indexes.as_ref()?.total();
    let most = view.spec.max_failed_indexes.and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return failing(view, "MaxFailedIndexesExceeded", message);
    }
    let all_ended = failed + view.succeeded_indexes.total() >= completions(view.spec);
    (failed > 0 && all_ended).then(|| failing(view, "FailedIndexes", "Job has failed indexes"))?
}
