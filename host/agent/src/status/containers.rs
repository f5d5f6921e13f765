//! `containerStatuses`: what each slot shows.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, PodSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::backoff::go_duration;
use crate::slot::{Ended, Phase, RestartPolicy, Role, Slot, containers_of};

pub struct View<'a> {
    pub spec: &'a PodSpec,
    pub slots: &'a [Slot],
    /// `name_namespace(uid)`
    pub label: String,
    pub policy: RestartPolicy,
    pub ending: bool,
    pub now: Timestamp,
}

impl View<'_> {
    pub fn statuses(&self, wanted: impl Fn(Role) -> bool) -> Vec<ContainerStatus> {
        let pairs = containers_of(self.spec).zip(self.slots).filter(|(_, slot)| wanted(slot.role));
        pairs.map(|((_, container), slot)| self.one(container.image.as_deref().unwrap_or_default(), slot)).collect()
    }

    fn one(&self, image: &str, slot: &Slot) -> ContainerStatus {
        let (state, last_state, id) = self.states(slot);
        let running = slot.running().is_some();
        let ready = match slot.role {
            Role::Init => slot.initialized(),
            Role::Main | Role::Sidecar => running && slot.started && slot.ready,
        };
        ContainerStatus {
            name: slot.name.clone(),
            image: image.to_owned(),
            image_id: slot.image.as_ref().map(|image| image.id.clone()).unwrap_or_default(),
            container_id: id,
            ready,
            started: Some(running && slot.started),
            restart_count: i32::try_from(slot.restart_count).unwrap_or(i32::MAX),
            state: Some(state),
            last_state: Some(last_state),
            ..ContainerStatus::default()
        }
    }

    fn states(&self, slot: &Slot) -> (ContainerState, ContainerState, Option<String>) {
        let last = slot.last.as_ref().map(terminated).unwrap_or_default();
        let last_id = slot.last.as_ref().map(|ended| ended.id.0.clone());
        match &slot.phase {
            Phase::Running { id, started_at, .. } => {
                let running = ContainerStateRunning { started_at: Some(Time(*started_at)) };
                let state = ContainerState { running: Some(running), ..ContainerState::default() };
                (state, last, Some(id.0.clone()))
            }
            Phase::Waiting(Some(why)) => (waiting(why.reason, &why.message), last, last_id),
            Phase::Waiting(None) => (waiting(self.default_reason(slot), ""), last, last_id),
            Phase::Exited(ended) => {
                let id = Some(ended.id.0.clone());
                let again = !self.ending && slot.restarts_after(&ended.exit, self.policy);
                if again && slot.restarts.due(ended.exit.finished_at) > self.now {
                    (waiting("CrashLoopBackOff", &self.back_off_message(slot)), terminated(ended), id)
                } else {
                    (terminated(ended), last, id)
                }
            }
        }
    }

    fn default_reason(&self, slot: &Slot) -> &'static str {
        let inits_left = self.slots.iter().any(|other| other.role != Role::Main && !other.initialized());
        let has_inits = self.slots.iter().any(|other| other.role != Role::Main);
        match slot.role {
            Role::Main if has_inits && inits_left => "PodInitializing",
            Role::Main => "ContainerCreating",
            _ if has_inits => "PodInitializing",
            _ => "ContainerCreating",
        }
    }

    fn back_off_message(&self, slot: &Slot) -> String {
        let wait = go_duration(slot.restarts.delay());
        format!("back-off {wait} restarting failed container={} pod={}", slot.name, self.label)
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = Some(message.to_owned()).filter(|message| !message.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(ended: &Ended) -> ContainerState {
    let exit = &ended.exit;
    let terminated = ContainerStateTerminated {
        container_id: Some(ended.id.0.clone()),
        exit_code: exit.code,
        reason: Some(exit.reason.clone()),
        message: Some(exit.message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(Time(exit.started_at)),
        finished_at: Some(Time(exit.finished_at)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}
