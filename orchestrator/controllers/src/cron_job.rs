//! Makes a Job at each time of a CronJob's schedule. `times` says when, `children` what became of the jobs; this file
//! reads, makes, deletes and writes. `job` runs what is made.

mod children;
mod times;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::schedule::Schedule;
use amphipod_api::{Change, Informer};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::context::{Context, delete, difference, follow, found};
use crate::latest::Latest;
use crate::pods::{controller_of, is_terminating};
use crate::queue::{Queue, Reconcile};
use crate::replica_set::{is_namespace_terminating, reason};
use children::{children, ended, expired, is_active, job, job_name, remove};
use times::Times;

const WORKERS: usize = 8;

struct CronJobs {
    context: Context,
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
    latest: Latest<CronJob>,
    /// Where a schedule is meant that names no zone.
    zone: TimeZone,
}

pub async fn run(context: Context) {
    let context = context.signed_by("cronjob-controller");
    let (cron_jobs, jobs) = (context.informers.of::<CronJob>(), context.informers.of::<Job>());
    tokio::join!(cron_jobs.synced(), jobs.synced());
    let queue = Queue::new("cronjob");
    let this = Arc::new(CronJobs {
        context,
        cron_jobs: cron_jobs.clone(),
        jobs: jobs.clone(),
        latest: Latest::default(),
        zone: TimeZone::system(),
    });
    let of_job = |job: &Job| {
        if let Some(owner) = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob") {
            queue.add((job.namespace().unwrap_or_default(), owner.name.clone()));
        }
    };
    tokio::join!(this.follow_schedules(&queue), follow(jobs, of_job), queue.clone().work(WORKERS, this.clone()));
}

/// A pass that has come to a wait, or to nothing more.
type Next = kube::Result<Option<Duration>>;

impl CronJobs {
    /// A new schedule is not asked what it has missed: its next time is awaited.
    async fn follow_schedules(&self, queue: &Queue<ObjectKey>) {
        let mut changes = self.cron_jobs.subscribe();
        while let Some(change) = changes.next().await {
            match change {
                Change::Applied { now, before } => {
                    let schedule = |of: &CronJob| (of.spec.schedule.clone(), of.spec.time_zone.clone());
                    let is_new = before.is_some_and(|before| schedule(&before) != schedule(&now));
                    let wait = if is_new { self.until_next(&now) } else { None };
                    queue.add_after(key_of(&now.metadata), wait.unwrap_or_default());
                }
                Change::Deleted(gone) => self.latest.forget(gone.metadata.uid.as_deref().unwrap_or_default()),
                Change::Resynced => {
                    self.cron_jobs.list().iter().for_each(|cron_job| queue.add(key_of(&cron_job.metadata)));
                }
            }
        }
    }

    fn until_next(&self, cron_job: &CronJob) -> Option<Duration> {
        let schedule = Schedule::parse(&cron_job.spec.schedule).ok()?;
        let zone = self.zone_of(cron_job).ok()?;
        Times { cron_job, schedule: &schedule, zone: &zone, now: self.context.now() }.until_next()
    }

    fn zone_of(&self, cron_job: &CronJob) -> Result<TimeZone, String> {
        match cron_job.spec.time_zone.as_deref() {
            None => Ok(self.zone.clone()),
            Some(name) => {
                TimeZone::get(name).map_err(|_| format!("invalid timeZone: {name:?}: unknown time zone {name}"))
            }
        }
    }

    /// Takes the jobs that ended, or are gone, off the list of the active.
    async fn look_after(&self, cron_job: &CronJob, jobs: &[Arc<Job>]) -> kube::Result<CronJobStatus> {
        let recorder = &self.context.recorder;
        let found_children = children(&cron_job.status.clone().unwrap_or_default(), jobs);
        let mut status = found_children.status;
        for (name, end) in found_children.completed {
            recorder.normal(cron_job, "SawCompletedJob", format!("Saw completed job: {name}, condition: {end}"));
        }
        for stranger in found_children.unexpected {
            let message = format!("Saw a job that the controller did not create or forgot: {}", stranger.name_any());
            recorder.warning(cron_job, "UnexpectedJob", message);
        }
        for missing in found_children.missing {
            let name = missing.name.unwrap_or_default();
            let live = found(self.jobs_in(cron_job).get(&name).await)?;
            if live.is_none_or(|live| live.uid() != missing.uid) {
                recorder.normal(cron_job, "MissingJob", format!("Active job went missing: {name}"));
                remove(&mut status, missing.uid.as_deref());
            }
        }
        Ok(status)
    }

    fn jobs_in(&self, cron_job: &CronJob) -> Api<Job> {
        self.context.namespaced(&cron_job.namespace().unwrap_or_default())
    }

    /// What a pass does about time; `status` is what it has changed so far.
    async fn start(&self, cron_job: &CronJob, status: &mut CronJobStatus) -> Next {
        let recorder = &self.context.recorder;
        let spec = &cron_job.spec;
        if is_terminating(&cron_job.metadata) {
            return Ok(None);
        }
        let zone = match self.zone_of(cron_job) {
            Ok(zone) => zone,
            Err(why) => {
                recorder.warning(cron_job, "UnknownTimeZone", why);
                return Ok(None);
            }
        };
        if spec.suspend == Some(true) {
            return Ok(None);
        }
        let schedule = match Schedule::parse(&spec.schedule) {
            Ok(schedule) => schedule,
            Err(why) => {
                let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                recorder.warning(cron_job, "UnparseableSchedule", message);
                return Ok(None);
            }
        };
        let times = Times { cron_job, schedule: &schedule, zone: &zone, now: self.context.now() };
        let due = match times.due() {
            Ok(Some(due)) => due,
            Ok(None) => return Ok(times.until_next()),
            Err(why) => {
                let message = format!("invalid schedule: {} : {why}", spec.schedule);
                recorder.warning(cron_job, "InvalidSchedule", message);
                return Ok(None);
            }
        };
        if due.missed_many {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            recorder.warning(cron_job, "TooManyMissedTimes", message);
        }
        if times.is_past_deadline(due.at) {
            let at = due.at.strftime("%a, %d %b %Y %H:%M:%S UTC");
            recorder.warning(cron_job, "MissSchedule", format!("Missed scheduled time to start a job: {at}"));
            return Ok(times.until_next());
        }
        let name = job_name(cron_job, due.at);
        let is_known = status.active.iter().flatten().any(|active| active.name.as_ref() == Some(&name));
        if is_known || !self.make_room(cron_job, status).await? {
            return Ok(times.until_next());
        }
        self.make(cron_job, status, due.at).await?;
        let done = CronJob { status: Some(status.clone()), ..cron_job.clone() };
        Ok(Times { cron_job: &done, ..times }.until_next())
    }

    /// Whether another job may run now.
    async fn make_room(&self, cron_job: &CronJob, status: &mut CronJobStatus) -> kube::Result<bool> {
        let policy = cron_job.spec.concurrency_policy.as_deref();
        let active = status.active.clone().unwrap_or_default();
        match policy {
            Some("Forbid") if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.context.recorder.normal(cron_job, "JobAlreadyActive", message);
                Ok(false)
            }
            Some("Replace") => {
                for active in active {
                    self.delete(cron_job, status, (active.name.unwrap_or_default(), active.uid)).await?;
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    async fn delete(
        &self,
        cron_job: &CronJob,
        status: &mut CronJobStatus,
        (name, uid): (String, Option<String>),
    ) -> kube::Result<()> {
        match delete(&self.jobs_in(cron_job), &name, uid.clone()).await {
            Ok(_) => {
                remove(status, uid.as_deref());
                self.context.recorder.normal(cron_job, "SuccessfulDelete", format!("Deleted job {name}"));
                Ok(())
            }
            Err(error) => {
                let message = format!("Deleted job: {}", reason(&error));
                self.context.recorder.warning(cron_job, "FailedDelete", message);
                Err(error)
            }
        }
    }

    async fn make(&self, cron_job: &CronJob, status: &mut CronJobStatus, at: Timestamp) -> kube::Result<()> {
        let api = self.jobs_in(cron_job);
        let named = cron_job.spec.time_zone.as_ref();
        let zone = if named.is_some() { self.zone_of(cron_job).unwrap_or(TimeZone::UTC) } else { TimeZone::UTC };
        let made = match api.create(&PostParams::default(), &job(cron_job, at, &zone)).await {
            Ok(made) => {
                let message = format!("Created job {}", made.name_any());
                self.context.recorder.normal(cron_job, "SuccessfulCreate", message);
                let late = made.creation_timestamp().map_or(0.0, |made| made.0.duration_since(at).as_secs_f64());
                metrics::histogram!("cronjob_controller_job_creation_skew_duration_seconds").record(late);
                made
            }
            // Made before, by a pass that could not write so; or by someone else, who then keeps it.
            Err(kube::Error::Api(refusal)) if refusal.is_already_exists() => {
                let made = api.get(&job_name(cron_job, at)).await?;
                let is_ours = controller_of(&made.metadata)
                    .is_some_and(|owner| Some(&owner.uid) == cron_job.metadata.uid.as_ref());
                if !is_ours || is_active(status, &made) {
                    return Ok(());
                }
                made
            }
            Err(error) => {
                let is_ending = matches!(&error, kube::Error::Api(status) if is_namespace_terminating(status));
                if !is_ending {
                    let message = format!("Error creating job: {}", reason(&error));
                    self.context.recorder.warning(cron_job, "FailedCreate", message);
                }
                return Err(error);
            }
        };
        // Two times within one minute have one name, so one job: it may be over.
        if ended(&made).is_none() {
            let reference = ObjectReference { field_path: None, ..amphipod_api::events::reference(&made) };
            status.active.get_or_insert_default().push(reference);
        }
        status.last_schedule_time = Some(Time(at));
        Ok(())
    }

    async fn write(&self, cron_job: &CronJob, status: &CronJobStatus) -> kube::Result<()> {
        let before = cron_job.status.clone().unwrap_or_default();
        let Some(status) = difference(&before, status) else { return Ok(()) };
        let metadata = json!({ "uid": cron_job.metadata.uid, "resourceVersion": cron_job.metadata.resource_version });
        let patch = Patch::Merge(json!({ "metadata": metadata, "status": status }));
        let api: Api<CronJob> = self.context.namespaced(&cron_job.namespace().unwrap_or_default());
        let written = api.patch_status(&cron_job.name_any(), &PatchParams::default(), &patch).await?;
        self.latest.wrote(written);
        Ok(())
    }
}

impl Reconcile<ObjectKey> for CronJobs {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> Next {
        let Some(seen) = self.cron_jobs.get(namespace, name) else { return Ok(None) };
        let cron_job = self.latest.of(seen);
        let mut jobs = self.jobs.owned_by(cron_job.metadata.uid.as_deref().unwrap_or_default());
        jobs.retain(|job| {
            controller_of(&job.metadata).is_some_and(|owner| Some(&owner.uid) == cron_job.metadata.uid.as_ref())
        });
        let mut status = self.look_after(&cron_job, &jobs).await?;
        for old in expired(&cron_job, &jobs) {
            // The next pass tries again what could not be deleted.
            let _ = self.delete(&cron_job, &mut status, (old.name_any(), old.uid())).await;
        }
        let started = self.start(&cron_job, &mut status).await;
        self.write(&cron_job, &status).await?;
        started
    }
}
