//! Deletes Jobs some time after they ended, where their spec says so; their pods first. Upstream's TTL-after-finished.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::context::{Context, follow, found};
use crate::job::true_condition;
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 5;

struct Finished {
    context: Context,
    jobs: Informer<Job>,
}

pub async fn run(context: Context) {
    let jobs = context.informers.of::<Job>();
    jobs.synced().await;
    let queue = Queue::new("ttl_jobs_to_delete");
    let this = Arc::new(Finished { context: context.clone(), jobs: jobs.clone() });
    let of_job = |job: &Job| {
        if let Some(left) = left(job, context.now()) {
            queue.add_after(key_of(&job.metadata), left);
        }
    };
    tokio::join!(follow(jobs, of_job), queue.clone().work(WORKERS, this));
}

/// How long it still stays; `None`: as long as nobody deletes it.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let stays = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished)?;
    let status = job.status.as_ref().filter(|_| !is_terminating(&job.metadata))?;
    let end = ["Complete", "Failed"].into_iter().find_map(|kind| true_condition(status, kind))?;
    let stays = Duration::from_secs(u64::try_from(stays).unwrap_or(0));
    let until = end.last_transition_time.as_ref()?.0.checked_add(stays).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

impl Reconcile<ObjectKey> for Finished {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let stays = |job: &Job| left(job, self.context.now()).map(|left| (left, job.metadata.uid.clone()));
        match self.jobs.get(namespace, name).and_then(|job| stays(&job)) {
            None => return Ok(None),
            Some((left, _)) if !left.is_zero() => return Ok(Some(left)),
            Some(_) => {}
        }
        // The time may have been changed just now.
        let api: Api<Job> = self.context.namespaced(namespace);
        match found(api.get(name).await)?.and_then(|job| stays(&job)) {
            None => Ok(None),
            Some((left, _)) if !left.is_zero() => Ok(Some(left)),
            Some((_, uid)) => {
                let preconditions = Some(Preconditions { uid, resource_version: None });
                let params = DeleteParams { preconditions, ..DeleteParams::foreground() };
                found(api.delete(name, &params).await).map(|_| None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_a_finished_job_with_a_time_goes() {
        let now = Timestamp::from_second(1000).unwrap();
        let check = |ttl: Option<i32>, metadata: Value, condition: &str, ended: i64| {
            let at = Timestamp::from_second(ended).unwrap();
            let conditions = json!([{"type": condition, "status": "True", "lastTransitionTime": at}]);
            let job = json!({"metadata": metadata, "spec": {"template": {}, "ttlSecondsAfterFinished": ttl},
                "status": {"conditions": conditions}});
            left(&serde_json::from_value(job).unwrap(), now).map(|left| left.as_secs())
        };
        assert_eq!(check(Some(60), json!({}), "Complete", 990), Some(50));
        assert_eq!(check(Some(60), json!({}), "Failed", 900), Some(0));
        assert_eq!(check(Some(0), json!({}), "Complete", 1000), Some(0));
        assert_eq!(check(Some(60), json!({}), "Suspended", 900), None);
        assert_eq!(check(None, json!({}), "Complete", 900), None);
        assert_eq!(check(Some(0), json!({"deletionTimestamp": now}), "Complete", 900), None);
    }
}
