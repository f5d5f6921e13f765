//! Jobs and CronJobs. `play_nodes` plays the agent: a pod ends as
//! its image says, at once (`ok`, `fail-3`) or when it is deleted (`run`).

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::cluster::Cluster;

impl Cluster {
    async fn job(&self, name: &str, image: &str, spec: Value) {
        let mut all =
            json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}});
        all.as_object_mut().expect("an object").extend(spec.as_object().expect("fields").clone());
        self.create::<Job>("d", json!({"metadata": {"name": name}, "spec": all})).await;
    }

    /// Waits until an object of `d`, `null` for none, is as wanted.
    async fn becomes<K>(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let value = |state: Option<&DynamicObject>| serde_json::to_value(state).expect("JSON");
        value(self.until::<K>("d", name, |state| wanted(&value(state))).await.as_ref())
    }

    /// Waits for the end: its reason, its counts, the conditions on the way.
    async fn ended(&self, name: &str) -> String {
        let is_end = |condition: &Value| condition["type"] == "Complete" || condition["type"] == "Failed";
        let has_ended = |job: &Value| job["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_end));
        let job = self.becomes::<Job>(name, has_ended).await;
        let status = &job["status"];
        let conditions = status["conditions"].as_array().expect("conditions").iter();
        let conditions: Vec<_> = conditions
            .map(|one| format!("{}:{}", one["type"].as_str().unwrap_or(""), one["reason"].as_str().unwrap_or("")))
            .collect();
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        format!(
            "{} succeeded, {} failed, {} active, {} terminating; {}",
            number("succeeded"),
            number("failed"),
            number("active"),
            number("terminating"),
            conditions.join(" ")
        )
    }
}

async fn cluster() -> Cluster {
    Cluster::start(|client| Box::pin(play_nodes(client))).await
}

async fn play_nodes(client: kube::Client) {
    let pods = Api::<Pod>::all(client.clone());
    let mut changes = std::pin::pin!(watcher::watcher(pods, watcher::Config::default()));
    while let Some(change) = changes.next().await {
        let Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = change else { continue };
        let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone()).unwrap_or_default();
        let image = image.split(':').next().unwrap_or_default().to_owned();
        let code = match image.as_str() {
            "ok" => Some(0),
            "run" => None,
            fails => fails.strip_prefix("fail-").and_then(|code| code.parse::<i32>().ok()),
        };
        let ends = pod.metadata.deletion_timestamp.is_some();
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).expect("a time");
        let code = if ends && code.is_none() { Some(137) } else { code };
        let (next, state) = match code {
            _ if phase == "Succeeded" || phase == "Failed" => {
                if ends && pod.metadata.deletion_grace_period_seconds != Some(0) {
                    let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
                }
                continue;
            }
            Some(0) => ("Succeeded", json!({"terminated": {"exitCode": 0, "finishedAt": now}})),
            Some(code) => ("Failed", json!({"terminated": {"exitCode": code, "finishedAt": now}})),
            None => ("Running", json!({"running": {"startedAt": now}})),
        };
        if next == phase {
            continue;
        }
        let ready = if next == "Running" { "True" } else { "False" };
        let container = json!({"name": "c", "image": image, "imageID": "", "ready": next == "Running", "restartCount": 0, "state": state});
        let status = json!({"status": {"phase": next, "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}]}});
        let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(status)).await;
    }
}

#[tokio::test]
async fn a_job_runs_its_pods_to_the_end() {
    let cluster = cluster().await;
    cluster.job("work", "ok", json!({"completions": 6, "parallelism": 2})).await;
    assert_eq!(
        cluster.ended("work").await,
        "6 succeeded, 0 failed, 0 active, 0 terminating; SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached"
    );
    let pods = cluster.list::<Pod>().await;
    assert_eq!(pods.len(), 6);
    assert!(pods.iter().all(|pod| pod.finalizers().is_empty() && pod.labels()["job-name"] == "work"));
    cluster.told("Completed Job completed").await;
    cluster.told("SuccessfulCreate Created pod: work-").await;
    let job = cluster.api::<Job>("d").get("work").await.expect("a job");
    assert_eq!(job.data["status"]["uncountedTerminatedPods"], json!({}));
    assert_eq!(job.data["status"]["ready"], 0);
    // Its pods go with it: nothing holds them.
    cluster.api::<Job>("d").delete("work", &DeleteParams::foreground()).await.expect("deleted");
    cluster.becomes::<Job>("work", Value::is_null).await;
    assert!(cluster.list::<Pod>().await.is_empty());
}

#[tokio::test]
async fn an_indexed_job_tells_each_pod_its_index() {
    let cluster = cluster().await;
    cluster.job("each", "ok", json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"})).await;
    assert!(cluster.ended("each").await.starts_with("3 succeeded, 0 failed"));
    let job = cluster.api::<Job>("d").get("each").await.expect("a job");
    assert_eq!(job.data["status"]["completedIndexes"], "0-2");
    let index = "batch.kubernetes.io/job-completion-index";
    let pods = cluster.list::<Pod>().await;
    let mut told: Vec<_> = pods
        .iter()
        .map(|pod| {
            let prefix = pod.name_any().rsplit_once('-').map(|(prefix, _)| prefix.to_owned()).unwrap_or_default();
            format!(
                "{prefix} {} {} {}",
                pod.labels()[index],
                pod.annotations()[index],
                pod.data["spec"]["hostname"].as_str().unwrap_or("")
            )
        })
        .collect();
    told.sort();
    assert_eq!(told, ["each-0 0 0 each-0", "each-1 1 1 each-1", "each-2 2 2 each-2"]);
}

#[tokio::test]
async fn failures_are_retried_later_and_then_given_up() {
    let cluster = cluster().await;
    cluster.job("bad", "fail-1", json!({"backoffLimit": 1})).await;
    let failed_once = |job: &Value| job["status"]["failed"] == 1;
    cluster.becomes::<Job>("bad", failed_once).await;
    assert_eq!(cluster.list::<Pod>().await.len(), 1, "the second is not made at once");
    cluster.leap(Duration::from_secs(60));
    cluster.patch::<Job>("bad", json!({"metadata": {"labels": {"look": "again"}}})).await;
    assert_eq!(
        cluster.ended("bad").await,
        "0 succeeded, 2 failed, 0 active, 0 terminating; FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded"
    );
    cluster.told("BackoffLimitExceeded Job has reached the specified backoff limit").await;
    let policy = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]});
    cluster.job("odd", "fail-42", json!({"podFailurePolicy": policy})).await;
    assert_eq!(
        cluster.ended("odd").await,
        "0 succeeded, 1 failed, 0 active, 0 terminating; FailureTarget:PodFailurePolicy Failed:PodFailurePolicy"
    );
    cluster.told("PodFailurePolicy Container c for pod d/odd-").await;
}

#[tokio::test]
async fn a_deadline_ends_what_runs() {
    let cluster = cluster().await;
    cluster.job("late", "run", json!({"activeDeadlineSeconds": 600, "parallelism": 2, "completions": 2})).await;
    cluster.becomes::<Job>("late", |job| job["status"]["ready"] == 2).await;
    cluster.leap(Duration::from_secs(700));
    cluster.patch::<Job>("late", json!({"metadata": {"labels": {"look": "again"}}})).await;
    assert_eq!(
        cluster.ended("late").await,
        "0 succeeded, 2 failed, 0 active, 0 terminating; FailureTarget:DeadlineExceeded Failed:DeadlineExceeded"
    );
    cluster.told("DeadlineExceeded Job was active longer than specified deadline").await;
    cluster.told("SuccessfulDelete Deleted pod: late-").await;
}

#[tokio::test]
async fn a_job_is_suspended_and_resumed() {
    let cluster = cluster().await;
    cluster.job("nap", "run", json!({"parallelism": 2, "completions": 2})).await;
    cluster.becomes::<Job>("nap", |job| job["status"]["ready"] == 2).await;
    cluster.patch::<Job>("nap", json!({"spec": {"suspend": true}})).await;
    let asleep = |job: &Value| {
        job["status"]["active"].is_null() && job["status"]["terminating"] == 0 && job["status"]["startTime"].is_null()
    };
    let job = cluster.becomes::<Job>("nap", asleep).await;
    assert_eq!(job["status"]["conditions"][0]["reason"], "JobSuspended");
    assert_eq!(job["status"]["failed"], Value::Null, "what is suspended has not failed");
    cluster.told("Suspended Job suspended").await;
    cluster.patch::<Job>("nap", json!({"spec": {"suspend": false}})).await;
    let awake = |job: &Value| job["status"]["ready"] == 2 && job["status"]["conditions"][0]["reason"] == "JobResumed";
    cluster.becomes::<Job>("nap", awake).await;
    cluster.told("Resumed Job resumed").await;
}

#[tokio::test]
async fn orphans_are_adopted_and_let_go() {
    let cluster = cluster().await;
    cluster.job("own", "run", json!({})).await;
    cluster.becomes::<Job>("own", |job| job["status"]["ready"] == 1).await;
    let pod = cluster.list::<Pod>().await[0].name_any();
    // Released with its labels: another is made, and it is no longer held.
    cluster.patch::<Pod>(&pod, json!({"metadata": {"labels": {"batch.kubernetes.io/controller-uid": null}}})).await;
    let is_free = |pod: &Value| pod["metadata"]["ownerReferences"].is_null() && pod["metadata"]["finalizers"].is_null();
    cluster.becomes::<Pod>(&pod, is_free).await;
    let job = cluster.api::<Job>("d").get("own").await.expect("a job");
    let label = json!({"metadata": {"labels": {"batch.kubernetes.io/controller-uid": job.uid()}}});
    cluster.patch::<Pod>(&pod, label).await;
    // Adopted again, it is one too many: one of both goes, none is counted.
    cluster.becomes::<Job>("own", |job| job["status"]["active"] == 1 && job["status"]["terminating"] == 0).await;
    cluster.api::<Job>("d").delete("own", &DeleteParams::orphan()).await.expect("deleted");
    cluster.becomes::<Job>("own", Value::is_null).await;
    for pod in cluster.list::<Pod>().await {
        cluster.becomes::<Pod>(&pod.name_any(), |pod| pod.is_null() || is_free(pod)).await;
    }
}

#[tokio::test]
async fn nothing_is_forgotten_when_the_controllers_start_again() {
    let mut cluster = cluster().await;
    cluster.job("long", "ok", json!({"completions": 40, "parallelism": 4})).await;
    for succeeded in [4, 12, 20, 30] {
        cluster.becomes::<Job>("long", |job| job["status"]["succeeded"].as_i64() >= Some(succeeded)).await;
        cluster.restart_controllers().await;
    }
    assert!(cluster.ended("long").await.starts_with("40 succeeded, 0 failed, 0 active"));
    let pods = cluster.list::<Pod>().await;
    assert!(pods.iter().all(|pod| pod.finalizers().is_empty()));
    assert!((40..=44).contains(&pods.len()), "{} pods", pods.len());
}

#[tokio::test]
async fn a_job_of_another_manager_is_left_alone_and_a_finished_one_goes() {
    let cluster = cluster().await;
    cluster.job("theirs", "ok", json!({"managedBy": "acme.io/jobs"})).await;
    cluster.job("brief", "ok", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.becomes::<Job>("brief", |job| job.is_null()).await;
    cluster.told("Completed Job completed").await;
    let theirs = cluster.api::<Job>("d").get("theirs").await.expect("a job");
    assert_eq!(theirs.data["status"], json!({}));
}

async fn cron_job(cluster: &Cluster, name: &str, image: &str, spec: Value) {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]});
    let mut all = json!({"schedule": "0 * * * *", "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": pod}}}});
    all.as_object_mut().expect("an object").extend(spec.as_object().expect("fields").clone());
    cluster.create::<CronJob>("d", json!({"metadata": {"name": name}, "spec": all})).await;
}

/// Past the next full hour; the controllers are told to look.
async fn next_hour(cluster: &Cluster, name: &str, look: &str) {
    cluster.leap(Duration::from_secs(3600));
    cluster.patch::<CronJob>(name, json!({"metadata": {"labels": {"look": look}}})).await;
}

#[tokio::test]
async fn a_cron_job_makes_one_job_an_hour_and_keeps_a_few() {
    let cluster = cluster().await;
    cron_job(&cluster, "tick", "ok", json!({"successfulJobsHistoryLimit": 1})).await;
    for hour in ["a", "b", "c"] {
        let before = cluster.api::<CronJob>("d").get("tick").await.expect("a cron job");
        next_hour(&cluster, "tick", hour).await;
        let before = before.data["status"]["lastScheduleTime"].clone();
        let is_through = |cron: &Value| {
            let status = &cron["status"];
            status["lastScheduleTime"] != before
                && status["active"].is_null()
                && !status["lastSuccessfulTime"].is_null()
        };
        cluster.becomes::<CronJob>("tick", is_through).await;
    }
    cluster.told("SuccessfulDelete Deleted job tick-").await;
    cluster.told("SuccessfulCreate Created job tick-").await;
    cluster.told("SawCompletedJob Saw completed job: tick-").await;
    let cron = cluster.api::<CronJob>("d").get("tick").await.expect("a cron job");
    let last: jiff::Timestamp =
        cron.data["status"]["lastScheduleTime"].as_str().expect("a time").parse().expect("a time");
    let job = cluster.becomes::<Job>(&format!("tick-{}", last.as_second() / 60), |job| !job.is_null()).await;
    let scheduled = &job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(*scheduled, last.to_string());
    assert_eq!(job["metadata"]["labels"]["a"], "b");
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "CronJob");
}

#[tokio::test]
async fn cron_jobs_forbid_or_replace_what_still_runs() {
    let cluster = cluster().await;
    cron_job(&cluster, "one", "run", json!({"concurrencyPolicy": "Forbid"})).await;
    cron_job(&cluster, "new", "run", json!({"concurrencyPolicy": "Replace"})).await;
    cron_job(&cluster, "off", "run", json!({"suspend": true})).await;
    next_hour(&cluster, "one", "a").await;
    cluster.patch::<CronJob>("new", json!({"metadata": {"labels": {"look": "a"}}})).await;
    let active = |cron: &Value| cron["status"]["active"][0]["name"].clone();
    let has_one = |cron: &Value| cron["status"]["active"].as_array().is_some_and(|active| active.len() == 1);
    let one = active(&cluster.becomes::<CronJob>("one", has_one).await);
    let new = active(&cluster.becomes::<CronJob>("new", has_one).await);
    next_hour(&cluster, "one", "b").await;
    cluster.patch::<CronJob>("new", json!({"metadata": {"labels": {"look": "b"}}})).await;
    cluster
        .told("JobAlreadyActive Not starting job because prior execution is running and concurrency policy is Forbid")
        .await;
    cluster.becomes::<CronJob>("new", |cron| has_one(cron) && active(cron) != new).await;
    cluster.becomes::<Job>(new.as_str().expect("a name"), Value::is_null).await;
    assert_eq!(active(&cluster.becomes::<CronJob>("one", has_one).await), one);
    // Somebody takes the running job away.
    cluster.api::<Job>("d").delete(one.as_str().expect("a name"), &DeleteParams::background()).await.expect("deleted");
    cluster.told("MissingJob Active job went missing: one-").await;
    let off = cluster.api::<CronJob>("d").get("off").await.expect("a cron job");
    assert_eq!(off.data["status"], json!({}));
}
