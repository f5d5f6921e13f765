//! What a new pod task believes at first: what the pod's status says, for a pod that an earlier agent had.

use amphipod_runtime::{ContainerId, Exit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::slot::{Ended, Phase, Slot, slots_of};

/// Ended containers stay ended; those that ran have ended with the agent that had them.
pub fn adopt(pod: &Pod, now: Timestamp) -> Vec<Slot> {
    let mut slots = pod.spec.as_ref().map(slots_of).unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let known =
        status.init_container_statuses.into_iter().flatten().chain(status.container_statuses.into_iter().flatten());
    for status in known {
        if let Some(slot) = slots.iter_mut().find(|slot| slot.name == status.name) {
            resume(slot, status, now);
        }
    }
    slots
}

fn resume(slot: &mut Slot, status: ContainerStatus, now: Timestamp) {
    slot.restart_count = u32::try_from(status.restart_count).unwrap_or(0);
    slot.last = status.last_state.and_then(|state| state.terminated).map(|state| ended(state, now));
    let state = status.state.unwrap_or_default();
    if let Some(terminated) = state.terminated {
        slot.phase = Phase::Exited(ended(terminated, now));
    } else if let (Some(running), Some(id)) = (state.running, status.container_id) {
        let started_at = running.started_at.map_or(now, |time| time.0);
        let (reason, message) = (
            "ContainerStatusUnknown".to_owned(),
            "The container could not be located when the node agent started".to_owned(),
        );
        let exit = Exit { code: 137, reason, message, started_at, finished_at: now };
        slot.phase = Phase::Exited(Ended { id: ContainerId(id), exit });
    }
}

/// As [`adopt`], but what ran runs on: `resume` is told of each such run and says whether it could.
pub fn resume_all(pod: &Pod, now: Timestamp, resume: impl Fn(&Slot, &ContainerId, Timestamp) -> bool) -> Vec<Slot> {
    let mut slots = adopt(pod, now);
    let status = pod.status.iter();
    let known =
        status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten());
    for status in known {
        let running = status.state.as_ref().and_then(|state| state.running.as_ref());
        let (Some(running), Some(id)) = (running, &status.container_id) else { continue };
        let (id, started_at) = (ContainerId(id.clone()), running.started_at.as_ref().map_or(now, |time| time.0));
        if let Some(slot) = slots.iter_mut().find(|slot| slot.name == status.name)
            && resume(slot, &id, started_at)
        {
            slot.phase = Phase::Running { id, started_at, stopping: false };
            (slot.started, slot.ready) = (true, true);
        }
    }
    slots
}

fn ended(state: ContainerStateTerminated, now: Timestamp) -> Ended {
    let time = |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.map_or(now, |time| time.0);
    let exit = Exit {
        code: state.exit_code,
        reason: state.reason.unwrap_or_default(),
        message: state.message.unwrap_or_default(),
        started_at: time(state.started_at),
        finished_at: time(state.finished_at),
    };
    Ended { id: ContainerId(state.container_id.unwrap_or_default()), exit }
}
