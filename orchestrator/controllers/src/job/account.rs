//! Counts a Job's pods into its status so that none is counted twice or lost, wherever a pass is cut short:
//!
//! ```text
//!  ended, tracked ── status names its uid ──► uncounted ── finalizer taken away ──► settled: counted, uid forgotten
//! ```
//!
//! An index is remembered by itself and needs no uid. `account` is what is written before finalizers go, `settle` what
//! is written after.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::member::{has_failed, has_succeeded, index, is_indexed, is_tracked, valid_index};
use super::policies::judge;
use super::verdict::{COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_MET};
use super::view::{View, condition, true_condition};
use crate::context::nonzero;
use crate::pods::is_ready;

/// More uids than this a status does not carry.
pub const UNCOUNTED_MAX: usize = 500;

/// What was done to the pods.
#[derive(Default)]
pub struct Done {
    pub created: usize,
    pub deleted: Vec<Arc<Pod>>,
}

pub struct Account {
    pub status: JobStatus,
    /// They are in the books: their finalizers may go.
    pub release: Vec<Arc<Pod>>,
    /// Uids of pods that bear the finalizer.
    pub held: HashSet<String>,
    /// How the Job ends once all is settled.
    pub end: Option<JobCondition>,
    /// Reasons and messages of what changed.
    pub told: Option<(&'static str, &'static str)>,
}

pub fn account(view: &View<'_>, verdict: Option<JobCondition>, done: &Done) -> Account {
    let is_managed = verdict.is_none() && !view.is_leaving();
    let active = (view.active.len() + done.created).saturating_sub(done.deleted.len());
    let deleted_ready = done.deleted.iter().filter(|pod| is_ready(pod)).count();
    let mut status = view.status.clone();
    status.uncounted_terminated_pods.get_or_insert_default();
    if !view.is_suspended() {
        status.start_time.get_or_insert(Time(view.now));
    }
    // With pods still to be deleted it is too early to call anything finished.
    let mut end = verdict.filter(|_| done.deleted.len() == view.active.len());
    let mut told = None;
    if end.is_none() && is_complete(view, active) {
        let message = "Reached expected number of succeeded pods";
        end = Some(condition(SUCCESS_MET, "CompletionsReached", message, view.now));
    } else if is_managed {
        told = suspend(&mut status, view.is_suspended(), view.now);
    }
    status.active = nonzero(active);
    status.ready = Some(nonzero(view.ready.saturating_sub(deleted_ready)).unwrap_or(0));
    status.terminating = Some(nonzero(view.terminating + done.deleted.len()).unwrap_or(0));
    let held = view.pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.clone()).collect();
    count_released(&mut status, &held);
    if end.is_some() {
        // It may have come to its end while suspended: what is finished has begun.
        status.start_time.get_or_insert(Time(view.now));
    }
    let Noted { release, is_full } = note(&mut status, view, end.as_ref());
    if let Some(end) = end.as_ref().filter(|end| true_condition(&status, &end.type_).is_none()) {
        status.conditions.get_or_insert_default().push(end.clone());
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    let end = end.filter(|_| !is_full).map(|end| last_word(end, view.now));
    Account { status, release, held, end, told }
}

fn is_complete(view: &View<'_>, active: usize) -> bool {
    let wanted = view.spec.completions.map_or(1, |count| usize::try_from(count).unwrap_or(0));
    active == 0 && view.succeeded >= wanted
}

/// The condition that follows on the interim one.
fn last_word(end: JobCondition, now: Timestamp) -> JobCondition {
    let kind = if end.type_ == SUCCESS_MET { COMPLETE } else { FAILED };
    condition(kind, &end.reason.unwrap_or_default(), end.message.unwrap_or_default(), now)
}

fn suspend(status: &mut JobStatus, suspended: bool, now: Timestamp) -> Option<(&'static str, &'static str)> {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter_mut().find(|condition| condition.type_ == "Suspended");
    let (reason, message, word) = match suspended {
        true => ("JobSuspended", "Job suspended", "True"),
        false => ("JobResumed", "Job resumed", "False"),
    };
    let new = JobCondition { status: word.into(), ..condition("Suspended", reason, message, now) };
    match known {
        Some(known) if known.status == word && known.reason.as_deref() == Some(reason) => return None,
        Some(known) => *known = new,
        None if suspended => conditions.push(new),
        None => return None,
    }
    // A deadline counts from the last resumption.
    status.start_time = (!suspended).then_some(Time(now));
    Some(if suspended { ("Suspended", message) } else { ("Resumed", message) })
}

/// Counts uids whose pods bear the finalizer no more.
fn count_released(status: &mut JobStatus, held: &HashSet<String>) {
    let Some(uncounted) = &mut status.uncounted_terminated_pods else { return };
    let take = |uids: &mut Option<Vec<String>>, count: &mut Option<i32>| {
        let Some(listed) = uids else { return };
        let before = listed.len();
        listed.retain(|uid| held.contains(uid));
        let gone = before - listed.len();
        if listed.is_empty() {
            *uids = None;
        }
        *count = nonzero(usize::try_from(count.unwrap_or(0)).unwrap_or(0) + gone);
    };
    take(&mut uncounted.succeeded, &mut status.succeeded);
    take(&mut uncounted.failed, &mut status.failed);
}

struct Noted {
    release: Vec<Arc<Pod>>,
    /// The status can carry no more uids: the rest is for the next pass.
    is_full: bool,
}

fn note(status: &mut JobStatus, view: &View<'_>, end: Option<&JobCondition>) -> Noted {
    let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let mut new_indexes = Vec::new();
    let mut noted = Noted { release: Vec::new(), is_full: false };
    for pod in view.pods.iter().filter(|pod| is_tracked(pod)) {
        if !may_go(view, pod, end.is_some()) {
            continue;
        }
        noted.release.push(pod.clone());
        let fails = has_failed(pod, view.spec) || end.is_some_and(|end| end.type_ == FAILURE_TARGET);
        enter(view, pod, fails, (&mut uncounted, &mut new_indexes));
        let length = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
        if new_indexes.len() + length(&uncounted.succeeded) + length(&uncounted.failed) >= UNCOUNTED_MAX {
            noted.is_full = true;
            break;
        }
    }
    status.uncounted_terminated_pods = Some(uncounted);
    if is_indexed(view.spec) {
        let succeeded = view.counted_indexes.with(new_indexes);
        status.succeeded = nonzero(succeeded.total());
        status.completed_indexes = Some(succeeded.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = view.failed_indexes.as_ref().map(ToString::to_string);
    }
    noted
}

/// A finished pod may; a failed one may not before the pod that replaces it has taken over its count; any may once the
/// Job ends.
fn may_go(view: &View<'_>, pod: &Pod, ends: bool) -> bool {
    if view.is_leaving() || ends || has_succeeded(pod) {
        return true;
    }
    let is_awaited = || {
        let awaited = index(pod).and_then(|index| view.to_replace.get(&index));
        awaited.is_some_and(|awaited| awaited.metadata.uid == pod.metadata.uid)
    };
    has_failed(pod, view.spec) && !is_awaited()
}

fn enter(
    view: &View<'_>,
    pod: &Pod,
    fails: bool,
    (uncounted, new_indexes): (&mut UncountedTerminatedPods, &mut Vec<usize>),
) {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let indexed = is_indexed(view.spec);
    let place = valid_index(pod, view.spec);
    if view.uncounted_failed.contains(&uid) {
        return;
    }
    if has_succeeded(pod) {
        match place.filter(|_| indexed) {
            Some(index) if !view.counted_indexes.has(index) => new_indexes.push(index),
            None if !indexed && !view.uncounted_succeeded.contains(&uid) => {
                uncounted.succeeded.get_or_insert_default().push(uid);
            }
            _ => {}
        }
    } else if fails && (!indexed || place.is_some()) && judge(view.spec, pod).counts() {
        uncounted.failed.get_or_insert_default().push(uid);
    }
}

/// Counts the released pods; whether the Job is finished with that. `held` is without those whose finalizer went.
pub fn settle(status: &mut JobStatus, held: &HashSet<String>, end: Option<&JobCondition>, now: Timestamp) -> bool {
    count_released(status, held);
    let Some(end) = end else { return false };
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    if uncounted.succeeded.is_some() || uncounted.failed.is_some() || status.terminating.unwrap_or(0) > 0 {
        return false;
    }
    status.conditions.get_or_insert_default().push(end.clone());
    if end.type_ == COMPLETE {
        status.completion_time = Some(Time(now));
    }
    true
}
