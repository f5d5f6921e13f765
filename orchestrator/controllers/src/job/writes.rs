//! The writing of a Job's pods. What its informers may not show yet of that is known to `Crew` (pods created and deleted)
//! and to `Released` (finalizers taken away).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Api;
use parking_lot::Mutex;

use super::Jobs;
use super::account::Done;
use super::make;
use super::member::{FINALIZER, is_tracked};
use super::orphans::let_go;
use super::plan::Step;
use super::view::View;
use crate::pods::controller_of;

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
        let released = self.released.still_shown(&uid, &self.crew.candidates(job));
        let is_released = |pod: &Pod| pod.metadata.uid.as_ref().is_some_and(|uid| released.contains(uid));
        // Adopted, counted and let go already: it only does not show.
        let pods = self.crew.claimed(job, selector, |pod| !is_released(pod)).await?;
        Ok(pods.into_iter().map(|pod| if is_released(&pod) { freed(pod) } else { pod }).collect())
    }

    pub async fn apply(&self, job: &Job, view: &View<'_>, step: Step) -> (Done, kube::Result<()>) {
        match step {
            Step::Rest | Step::Wait(_) => (Done::default(), Ok(())),
            Step::Stop(pods) => self.delete(job, pods).await,
            Step::Drop(pods) => self.free_and_delete(job, pods).await,
            Step::Create(places) => {
                let pods = places.iter().map(|place| make::pod(job, view.spec, place));
                let (created, refused) = self.crew.create(job, pods).await;
                (Done { created, ..Done::default() }, refused)
            }
        }
    }

    async fn delete(&self, job: &Job, pods: Vec<Arc<Pod>>) -> (Done, kube::Result<()>) {
        let (deleted, refused) = self.crew.delete(job, pods).await;
        (Done { deleted, ..Done::default() }, refused)
    }

    /// The pods count for nothing, so they are let go first.
    async fn free_and_delete(&self, job: &Job, pods: Vec<Arc<Pod>>) -> (Done, kube::Result<()>) {
        let (tracked, mut free): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_tracked(pod));
        let (released, refused) = self.release(job, tracked.clone()).await;
        free.extend(tracked.into_iter().filter(|pod| pod.uid().is_some_and(|uid| released.contains(&uid))));
        let (done, not_deleted) = self.delete(job, free).await;
        (done, refused.and(not_deleted))
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

/// As it is, although it does not show yet.
fn freed(mut pod: Arc<Pod>) -> Arc<Pod> {
    if is_tracked(&pod) {
        let finalizers = Arc::make_mut(&mut pod).metadata.finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    pod
}
