//! A CronJob's jobs: which are over, which are strangers, which make room. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::job::true_condition;
use crate::pods::controlled_by;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// `Complete`, `Failed`, or `None`: it goes on.
pub fn ended(job: &Job) -> Option<&'static str> {
    let status = job.status.as_ref()?;
    ["Complete", "Failed"].into_iter().find(|kind| true_condition(status, kind).is_some())
}

/// What of the status follows from the jobs that are there.
#[derive(Debug, Default)]
pub struct Children {
    pub status: CronJobStatus,
    /// Names and ends of jobs that were active before.
    pub completed: Vec<(String, &'static str)>,
    /// Unfinished jobs that are not in the list of the active.
    pub unexpected: Vec<Arc<Job>>,
    /// Active ones that are nowhere to be seen.
    pub missing: Vec<ObjectReference>,
}

pub fn children(before: &CronJobStatus, jobs: &[Arc<Job>]) -> Children {
    let mut children = Children { status: before.clone(), ..Children::default() };
    for job in jobs {
        match (is_active(before, job), ended(job)) {
            (false, None) => children.unexpected.push(job.clone()),
            (true, Some(end)) => {
                remove(&mut children.status, job.metadata.uid.as_deref());
                children.completed.push((job.name_any(), end));
            }
            _ => {}
        }
        let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
        if ended(job) == Some("Complete") && completed > children.status.last_successful_time {
            children.status.last_successful_time = completed;
        }
    }
    let is_there = |active: &&ObjectReference| jobs.iter().any(|job| job.metadata.uid == active.uid);
    children.missing = before.active.iter().flatten().filter(|active| !is_there(active)).cloned().collect();
    children
}

pub fn is_active(status: &CronJobStatus, job: &Job) -> bool {
    status.active.iter().flatten().any(|active| active.uid == job.metadata.uid)
}

pub fn remove(status: &mut CronJobStatus, uid: Option<&str>) {
    let Some(active) = &mut status.active else { return };
    active.retain(|active| active.uid.as_deref() != uid);
    if active.is_empty() {
        status.active = None;
    }
}

/// The oldest of the ended jobs, above what is to be kept of each end.
pub fn expired(cron_job: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = &cron_job.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    let mut expired = Vec::new();
    for (end, limit) in limits {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let mut these: Vec<_> = jobs.iter().filter(|job| ended(job) == Some(end)).cloned().collect();
        these.sort_by_cached_key(|job| {
            let started = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
            (started.is_none(), started, job.name_any())
        });
        these.truncate(these.len().saturating_sub(limit));
        expired.extend(these.into_iter().filter(|job| job.metadata.deletion_timestamp.is_none()));
    }
    expired
}

/// One name for each scheduled time: a job is never made twice.
pub fn job_name(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron_job.name_any(), at.as_second() / 60)
}

pub fn job(cron_job: &CronJob, at: Timestamp, zone: &TimeZone) -> Job {
    let template = cron_job.spec.job_template.clone();
    let metadata = template.metadata.unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), written(at, zone));
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron_job, at)),
            namespace: cron_job.namespace(),
            labels: metadata.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controlled_by(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.unwrap_or_default()),
        status: None,
    }
}

/// As RFC 3339 has it, `Z` for UTC.
fn written(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    if local.offset().is_zero() { at.to_string() } else { local.strftime("%FT%T%:z").to_string() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    /// `name[+|-]@second`: completed, failed, or running; begun then, and completed then.
    fn jobs(words: &str) -> Vec<Arc<Job>> {
        let job = |word: &str| {
            let (name, second) = word.split_once('@').unwrap();
            let at = Timestamp::from_second(second.parse().unwrap()).unwrap();
            let (name, conditions, completed) = match name.chars().last() {
                Some('+') => (&name[..name.len() - 1], json!([{"type": "Complete", "status": "True"}]), Some(at)),
                Some('-') => (&name[..name.len() - 1], json!([{"type": "Failed", "status": "True"}]), None),
                _ => (name, json!([]), None),
            };
            let status = json!({"conditions": conditions, "startTime": at, "completionTime": completed});
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "status": status})).unwrap(),
            )
        };
        words.split_whitespace().map(job).collect()
    }

    fn check(active: &str, words: &str, expected: Expect) {
        let active: Vec<_> = active.split_whitespace().map(|name| json!({"name": name, "uid": name})).collect();
        let before = serde_json::from_value(json!({ "active": active })).unwrap();
        let found = children(&before, &jobs(words));
        let names = |list: Vec<String>| list.join(" ");
        let active = found.status.active.unwrap_or_default().into_iter().filter_map(|active| active.name).collect();
        let missing = found.missing.into_iter().filter_map(|missing| missing.name).collect();
        let unexpected = found.unexpected.iter().map(|job| job.name_any()).collect();
        let success = found.status.last_successful_time.map_or(0, |time| time.0.as_second());
        expected.assert_eq(&format!(
            "active {}; completed {:?}; unexpected {}; missing {}; last success {success}",
            names(active),
            found.completed,
            names(unexpected),
            names(missing)
        ));
    }

    #[test]
    fn jobs_come_and_go() {
        check("", "", expect!["active ; completed []; unexpected ; missing ; last success 0"]);
        check(
            "a b",
            "a@1 b+@2",
            expect![[r#"active a; completed [("b", "Complete")]; unexpected ; missing ; last success 2"#]],
        );
        check("a", "b@1 c-@2 d+@9 e+@3", expect!["active a; completed []; unexpected b; missing a; last success 9"]);
    }

    #[test]
    fn the_oldest_make_room() {
        let check = |kept: [Option<i32>; 2], words: &str| {
            let spec = json!({"schedule": "", "jobTemplate": {}, "successfulJobsHistoryLimit": kept[0], "failedJobsHistoryLimit": kept[1]});
            let cron_job = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            expired(&cron_job, &jobs(words)).iter().map(|job| job.name_any()).collect::<Vec<_>>().join(" ")
        };
        let words = "a+@3 b+@1 c+@2 d-@5 e-@4 f@0";
        assert_eq!(check([Some(2), Some(1)], words), "b e");
        assert_eq!(check([Some(0), Some(9)], words), "b c a");
        assert_eq!(check([None, None], words), "");
    }

    #[test]
    fn a_job_says_when_it_was_meant() {
        let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"template": {}}});
        let cron_job = json!({"metadata": {"name": "tick", "namespace": "d", "uid": "u"}, "spec": {"schedule": "", "jobTemplate": template}});
        let cron_job: CronJob = serde_json::from_value(cron_job).unwrap();
        let at = "2026-01-01T12:00:00Z".parse().unwrap();
        let check = |zone: &str| {
            let job = job(&cron_job, at, &TimeZone::get(zone).unwrap());
            (job.name_any(), job.annotations().clone())
        };
        let (name, annotations) = check("UTC");
        assert_eq!(name, "tick-29454480");
        assert_eq!(
            annotations,
            [("c", "d"), (SCHEDULED, "2026-01-01T12:00:00Z")].map(|(k, v)| (k.into(), v.into())).into()
        );
        assert_eq!(check("Asia/Tokyo").1[SCHEDULED], "2026-01-01T21:00:00+09:00");
    }
}
