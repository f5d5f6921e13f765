//! A Job and its pods as one pass sees them, and what follows from them alone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::indexes::Indexes;
use super::member::{
    completions, finished_at, has_failed, has_succeeded, index, index_failures, is_ending, is_indexed, is_tracked,
    valid_index,
};
use super::policies::{Failure, judge};
use crate::pods::{is_active, is_ready, is_terminating};

pub struct View<'a> {
    pub job: &'a Job,
    pub spec: &'a JobSpec,
    pub status: JobStatus,
    pub now: Timestamp,
    /// All of them; in the order of their indexes where the Job has indexes.
    pub pods: Vec<Arc<Pod>>,
    pub active: Vec<Arc<Pod>>,
    pub ready: usize,
    /// Deleted and still running.
    pub terminating: usize,
    /// Uids of pods that the status names as seen and not counted yet.
    pub uncounted_succeeded: HashSet<String>,
    pub uncounted_failed: HashSet<String>,
    /// Ended, and the status knows nothing of it.
    pub new_succeeded: Vec<Arc<Pod>>,
    pub new_failed: Vec<Arc<Pod>>,
    /// Counted, uncounted and new.
    pub succeeded: usize,
    pub failed: usize,
    /// Only of indexed Jobs: as the status has it, and with the new ones.
    pub counted_indexes: Indexes,
    pub succeeded_indexes: Indexes,
    /// Only where each index has its own limit.
    pub failed_indexes: Option<Indexes>,
    /// By index, the failed pod that stays until its replacement has taken over its count.
    pub to_replace: BTreeMap<usize, Arc<Pod>>,
}

impl<'a> View<'a> {
    pub fn new(job: &'a Job, mut pods: Vec<Arc<Pod>>, now: Timestamp) -> Option<Self> {
        let spec = job.spec.as_ref()?;
        if is_indexed(spec) {
            pods.sort_by_key(|pod| index(pod));
        }
        let status = job.status.clone().unwrap_or_default();
        let active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
        let uids = |uids: &Option<Vec<String>>| uids.iter().flatten().cloned().collect();
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut view = Self {
            job,
            spec,
            now,
            ready: active.iter().filter(|pod| is_ready(pod)).count(),
            active,
            terminating: pods.iter().filter(|pod| is_ending(pod)).count(),
            uncounted_succeeded: uids(&uncounted.succeeded),
            uncounted_failed: uids(&uncounted.failed),
            new_succeeded: Vec::new(),
            new_failed: Vec::new(),
            succeeded: 0,
            failed: 0,
            counted_indexes: Indexes::default(),
            succeeded_indexes: Indexes::default(),
            failed_indexes: None,
            to_replace: BTreeMap::new(),
            pods,
            status,
        };
        view.count();
        if is_indexed(spec) {
            view.count_indexes();
        }
        Some(view)
    }

    fn count(&mut self) {
        self.new_succeeded = self.tracked(has_succeeded, Some(&self.uncounted_succeeded));
        self.new_failed = self.tracked(|pod| has_failed(pod, self.spec), Some(&self.uncounted_failed));
        let counting = self.new_failed.iter().filter(|pod| judge(self.spec, pod).counts()).count();
        let counted = |count: Option<i32>| usize::try_from(count.unwrap_or(0)).unwrap_or(0);
        self.succeeded = counted(self.status.succeeded) + self.new_succeeded.len() + self.uncounted_succeeded.len();
        self.failed = counted(self.status.failed) + counting + self.uncounted_failed.len();
    }

    fn count_indexes(&mut self) {
        let spec = self.spec;
        let written = |text: Option<&String>| Indexes::parse(text.map_or("", String::as_str), completions(spec));
        self.counted_indexes = written(self.status.completed_indexes.as_ref());
        let succeeded = self.tracked(has_succeeded, None);
        self.succeeded_indexes = self.counted_indexes.with(succeeded.iter().filter_map(|pod| index(pod)));
        self.succeeded = self.succeeded_indexes.total();
        let Some(limit) = spec.backoff_limit_per_index else { return };
        let failed = self.tracked(|pod| ends_index(pod, spec, limit), None);
        let before = written(self.status.failed_indexes.as_ref());
        self.failed_indexes = Some(before.with(failed.iter().filter_map(|pod| index(pod))));
        self.find_replaced();
    }

    fn find_replaced(&mut self) {
        let active: HashSet<usize> = self.active.iter().filter_map(|pod| index(pod)).collect();
        let failed = self.failed_indexes.clone().unwrap_or_default();
        let failures = |pod: &Pod| {
            let (counted, ignored) = index_failures(pod);
            counted.saturating_add(ignored)
        };
        for pod in self.tracked(|pod| has_failed(pod, self.spec), None) {
            let Some(at) = index(&pod) else { continue };
            if self.succeeded_indexes.has(at) || failed.has(at) || active.contains(&at) {
                continue;
            }
            let is_later = self
                .to_replace
                .get(&at)
                .is_none_or(|last| failures(last) <= failures(&pod) && finished_at(&pod) >= finished_at(last));
            if is_later {
                self.to_replace.insert(at, pod);
            }
        }
    }

    /// Pods that are still to be counted and, of an indexed Job, have one of its indexes.
    fn tracked(&self, is: impl Fn(&Pod) -> bool, without: Option<&HashSet<String>>) -> Vec<Arc<Pod>> {
        let is_new = |pod: &Pod| {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            is_tracked(pod) && without.is_none_or(|uids| !uids.contains(uid))
        };
        let is_placed = |pod: &Pod| !is_indexed(self.spec) || valid_index(pod, self.spec).is_some();
        self.pods.iter().filter(|pod| is_new(pod) && is_placed(pod) && is(pod)).cloned().collect()
    }

    pub fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Nobody makes new pods for a Job that is being deleted.
    pub fn is_leaving(&self) -> bool {
        is_terminating(&self.job.metadata)
    }

    /// Until the deadline; zero once it is past, `None` where there is none or the Job is suspended.
    pub fn until_deadline(&self) -> Option<Duration> {
        let allowed = self.spec.active_deadline_seconds.filter(|_| !self.is_suspended())?;
        let allowed = Duration::from_secs(u64::try_from(allowed).unwrap_or(0));
        let started = self.status.start_time.as_ref().map_or(self.now, |started| started.0);
        let elapsed = Duration::try_from(self.now.duration_since(started)).unwrap_or_default();
        Some(allowed.saturating_sub(elapsed))
    }
}

/// A failure that leaves its index no further attempt.
fn ends_index(pod: &Pod, spec: &JobSpec, limit: i32) -> bool {
    has_failed(pod, spec)
        && match judge(spec, pod) {
            Failure::FailsIndex => true,
            failure => failure.counts() && index_failures(pod).0 >= limit,
        }
}

pub fn true_condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Completed or failed for good.
pub fn is_finished(job: &Job) -> bool {
    let status = job.status.as_ref();
    status.is_some_and(|status| ["Complete", "Failed"].iter().any(|kind| true_condition(status, kind).is_some()))
}

/// A condition that is true since now.
pub fn condition(kind: &str, reason: &str, message: impl Into<String>, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}
