//! Stops one container: its preStop hook, then the runtime, both within the grace. One job of a pod's task.

use std::sync::Arc;
use std::time::Duration;

use amphipod_runtime::{ContainerId, Runtime};
use k8s_openapi::api::core::v1::Container;
use tokio::time::Instant;

use crate::events::{PodEvents, Severity};
use crate::probes::{http_get, named_port};

/// The least that a container has after its hook used up the grace.
const LEAST: Duration = Duration::from_secs(2);

pub struct Job {
    pub runtime: Arc<dyn Runtime>,
    pub id: ContainerId,
    pub container: Container,
    pub grace: Duration,
    pub path: String,
    pub events: PodEvents,
}

pub async fn stop(job: Job) -> amphipod_runtime::Result<()> {
    let begun = Instant::now();
    if !job.grace.is_zero()
        && let Ok(Err(error)) = tokio::time::timeout(job.grace, job.pre_stop()).await
    {
        job.events.container(&job.path, Severity::Warning, "FailedPreStopHook", format!("PreStopHook failed: {error}"));
    }
    let hooked = job.container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
    let left = job.grace.saturating_sub(begun.elapsed());
    let left = if hooked { left.max(LEAST.min(job.grace)) } else { job.grace };
    job.runtime.stop(&job.id, left).await
}

impl Job {
    async fn pre_stop(&self) -> Result<(), String> {
        let Some(hook) = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
            return Ok(());
        };
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        } else if let Some(get) = &hook.http_get {
            let port = named_port(&get.port, &self.container).ok_or("no such port")?;
            let stream = self.runtime.dial(&self.id, port).await.map_err(|error| error.to_string())?;
            http_get(stream, get, "kube-lifecycle/1.37").await?;
        } else if hook.exec.is_some() {
            return Err("exec hooks are not supported by this runtime".into());
        }
        Ok(())
    }
}
