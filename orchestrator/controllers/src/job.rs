//! Runs pods until enough of them have succeeded. `view` looks, `verdict` says whether it is over, `plan` what to do to
//! the pods, `account` what to write; this file reads, does and writes. `orphans` frees what belongs to no Job.
//!
//! ```text
//!  pods, job ─► view ─► verdict ─► plan ─► create or delete ─► account ─► status ─► finalizers go ─► settle ─► status
//! ```
//!
//! Each status is written onto the one that the pass has read, else it is refused and the pass begins anew: this, the
//! finalizers and the uids in the status are why no pod is counted twice or lost.

mod account;
mod backoff;
mod indexes;
mod make;
mod member;
mod orphans;
mod plan;
mod policies;
mod verdict;
mod view;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::{Context, difference, follow};
use crate::crew::Crew;
use crate::latest::Latest;
use crate::queue::{Queue, Reconcile};
use account::{Account, account, settle};
use backoff::Record;
use member::FINALIZER;
use orphans::{Orphans, is_orphan};
use plan::{Step, plan};
use verdict::{COMPLETE, verdict};
use view::View;
pub use view::{is_finished, true_condition};
use writes::Released;

/// Jobs worked on at once.
const WORKERS: usize = 16;
const ORPHAN_WORKERS: usize = 4;
/// Changes of pods within this time are one pass.
const BATCH: Duration = Duration::from_millis(100);
const MANAGER: &str = "kubernetes.io/job-controller";

struct Jobs {
    context: Context,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    crew: Crew,
    latest: Latest<Job>,
    released: Released,
    /// By uid.
    records: Mutex<HashMap<String, Record>>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("job-controller");
    let (jobs, pods) = (context.informers.of::<Job>(), context.informers.of::<Pod>());
    let crew = Crew::new(context.clone(), pods.clone()).marked(FINALIZER);
    tokio::join!(jobs.synced(), pods.synced());
    let (queue, orphans) = (Queue::new("job"), Queue::new("job_orphan_pod"));
    let freeing = Arc::new(Orphans { context: context.clone(), jobs: jobs.clone(), pods: pods.clone() });
    let this = Arc::new(Jobs {
        context,
        jobs: jobs.clone(),
        pods: pods.clone(),
        crew,
        latest: Latest::default(),
        released: Released::default(),
        records: Mutex::default(),
    });
    let of_job = |job: &Job| this.wake(job, &queue, &orphans);
    let of_pod = |pod: &Pod| this.wake_owner(pod, &queue, &orphans);
    tokio::join!(
        follow(jobs, of_job),
        follow(pods, of_pod),
        queue.clone().work(WORKERS, this.clone()),
        orphans.clone().work(ORPHAN_WORKERS, freeing),
    );
}

/// Others may ask that we leave their Jobs alone.
fn is_ours(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_none_or(|manager| manager == MANAGER)
}

impl Jobs {
    fn wake(&self, job: &Job, queue: &Queue<ObjectKey>, orphans: &Queue<ObjectKey>) {
        let (key, uid) = (key_of(&job.metadata), job.metadata.uid.as_deref().unwrap_or_default());
        let live = self.jobs.get(&key.0, &key.1).filter(|live| live.metadata.uid == job.metadata.uid);
        if live.is_none() {
            self.forget(uid);
        }
        if live.is_none_or(|live| is_finished(&live)) {
            let stuck = self.pods.owned_by(uid).into_iter().filter(|pod| is_orphan(pod, &self.jobs));
            stuck.for_each(|pod| orphans.add(key_of(&pod.metadata)));
        }
        queue.add(key);
    }

    fn wake_owner(&self, pod: &Pod, queue: &Queue<ObjectKey>, orphans: &Queue<ObjectKey>) {
        if is_orphan(pod, &self.jobs) {
            orphans.add(key_of(&pod.metadata));
        }
        let takes = |job: &Job| {
            let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            selector.is_some_and(|selector| amphipod_api::selector::matches(selector, pod.metadata.labels.as_ref()))
        };
        let concerned = self.crew.concerned(pod, ("Job", &self.jobs), takes);
        concerned.into_iter().for_each(|key| queue.add_after(key, BATCH));
    }

    fn forget(&self, uid: &str) {
        self.crew.forget(uid);
        self.latest.forget(uid);
        self.released.forget(uid);
        self.records.lock().remove(uid);
    }

    /// Writes the books, frees the pods that are in them, writes what that settles, and says how the Job ended.
    async fn track(&self, job: &Job, view: &View<'_>, account: Account, record: Record) -> kube::Result<()> {
        let Account { mut status, release, mut held, end, told } = account;
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let written = self.write(job, &view.status, &status).await?;
        self.records.lock().insert(uid, record);
        if let Some((reason, message)) = told {
            self.context.recorder.normal(job, reason, message);
        }
        let base = written.as_ref().unwrap_or(job);
        let (released, refused) = self.release(job, release).await;
        held.retain(|uid| !released.contains(uid));
        let before = status.clone();
        let finished = settle(&mut status, &held, end.as_ref().filter(|_| refused.is_ok()), self.context.now());
        self.write(base, &before, &status).await?;
        if let Some(end) = end.filter(|_| finished) {
            self.tell_end(job, &status, &end);
        }
        refused
    }

    /// Only onto the state that `job` is.
    async fn write(&self, job: &Job, before: &JobStatus, after: &JobStatus) -> kube::Result<Option<Job>> {
        let Some(status) = difference(before, after) else { return Ok(None) };
        let (namespace, name) = key_of(&job.metadata);
        let metadata = json!({ "uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version });
        let patch = Patch::Merge(json!({ "metadata": metadata, "status": status }));
        let api: Api<Job> = self.context.namespaced(&namespace);
        let written = api.patch_status(&name, &PatchParams::default(), &patch).await?;
        self.latest.wrote(written.clone());
        Ok(Some(written))
    }

    fn tell_end(&self, job: &Job, status: &JobStatus, end: &JobCondition) {
        let recorder = &self.context.recorder;
        let reason = end.reason.clone().unwrap_or_default();
        let completions = job.spec.as_ref().and_then(|spec| spec.completions);
        let mode = job.spec.as_ref().and_then(|spec| spec.completion_mode.clone()).unwrap_or_default();
        let (result, why) =
            if end.type_ == COMPLETE { ("succeeded", String::new()) } else { ("failed", reason.clone()) };
        metrics::counter!("job_controller_jobs_finished_total", "completion_mode" => mode, "result" => result, "reason" => why)
            .increment(1);
        if end.type_ != COMPLETE {
            recorder.warning(job, &reason, end.message.clone().unwrap_or_default());
            return;
        }
        if completions.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted) {
            let message = "Too many succeeded pods running after completion count reached";
            recorder.warning(job, "TooManySucceededPods", message);
        }
        recorder.normal(job, "Completed", "Job completed");
    }
}

impl Reconcile<ObjectKey> for Jobs {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(seen) = self.jobs.get(namespace, name) else { return Ok(None) };
        let job = self.latest.of(seen);
        let uid = job.metadata.uid.clone().unwrap_or_default();
        if !is_ours(&job) {
            return Ok(None);
        }
        if is_finished(&job) {
            self.records.lock().remove(&uid);
            return Ok(None);
        }
        let pods = self.members(&job).await?;
        let Some(view) = View::new(&job, pods, self.context.now()) else { return Ok(None) };
        let record = self.records.lock().get(&uid).copied().unwrap_or_default();
        let record = record.with(view.new_succeeded.iter().map(|pod| &**pod), view.new_failed.iter().map(|pod| &**pod));
        let verdict = verdict(&view);
        let step = plan(&view, verdict.is_some(), record);
        let wait = if let Step::Wait(wait) = &step { Some(*wait) } else { None };
        let deadline = view.until_deadline().filter(|_| verdict.is_none());
        let (done, applied) = self.apply(&job, &view, step).await;
        let account = account(&view, verdict, &done);
        self.track(&job, &view, account, record).await?;
        applied?;
        Ok(wait.into_iter().chain(deadline).min())
    }
}
