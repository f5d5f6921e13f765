//! Decides what a pass does to a Job's pods. Deleting comes before creating; a pass does one of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::backoff::{Record, remaining_of_index};
use super::member::{completions, index, is_ending, is_indexed, valid_index, waits_for_the_end, worth};
use super::view::View;

/// Pods created or deleted in one pass.
pub const BURST_MAX: usize = 500;

#[derive(Debug)]
pub enum Step {
    Rest,
    /// The Job has come to its end: these go as they are, to be counted.
    Stop(Vec<Arc<Pod>>),
    /// These are too many: they are let go first, so that they count for nothing.
    Drop(Vec<Arc<Pod>>),
    Create(Vec<Place>),
    /// New pods are due, but not before this long.
    Wait(Duration),
}

/// A pod to be made.
#[derive(Debug, Default)]
pub struct Place {
    pub index: Option<usize>,
    /// The failed pod of the same index, where each index counts its failures.
    pub replaces: Option<Arc<Pod>>,
}

pub fn plan(view: &View<'_>, is_decided: bool, record: Record) -> Step {
    if is_decided {
        return Step::Stop(view.active.clone());
    }
    if view.is_leaving() {
        return Step::Rest;
    }
    let wanted = if view.is_suspended() { 0 } else { wanted(view) };
    let mut surplus = surplus(view, view.active.len().saturating_sub(wanted));
    if !view.is_suspended() {
        surplus.truncate(BURST_MAX);
    }
    if !surplus.is_empty() {
        return Step::Drop(surplus);
    }
    let ending = if waits_for_the_end(view.spec) { view.terminating } else { 0 };
    let missing = wanted.saturating_sub(ending + view.active.len());
    if missing == 0 { Step::Rest } else { create(view, missing, record) }
}

/// How many pods should be active.
fn wanted(view: &View<'_>) -> usize {
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let parallelism = count(view.spec.parallelism.unwrap_or(1));
    match view.spec.completions {
        Some(completions) => parallelism.min(count(completions).saturating_sub(view.succeeded)),
        // Any success ends such a Job: what runs runs on, nothing is begun.
        None if view.succeeded > 0 => view.active.len(),
        None => parallelism,
    }
}

/// At least this many of the active pods; of an indexed Job, all that have no index of their own.
fn surplus(view: &View<'_>, least: usize) -> Vec<Arc<Pod>> {
    let mut active = view.active.clone();
    active.sort_by_cached_key(|pod| worth(pod));
    let mut surplus = Vec::new();
    if is_indexed(view.spec) {
        let mut taken = HashSet::new();
        let mut left = Vec::new();
        // From the best: of those with one index, the best stays.
        for pod in active.into_iter().rev() {
            let is_first = valid_index(&pod, view.spec).is_some_and(|index| taken.insert(index));
            if is_first { left.push(pod) } else { surplus.push(pod) }
        }
        left.reverse();
        active = left;
    }
    let more = least.saturating_sub(surplus.len());
    surplus.extend(active.into_iter().take(more));
    surplus
}

fn create(view: &View<'_>, missing: usize, record: Record) -> Step {
    let per_index = view.spec.backoff_limit_per_index.is_some();
    let wait = if per_index { Duration::ZERO } else { record.remaining(view.now) };
    if !wait.is_zero() {
        return Step::Wait(wait);
    }
    let missing = missing.min(BURST_MAX);
    if !is_indexed(view.spec) {
        return Step::Create((0..missing).map(|_| Place::default()).collect());
    }
    let pending = pending_indexes(view, missing);
    let place = |index| Place { index: Some(index), replaces: view.to_replace.get(&index).cloned() };
    if !per_index {
        return Step::Create(pending.into_iter().map(|index| Place { index: Some(index), replaces: None }).collect());
    }
    let waits: Vec<(Place, Duration)> = pending
        .into_iter()
        .map(place)
        .map(|place| {
            let wait = remaining_of_index(place.replaces.as_deref(), view.now);
            (place, wait)
        })
        .collect();
    let shortest = waits.iter().map(|(_, wait)| *wait).min();
    match shortest {
        None => Step::Rest,
        Some(wait) if !wait.is_zero() => Step::Wait(wait),
        Some(_) => Step::Create(waits.into_iter().filter(|(_, wait)| wait.is_zero()).map(|(place, _)| place).collect()),
    }
}

/// The first indexes that neither ended nor have a pod.
fn pending_indexes(view: &View<'_>, count: usize) -> Vec<usize> {
    let ending = view.pods.iter().filter(|pod| waits_for_the_end(view.spec) && is_ending(pod));
    let taken = view.active.iter().chain(ending).filter_map(|pod| index(pod));
    let mut ended = view.succeeded_indexes.with(taken);
    if let Some(failed) = &view.failed_indexes {
        ended = ended.merge(failed);
    }
    ended.missing(count, completions(view.spec))
}
