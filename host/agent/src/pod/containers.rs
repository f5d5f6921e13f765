//! The containers of a pod as they start, run and end: jobs go out, what they bring back changes the slots.

use std::sync::Arc;
use std::time::Duration;

use amphipod_runtime::{ContainerId, Exit, PodName, State};
use jiff::{SignedDuration, Timestamp};

use super::{Event, Task, earliest};
use crate::backoff::after;
use crate::events::Severity;
use crate::probes::{self, Kind, Probed};
use crate::slot::{Ended, Phase, Role, Waiting};
use crate::start::{self, Outcome, Retry};
use crate::{messages, stop};

/// `ErrImagePull` turns into `ImagePullBackOff` after this.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);
/// A start that failed for a reason that may pass is tried again after this.
const START_AGAIN: Duration = Duration::from_secs(2);
/// How often something that only a person can mend is looked at again.
const RARELY: Duration = Duration::from_secs(300);

impl Task {
    pub(super) fn start(&mut self, index: usize, now: Timestamp) {
        let (Some((role, container)), Some(sandbox)) = (self.container(index), self.sandbox.clone()) else { return };
        let slot = &mut self.slots[index];
        if matches!(slot.phase, Phase::Exited(_)) {
            slot.restarts.grow(now);
        }
        slot.busy = true;
        let told = match &slot.phase {
            Phase::Waiting(Some(waiting)) => Some(waiting.message.clone()),
            _ => None,
        };
        let job = start::Job {
            host: self.host.clone(),
            pod: self.pod.clone(),
            path: Self::path_of(role, &container.name),
            restart_count: slot.next_restart_count(),
            events: self.events.clone(),
            given_up: self.winding_down.clone(),
            container,
            sandbox,
            told,
        };
        self.jobs.spawn(async move { Event::Started(index, start::start(job).await) });
    }

    pub(super) fn absorb_start(&mut self, index: usize, outcome: Outcome) {
        let now = Timestamp::now();
        let slot = &mut self.slots[index];
        match outcome {
            Outcome::Started { id, image, at } => {
                let old = slot.last.take();
                let older = match &slot.phase {
                    Phase::Exited(ended) => Some(ended.id.clone()),
                    _ => old.as_ref().map(|ended| ended.id.clone()),
                };
                slot.last = old;
                slot.begin(id, Some(image), at);
                if let Some(older) = older {
                    self.forget(older);
                }
                self.watch_probes(index);
                self.show_serving();
                self.absorb_observed();
            }
            Outcome::Failed { reason, message, retry } => {
                let retry_at = match retry {
                    Retry::Pull => {
                        slot.pulls.grow(now);
                        slot.pulls.due(now)
                    }
                    Retry::Soon => after(now, START_AGAIN),
                    Retry::Rarely => after(now, RARELY),
                };
                slot.fail(Waiting { reason, message, retry_at });
            }
        }
    }

    /// A container of an earlier run is of no more use: its end is in the status, its log in a file.
    pub(super) fn forget(&mut self, id: ContainerId) {
        if let Some(runtime) = self.host.runtime_of(&id) {
            self.jobs.spawn(async move {
                // What cannot be removed now goes with the runtime.
                let _ = runtime.remove(&id).await;
                Event::Timer
            });
        }
    }

    /// `why` is set when the agent itself decides, for a failed probe.
    pub(super) fn stop(&mut self, index: usize, why: Option<(String, Option<i64>)>) {
        let Some((role, container)) = self.container(index) else { return };
        let Phase::Running { id, stopping, .. } = &mut self.slots[index].phase else { return };
        if std::mem::replace(stopping, true) {
            return;
        }
        let (message, probe_grace) = why.unwrap_or_else(|| (format!("Stopping container {}", container.name), None));
        let path = Self::path_of(role, &container.name);
        self.events.container(&path, Severity::Normal, "Killing", message);
        let Some(runtime) = self.host.runtime_of(id) else { return };
        let deleted = self.pod.metadata.deletion_grace_period_seconds;
        let seconds =
            probe_grace.or(deleted).or_else(|| self.pod.spec.as_ref()?.termination_grace_period_seconds).unwrap_or(30);
        let grace = Duration::from_secs(seconds.max(0).unsigned_abs());
        let job = stop::Job { runtime, id: id.clone(), container, grace, path, events: self.events.clone() };
        self.stops.insert(index, after(Timestamp::now(), grace));
        self.probes.remove(&index);
        self.jobs.spawn(async move { Event::Stopped(index, stop::stop(job).await) });
    }

    /// A deletion with a shorter grace overtakes the stop that is under way, and its hook.
    pub(super) fn hasten(&mut self) {
        let Some(seconds) = self.pod.metadata.deletion_grace_period_seconds else { return };
        let grace = Duration::from_secs(seconds.max(0).unsigned_abs());
        let by = after(Timestamp::now(), grace);
        for index in 0..self.slots.len() {
            let Some(id) = self.slots[index].running().cloned() else { continue };
            if self.stops.get(&index).is_none_or(|known| *known <= by) {
                continue;
            }
            self.stops.insert(index, by);
            if let Some(runtime) = self.host.runtime_of(&id) {
                self.jobs.spawn(async move { Event::Stopped(index, runtime.stop(&id, grace).await) });
            }
        }
    }

    pub(super) fn absorb_observed(&mut self) {
        let observed = self.inputs.observed.borrow_and_update().clone();
        for index in 0..self.slots.len() {
            let Some(id) = self.slots[index].running().cloned() else { continue };
            match observed.iter().find(|one| one.id == id).map(|one| &one.state) {
                Some(State::Running { .. }) => _ = self.seen.insert(id),
                Some(State::Exited(exit)) => self.end(index, Ended { id, exit: exit.clone() }),
                None if self.seen.contains(&id) => self.lost(index, "The container could not be located"),
                None => {}
            }
        }
    }

    pub(super) fn lost(&mut self, index: usize, message: &str) {
        let Phase::Running { id, started_at, .. } = self.slots[index].phase.clone() else { return };
        let (reason, message, finished_at) =
            ("ContainerStatusUnknown".to_owned(), message.to_owned(), Timestamp::now());
        self.end(index, Ended { id, exit: Exit { code: 137, reason, message, started_at, finished_at } });
    }

    pub(super) fn end(&mut self, index: usize, mut ended: Ended) {
        self.probes.remove(&index);
        self.stops.remove(&index);
        if let Some((_, container)) = self.container(index) {
            let volumes = crate::volumes::directory(&self.host.options.data_dir, &self.name.uid);
            let logs = self.shown.log_directory.clone();
            let run = messages::Run { volumes, logs, container: &container, number: self.slots[index].restart_count };
            run.complete(&mut ended.exit);
        }
        self.slots[index].end(ended.clone());
        self.show_serving();
        let again = !self.ending() && self.slots[index].restarts_after(&ended.exit, self.policy());
        let in_back_off = self.slots[index].restarts.due(ended.exit.finished_at) > Timestamp::now();
        if let (true, true, Some((role, container))) = (again, in_back_off, self.container(index)) {
            let PodName { namespace, name, uid } = &self.name;
            let message =
                format!("Back-off restarting failed container {} in pod {name}_{namespace}({uid})", container.name);
            self.events.container(&Self::path_of(role, &container.name), Severity::Warning, "BackOff", message);
        }
    }

    pub(super) fn show_pull_back_off(&mut self, now: Timestamp, wake: &mut Option<Timestamp>) {
        for index in 0..self.slots.len() {
            let delay = SignedDuration::try_from(self.slots[index].pulls.delay()).unwrap_or(SignedDuration::ZERO);
            let Phase::Waiting(Some(waiting)) = &mut self.slots[index].phase else { continue };
            if waiting.reason != "ErrImagePull" {
                continue;
            }
            let due =
                waiting.retry_at.checked_sub(delay).and_then(|at| at.checked_add(PULL_ERROR_SHOWN)).unwrap_or(now);
            if now < due {
                *wake = earliest(*wake, Some(due));
                continue;
            }
            let error = std::mem::take(&mut waiting.message);
            waiting.reason = "ImagePullBackOff";
            let Some((role, container)) = self.container(index) else { continue };
            let said = format!("Back-off pulling image {:?}", container.image.as_deref().unwrap_or_default());
            let path = Self::path_of(role, &container.name);
            self.events.container(&path, Severity::Normal, "BackOff", said.clone());
            self.events.container(&path, Severity::Warning, "Failed", "Error: ImagePullBackOff");
            if let Phase::Waiting(Some(waiting)) = &mut self.slots[index].phase {
                waiting.message = format!("{said}: ErrImagePull: {error}");
            }
        }
    }

    pub(super) fn watch_probes(&mut self, index: usize) {
        let Some((role, container)) = self.container(index) else { return };
        let Some(id) = self.slots[index].running().cloned() else { return };
        let probed = role != Role::Init;
        self.slots[index].started = !(probed && container.startup_probe.is_some());
        self.slots[index].ready = !(probed && container.readiness_probe.is_some());
        let (Some(runtime), Some(sandbox), true) = (self.host.runtime_of(&id), &self.sandbox, probed) else { return };
        let subject = probes::Subject { runtime, id, slot: index, ip: sandbox.ip, container: Arc::new(container) };
        let events = (self.events.clone(), Self::path_of(role, &subject.container.name));
        let tasks = probes::watch(subject, events, self.probed.0.clone());
        self.probes.insert(index, tasks);
    }

    pub(super) fn absorb_probe(&mut self, probed: Probed) {
        let slot = &mut self.slots[probed.slot];
        if slot.running() != Some(&probed.id) {
            return;
        }
        match (probed.kind, probed.healthy) {
            (Kind::Startup, true) => slot.started = true,
            (Kind::Readiness, healthy) => slot.ready = healthy,
            (Kind::Liveness, true) => {}
            (kind, false) => {
                let message = format!("Container {} failed {} probe, will be restarted", slot.name, kind.name());
                self.stop(probed.slot, Some((message, probed.grace_seconds)));
            }
        }
    }
}
