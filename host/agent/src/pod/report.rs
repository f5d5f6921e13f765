//! A pod's status on its way to the API, and the end of its object.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::Value;

use super::{Event, Task};
use crate::backoff::after;
use crate::slot::Phase;
use crate::status::{Facts, OWNED, status};

/// A refused status is sent again after this.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// The status that the API has, as far as we know. Ours that comes back changes nothing, another writer's does: then it
/// differs from what we want, and is sent again.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// In our own form.
    status: Value,
    /// As the API keeps it.
    stored: Value,
    /// When it was stored; `None` where versions are no numbers.
    version: Option<u64>,
}

impl Known {
    pub(super) fn new(pod: &Pod) -> Self {
        let stored = stored(pod);
        Self { status: stored.clone(), stored, version: version(pod) }
    }

    /// The watch brought this.
    pub(super) fn see(&mut self, pod: &Pod) {
        let newer = version(pod).is_some_and(|new| self.version.is_none_or(|known| new > known));
        if !newer {
            return;
        }
        self.version = version(pod);
        let stored = stored(pod);
        if stored != self.stored {
            self.status = stored.clone();
            self.stored = stored;
        }
    }

    /// `sent` was written, with this result.
    fn sent(&mut self, sent: Value, pod: &Pod) {
        if version(pod) >= self.version {
            *self = Self { status: sent, stored: stored(pod), version: version(pod) };
        }
    }
}

fn stored(pod: &Pod) -> Value {
    pod.status.as_ref().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default()
}

fn version(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_ref()?.parse().ok()
}

impl Task {
    /// Sends the status when it differs; deletes the object once all has ended and that is known.
    pub(super) fn report(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.gone || self.sending || self.deleting {
            return None;
        }
        if now < self.send_after {
            return Some(self.send_after);
        }
        let pod_ip = self.ip.map(IpAddr::V4);
        let stopped = self.finished && self.pod.metadata.deletion_timestamp.is_some();
        let facts = Facts {
            host_ip: self.host.node_ip(),
            pod_ip,
            start_time: self.start_time,
            ended: self.ended.clone(),
            stopped,
            now,
        };
        let wanted = serde_json::to_value(status(&self.basis(), &self.slots, &facts)).unwrap_or_default();
        let Some(patch) = crate::patch::difference(&self.known.status, &wanted) else {
            if stopped {
                self.delete();
            }
            return None;
        };
        let creating = self.slots.iter().any(|slot| slot.busy)
            && self.slots.iter().all(|slot| !matches!(slot.phase, Phase::Waiting(Some(_))));
        if creating && now < self.first_report {
            return Some(self.first_report);
        }
        self.sending = true;
        let api = Api::<Pod>::namespaced(self.host.options.client.clone(), &self.name.namespace);
        let (name, uid) = (self.name.name.clone(), self.name.uid.clone());
        self.jobs.spawn(async move {
            let body = serde_json::json!({ "metadata": { "uid": uid }, "status": patch });
            let sent = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(body)).await;
            Event::Sent(wanted, sent.map(Box::new))
        });
        None
    }

    /// The pod as the API has it: the watch may not have brought back yet what was sent.
    pub(super) fn basis(&self) -> Pod {
        let mut pod = (*self.pod).clone();
        if let Ok(mut known) = serde_json::from_value::<PodStatus>(self.known.status.clone()) {
            let owned = |condition: &PodCondition| OWNED.contains(&condition.type_.as_str());
            let others = pod.status.take().and_then(|status| status.conditions).unwrap_or_default();
            let conditions = known.conditions.get_or_insert_default();
            conditions.retain(owned);
            conditions.extend(others.into_iter().filter(|condition| !owned(condition)));
            pod.status = Some(known);
        }
        pod
    }

    pub(super) fn absorb_sent(&mut self, sent: Value, result: kube::Result<Box<Pod>>) {
        self.sending = false;
        match result {
            Ok(pod) => self.known.sent(sent, &pod),
            // Another pod has the name, or none: the watch will say so.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.send_after = after(Timestamp::now(), SEND_AGAIN)
            }
            Err(error) => {
                tracing::warn!(pod = %self.name.name, namespace = %self.name.namespace, error = %amphipod_api::said(&error), "the status could not be sent");
                self.send_after = after(Timestamp::now(), SEND_AGAIN);
            }
        }
    }

    pub(super) fn delete(&mut self) {
        self.deleting = true;
        let api = Api::<Pod>::namespaced(self.host.options.client.clone(), &self.name.namespace);
        let (name, uid) = (self.name.name.clone(), self.name.uid.clone());
        self.jobs.spawn(async move {
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
            let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
            Event::Deleted(api.delete(&name, &parameters).await.map(|_| ()))
        });
    }

    pub(super) fn absorb_deleted(&mut self, result: kube::Result<()>) {
        match result {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => {
                tracing::warn!(pod = %self.name.name, error = %amphipod_api::said(&error), "the pod could not be deleted");
                self.deleting = false;
                self.send_after = after(Timestamp::now(), SEND_AGAIN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(version: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"resourceVersion": version}, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn only_another_writers_status_is_news() {
        let ours = json!({"phase": "Running", "ours": true});
        let mut known = Known::new(&pod("1", "Pending"));
        known.sent(ours.clone(), &pod("3", "Running"));
        known.see(&pod("2", "Pending"));
        assert_eq!(known.status, ours, "older than what we wrote");
        known.see(&pod("3", "Running"));
        known.see(&pod("4", "Running"));
        assert_eq!(known.status, ours, "what we wrote comes back");
        known.see(&pod("5", "Failed"));
        assert_eq!(known.status, json!({"phase": "Failed"}));
        known.sent(ours.clone(), &pod("4", "Running"));
        assert_eq!(known.status, json!({"phase": "Failed"}), "it was overwritten before we heard that it was written");
        known.see(&pod("none", "Running"));
        assert_eq!(known.status, json!({"phase": "Failed"}));
    }
}
