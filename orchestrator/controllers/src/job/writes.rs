//! What the controller has written of Jobs and their pods, and its informers may not show yet; and the writing of pods.
//! `Pending` knows the pods created and deleted, `Latest` the Jobs, `Released` the finalizers taken away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use parking_lot::Mutex;

use super::account::Done;
use super::make;
use super::member::{FINALIZER, is_tracked};
use super::orphans::let_go;
use super::plan::{Place, Step};
use super::view::View;
use super::{Jobs, ORPHANS, shown};
use crate::claim::Claimer;
use crate::context::{delete, found};
use crate::pending::UNSEEN_MAX;
use crate::pods::controller_of;
use crate::replica_set::{is_namespace_terminating, reason};

/// Writes under way at once for one Job.
const WRITES_MAX: usize = 64;

/// By uid of the Job: uids of pods whose finalizer is gone.
#[derive(Default)]
pub struct Released(Mutex<HashMap<String, HashSet<String>>>);

impl Released {
    pub fn forget(&self, job: &str) {
        self.0.lock().remove(job);
    }

    fn add(&self, job: &str, pod: String) {
        self.0.lock().entry(job.to_owned()).or_default().insert(pod);
    }

    /// Of these pods, those whose finalizer is gone without their showing it; the rest is forgotten.
    fn still_shown(&self, job: &str, pods: &[Arc<Pod>]) -> HashSet<String> {
        let mut jobs = self.0.lock();
        let Some(uids) = jobs.get_mut(job) else { return HashSet::new() };
        let owned = |pod: &Pod| controller_of(&pod.metadata).is_some_and(|owner| owner.uid == job);
        let stale = pods.iter().filter(|pod| is_tracked(pod) || !owned(pod)).filter_map(|pod| pod.uid());
        let stale: HashSet<String> = stale.collect();
        uids.retain(|uid| stale.contains(uid));
        uids.clone()
    }
}

impl Jobs {
    /// The Job's pods after adopting and releasing, as they are once everything written so far is visible.
    pub async fn members(&self, job: &Job) -> kube::Result<Vec<Arc<Pod>>> {
        let uid = job.uid().unwrap_or_default();
        let Some(selector) = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return Ok(Vec::new()) };
        let mut candidates = self.pods.owned_by(&uid);
        candidates.extend(self.pods.indexed(ORPHANS, &job.namespace().unwrap_or_default()));
        let released = self.released.still_shown(&uid, &candidates);
        // Adopted, counted and let go already: it only does not show.
        candidates
            .retain(|pod| controller_of(&pod.metadata).is_some() || !released.contains(&pod.uid().unwrap_or_default()));
        let claimer = Claimer { owner: job, selector };
        let mut pods = claimer.claim_marked(&self.context, candidates, Some(FINALIZER)).await?;
        let known: HashSet<_> = pods.iter().filter_map(|pod| pod.uid()).collect();
        for (pod, unseen_for) in self.pending.unseen(&uid) {
            if known.contains(pod.metadata.uid.as_deref().unwrap_or_default()) {
                continue;
            }
            if unseen_for > UNSEEN_MAX && !self.still_exists(&pod).await? {
                self.pending.seen(&uid, &pod);
                continue;
            }
            pods.push(Arc::new(pod));
        }
        let listed = pods.iter().filter_map(|pod| pod.uid()).collect();
        let deleted = self.pending.ending(&uid, &listed);
        let now = self.context.now();
        let is_in = |uids: &HashSet<String>, pod: &Pod| pod.uid().is_some_and(|uid| uids.contains(&uid));
        let shown = |pod: Arc<Pod>| {
            let (was_deleted, was_released) = (is_in(&deleted, &pod), is_in(&released, &pod));
            shown(pod, was_deleted, was_released, now)
        };
        Ok(pods.into_iter().map(shown).collect())
    }

    async fn still_exists(&self, pod: &Pod) -> kube::Result<bool> {
        let api: Api<Pod> = self.context.namespaced(&pod.namespace().unwrap_or_default());
        Ok(found(api.get(&pod.name_any()).await)?.is_some_and(|live| live.uid() == pod.uid()))
    }

    pub async fn apply(&self, job: &Job, view: &View<'_>, step: Step) -> (Done, kube::Result<()>) {
        match step {
            Step::Rest | Step::Wait(_) => (Done::default(), Ok(())),
            Step::Stop(pods) => self.delete(job, pods, false).await,
            Step::Drop(pods) => self.delete(job, pods, true).await,
            Step::Create(places) => self.create(job, view.spec, places).await,
        }
    }

    /// Doubles from one, so that a template which the API refuses costs one refusal.
    async fn create(&self, job: &Job, spec: &JobSpec, mut places: Vec<Place>) -> (Done, kube::Result<()>) {
        let (mut done, mut refused, mut batch) = (Done::default(), Ok(()), 1);
        while !places.is_empty() && refused.is_ok() {
            let later = places.split_off(places.len().min(batch));
            let creating = futures::stream::iter(places).map(|place| self.create_one(job, spec, place));
            let mut creating = creating.buffer_unordered(WRITES_MAX);
            while let Some(result) = creating.next().await {
                match result {
                    Ok(()) => done.created += 1,
                    Err(error) => refused = Err(error),
                }
            }
            (places, batch) = (later, batch.saturating_mul(2));
        }
        (done, refused)
    }

    async fn create_one(&self, job: &Job, spec: &JobSpec, place: Place) -> kube::Result<()> {
        let api: Api<Pod> = self.context.namespaced(&job.namespace().unwrap_or_default());
        match api.create(&PostParams::default(), &make::pod(job, spec, &place)).await {
            Ok(pod) => {
                self.context.recorder.normal(job, "SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
                self.pending.created(job.metadata.uid.as_deref().unwrap_or_default(), pod, &self.pods);
                Ok(())
            }
            // The namespace ends: nothing can be created in it and nothing needs to be.
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", reason(&error));
                self.context.recorder.warning(job, "FailedCreate", message);
                Err(error)
            }
        }
    }

    /// `uncounted`: the pods are let go first and count for nothing.
    async fn delete(&self, job: &Job, pods: Vec<Arc<Pod>>, uncounted: bool) -> (Done, kube::Result<()>) {
        let mut deleting = futures::stream::iter(pods)
            .map(|pod| async move { (self.delete_one(job, &pod, uncounted).await, pod) })
            .buffer_unordered(WRITES_MAX);
        let (mut done, mut refused) = (Done::default(), Ok(()));
        while let Some((result, pod)) = deleting.next().await {
            match result {
                Ok(()) => done.deleted.push(pod),
                Err(error) => refused = Err(error),
            }
        }
        drop(deleting);
        (done, refused)
    }

    async fn delete_one(&self, job: &Job, pod: &Pod, uncounted: bool) -> kube::Result<()> {
        let api: Api<Pod> = self.context.namespaced(&job.namespace().unwrap_or_default());
        let (owner, uid) = (job.metadata.uid.as_deref().unwrap_or_default(), pod.uid().unwrap_or_default());
        if uncounted && is_tracked(pod) {
            let_go(&api, pod).await?;
            self.released.add(owner, uid.clone());
        }
        match delete(&api, &pod.name_any(), pod.uid()).await {
            Ok(was_there) => {
                self.pending.deleted(owner, uid);
                if was_there {
                    self.context.recorder.normal(job, "SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
                }
                Ok(())
            }
            Err(error) => {
                self.context.recorder.warning(job, "FailedDelete", format!("Error deleting: {}", reason(&error)));
                Err(error)
            }
        }
    }

    /// Takes the finalizers away; gives the uids of the pods without one.
    pub async fn release(&self, job: &Job, pods: Vec<Arc<Pod>>) -> (HashSet<String>, kube::Result<()>) {
        let api: Api<Pod> = self.context.namespaced(&job.namespace().unwrap_or_default());
        let mut releasing = futures::stream::iter(pods)
            .map(|pod| {
                let api = &api;
                async move { (let_go(api, &pod).await, pod.uid().unwrap_or_default()) }
            })
            .buffer_unordered(WRITES_MAX);
        let (mut released, mut refused) = (HashSet::new(), Ok(()));
        while let Some((result, uid)) = releasing.next().await {
            match result {
                Ok(()) => {
                    self.released.add(job.metadata.uid.as_deref().unwrap_or_default(), uid.clone());
                    released.insert(uid);
                }
                Err(error) => refused = Err(error),
            }
        }
        drop(releasing);
        (released, refused)
    }
}
