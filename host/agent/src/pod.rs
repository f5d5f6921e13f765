//! One task owns one pod, from its first sight on this node until it is gone: it asks `plan.rs` what to do, lets jobs do
//! it, and sends what `status.rs` says.
//!
//! ```text
//!  Event ─► absorb (slots) ─► plan ─► actions: start | stop jobs ─► Event
//!                         └─► status ─ differs from what the API has ─► one patch at a time
//!  deleted: stop all ─► last status ─► DELETE with grace 0 ─► gone from the watch ─► cleaned up
//! ```

// tidy: long because one task owns one pod, and its steps are read in order

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use amphipod_net::services::port_number;
use amphipod_runtime::{ContainerId, Exit, Observed, PodName, Sandbox, State};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::adopt::adopt;
use crate::backoff::after;
use crate::events::{PodEvents, Severity};
use crate::host::Host;
use crate::plan::{self, Action, plan};
use crate::probes::{self, Kind, Probed};
use crate::serve::Shown;
use crate::slot::{Ended, Phase, RestartPolicy, Role, Slot, Waiting, containers_of};
use crate::start::{self, Outcome, Retry};
use crate::status::{Facts, OWNED, status};
use crate::stop;

/// A pod that is only being created keeps its first report this long: most are running by then, and one write is saved.
const FIRST_REPORT: Duration = Duration::from_millis(30);
/// A refused status is sent again after this.
const SEND_AGAIN: Duration = Duration::from_secs(1);
/// `ErrImagePull` turns into `ImagePullBackOff` after this.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);
/// How often something that only a person can mend is looked at again.
const RARELY: Duration = Duration::from_secs(300);
/// Verdicts of probes that wait to be absorbed.
const PROBED_MAX: usize = 64;

/// All that can happen to a pod.
enum Event {
    Spec,
    Gone,
    Observed,
    Started(usize, Outcome),
    Stopped(usize, amphipod_runtime::Result<()>),
    Sent(Value, kube::Result<()>),
    Deleted(kube::Result<()>),
    Probed(Probed),
    Timer,
}

/// What the agent tells the task; the newest wins.
pub struct Inputs {
    pub pod: watch::Receiver<Option<Arc<Pod>>>,
    pub observed: watch::Receiver<Arc<Vec<Observed>>>,
}

pub struct Task {
    host: Arc<Host>,
    inputs: Inputs,
    pod: Arc<Pod>,
    name: PodName,
    slots: Vec<Slot>,
    events: PodEvents,
    sandbox: Option<Arc<Sandbox>>,
    /// Its address, even after the sandbox is gone.
    ip: Option<Ipv4Addr>,
    start_time: Timestamp,
    first_report: Timestamp,
    ended: Option<(String, String)>,
    finished: bool,
    gone: bool,
    seen: HashSet<ContainerId>,
    /// The status that the API has, as far as we know.
    known: Value,
    sending: bool,
    send_after: Timestamp,
    deleting: bool,
    jobs: JoinSet<Event>,
    probes: HashMap<usize, JoinSet<()>>,
    probed: (mpsc::Sender<Probed>, mpsc::Receiver<Probed>),
    shown: Arc<Shown>,
}

impl Task {
    pub fn new(host: Arc<Host>, pod: Arc<Pod>, inputs: Inputs) -> Self {
        let meta = &pod.metadata;
        let [namespace, name, uid] =
            [&meta.namespace, &meta.name, &meta.uid].map(|text| text.clone().unwrap_or_default());
        let name = PodName { namespace, name, uid };
        let now = Timestamp::now();
        let before = pod.status.clone().unwrap_or_default();
        let shown = Arc::new(Shown::new(&host, &pod, &name));
        host.shown.lock().insert(name.uid.clone(), shown.clone());
        Self {
            slots: adopt(&pod, now),
            events: PodEvents::new(host.options.events.clone(), &pod),
            sandbox: None,
            ip: None,
            start_time: before.start_time.map_or(now, |time| time.0),
            first_report: after(now, FIRST_REPORT),
            ended: before
                .reason
                .filter(|_| before.phase.as_deref() == Some("Failed"))
                .map(|reason| (reason, before.message.unwrap_or_default())),
            finished: matches!(before.phase.as_deref(), Some("Failed" | "Succeeded")),
            gone: false,
            seen: HashSet::new(),
            known: pod.status.as_ref().and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default(),
            sending: false,
            send_after: now,
            deleting: false,
            jobs: JoinSet::new(),
            probes: HashMap::new(),
            probed: mpsc::channel(PROBED_MAX),
            shown,
            host,
            inputs,
            pod,
            name,
        }
    }

    /// Until the pod is gone and nothing of it is left.
    pub async fn run(mut self) {
        self.make_sandbox();
        self.absorb_observed();
        loop {
            let now = Timestamp::now();
            let wake = self.step(now);
            if self.gone && self.finished {
                break;
            }
            let event = self.next(wake, now).await;
            self.absorb(event);
        }
        self.clean_up().await;
    }

    async fn next(&mut self, wake: Option<Timestamp>, now: Timestamp) -> Event {
        let wait = wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO));
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.inputs.pod.changed(), if !self.gone => match changed {
                Ok(()) => Event::Spec,
                Err(_) => Event::Gone,
            },
            Ok(()) = self.inputs.observed.changed() => Event::Observed,
            Some(done) = self.jobs.join_next() => done.unwrap_or(Event::Timer),
            Some(probed) = self.probed.1.recv() => Event::Probed(probed),
            () = timer => Event::Timer,
        }
    }

    fn absorb(&mut self, event: Event) {
        match event {
            Event::Spec => match self.inputs.pod.borrow_and_update().clone() {
                Some(pod) => self.pod = pod,
                None => self.gone = true,
            },
            Event::Gone => self.gone = true,
            Event::Observed => self.absorb_observed(),
            Event::Started(index, outcome) => self.absorb_start(index, outcome),
            Event::Stopped(index, Err(error)) => self.lost(index, &error.to_string()),
            Event::Stopped(_, Ok(())) => {}
            Event::Sent(sent, result) => self.absorb_sent(sent, result),
            Event::Deleted(result) => self.absorb_deleted(result),
            Event::Probed(probed) => self.absorb_probe(probed),
            Event::Timer => {}
        }
    }

    /// Plans and acts, reports what changed. Returns when to look again at the latest.
    fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = self.deadline(now);
        let policy = self.policy();
        if !self.finished {
            self.show_pull_back_off(now, &mut wake);
            let plan = plan(plan::Pod { slots: &self.slots, policy, ending: self.ending() }, now);
            wake = earliest(wake, plan.wake);
            for action in plan.actions {
                match action {
                    Action::Start(index) => self.start(index, now),
                    Action::Stop(index) => self.stop(index, None),
                    Action::Finish => self.finish(),
                }
            }
        }
        self.shown.update(&self.slots);
        earliest(wake, self.report(now))
    }

    fn policy(&self) -> RestartPolicy {
        self.pod.spec.as_ref().map_or(RestartPolicy::Always, RestartPolicy::of)
    }

    fn ending(&self) -> bool {
        self.gone || self.ended.is_some() || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn deadline(&mut self, now: Timestamp) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let due = after(self.start_time, Duration::from_secs(seconds.max(0).unsigned_abs()));
        if self.finished || self.ended.is_some() {
            return None;
        }
        if now < due {
            return Some(due);
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.events.pod(Severity::Normal, "DeadlineExceeded", message);
        self.ended = Some(("DeadlineExceeded".into(), message.into()));
        None
    }

    fn container(&self, index: usize) -> Option<(Role, Container)> {
        containers_of(self.pod.spec.as_ref()?).nth(index).map(|(role, container)| (role, container.clone()))
    }

    fn path_of(role: Role, name: &str) -> String {
        let list = if role == Role::Main { "containers" } else { "initContainers" };
        format!("spec.{list}{{{name}}}")
    }

    fn make_sandbox(&mut self) {
        if self.finished {
            return;
        }
        let network = &self.host.options.network;
        let wanted = self.pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse::<Ipv4Addr>().ok());
        let on_host = self.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let allocated = if on_host { Ok(network.options().node_ip) } else { network.allocate(&self.name.uid, wanted) };
        let ip = match allocated {
            Ok(ip) => ip,
            Err(error) => {
                self.events.pod(
                    Severity::Warning,
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {error}"),
                );
                self.ended = Some(("OutOfAddresses".into(), error.to_string()));
                return;
            }
        };
        self.ip = Some(ip);
        let mut listeners = BTreeMap::new();
        for port in self.pod.spec.as_ref().map(ports).unwrap_or_default() {
            match network.listen(ip, port) {
                Ok(listener) => _ = listeners.insert(port, Arc::new(listener)),
                Err(error) => {
                    let message = format!("Cannot listen on {ip}:{port} ({error}); Services and probes still reach it");
                    self.events.pod(Severity::Warning, "PortUnavailable", message);
                }
            }
        }
        let spec = self.pod.spec.as_ref();
        let hostname = spec.and_then(|spec| spec.hostname.clone()).unwrap_or_else(|| self.name.name.clone());
        let log_directory = self.shown.log_directory.clone();
        self.sandbox =
            Some(Arc::new(Sandbox { pod: self.name.clone(), ip: IpAddr::V4(ip), hostname, log_directory, listeners }));
    }

    fn start(&mut self, index: usize, now: Timestamp) {
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
            container,
            sandbox,
            told,
        };
        self.jobs.spawn(async move { Event::Started(index, start::start(job).await) });
    }

    fn absorb_start(&mut self, index: usize, outcome: Outcome) {
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
                slot.begin(id, image, at);
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
                    Retry::Container => after(now, Duration::from_secs(2)),
                    Retry::Rarely => after(now, RARELY),
                };
                slot.fail(Waiting { reason, message, retry_at });
            }
        }
    }

    /// A container of an earlier run is of no more use: its end is in the status, its log in a file.
    fn forget(&mut self, id: ContainerId) {
        if let Some(runtime) = self.host.runtime_of(&id) {
            self.jobs.spawn(async move {
                // What cannot be removed now goes with the runtime.
                let _ = runtime.remove(&id).await;
                Event::Timer
            });
        }
    }

    /// `why` is set when the agent itself decides, for a failed probe.
    fn stop(&mut self, index: usize, why: Option<(String, Option<i64>)>) {
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
        self.probes.remove(&index);
        self.jobs.spawn(async move { Event::Stopped(index, stop::stop(job).await) });
    }

    fn absorb_observed(&mut self) {
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

    fn lost(&mut self, index: usize, message: &str) {
        let Phase::Running { id, started_at, .. } = self.slots[index].phase.clone() else { return };
        let (reason, message, finished_at) =
            ("ContainerStatusUnknown".to_owned(), message.to_owned(), Timestamp::now());
        self.end(index, Ended { id, exit: Exit { code: 137, reason, message, started_at, finished_at } });
    }

    fn end(&mut self, index: usize, ended: Ended) {
        self.probes.remove(&index);
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

    fn show_pull_back_off(&mut self, now: Timestamp, wake: &mut Option<Timestamp>) {
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

    fn watch_probes(&mut self, index: usize) {
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

    fn absorb_probe(&mut self, probed: Probed) {
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

    fn show_serving(&self) {
        let Some(sandbox) = &self.sandbox else { return };
        let running = self.slots.iter().filter_map(Slot::running);
        let serving = running.filter_map(|id| Some((self.host.runtime_of(id)?, id.clone()))).collect();
        self.host.set_serving(sandbox.ip, serving);
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(sandbox) = &self.sandbox {
            self.host.set_serving(sandbox.ip, Vec::new());
        }
        self.sandbox = None;
        self.host.options.network.release(&self.name.uid);
    }

    /// Sends the status when it differs; deletes the object once all has ended and that is known.
    fn report(&mut self, now: Timestamp) -> Option<Timestamp> {
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
        let Some(patch) = crate::patch::difference(&self.known, &wanted) else {
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
            Event::Sent(wanted, sent.map(|_| ()))
        });
        None
    }

    /// The pod as the API has it: the watch may not have brought back yet what was sent.
    fn basis(&self) -> Pod {
        let mut pod = (*self.pod).clone();
        if let Ok(mut known) = serde_json::from_value::<PodStatus>(self.known.clone()) {
            let owned = |condition: &PodCondition| OWNED.contains(&condition.type_.as_str());
            let others = pod.status.take().and_then(|status| status.conditions).unwrap_or_default();
            let conditions = known.conditions.get_or_insert_default();
            conditions.retain(owned);
            conditions.extend(others.into_iter().filter(|condition| !owned(condition)));
            pod.status = Some(known);
        }
        pod
    }

    fn absorb_sent(&mut self, sent: Value, result: kube::Result<()>) {
        self.sending = false;
        match result {
            Ok(()) => self.known = sent,
            // Another pod has the name, or none: the watch will say so.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.send_after = after(Timestamp::now(), SEND_AGAIN)
            }
            Err(error) => {
                tracing::warn!(pod = %self.name.name, namespace = %self.name.namespace, %error, "the status could not be sent");
                self.send_after = after(Timestamp::now(), SEND_AGAIN);
            }
        }
    }

    fn delete(&mut self) {
        self.deleting = true;
        let api = Api::<Pod>::namespaced(self.host.options.client.clone(), &self.name.namespace);
        let (name, uid) = (self.name.name.clone(), self.name.uid.clone());
        self.jobs.spawn(async move {
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
            let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
            Event::Deleted(api.delete(&name, &parameters).await.map(|_| ()))
        });
    }

    fn absorb_deleted(&mut self, result: kube::Result<()>) {
        match result {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => {
                tracing::warn!(pod = %self.name.name, %error, "the pod could not be deleted");
                self.deleting = false;
                self.send_after = after(Timestamp::now(), SEND_AGAIN);
            }
        }
    }

    async fn clean_up(self) {
        self.host.shown.lock().remove(&self.name.uid);
        self.host.options.network.release(&self.name.uid);
        let ids: Vec<ContainerId> = self.slots.iter().flat_map(Slot::ids).cloned().collect();
        for id in ids {
            if let Some(runtime) = self.host.runtime_of(&id) {
                // What cannot be removed now goes with the runtime.
                let _ = runtime.remove(&id).await;
            }
        }
        for directory in [self.shown.log_directory.clone(), crate::volumes::directory(&self.host, &self.name.uid)] {
            // A pod without logs or volumes has no such directory.
            let _ = tokio::fs::remove_dir_all(directory).await;
        }
    }
}

/// TCP ports that containers of the pod serve: those declared, else 8080.
fn ports(spec: &PodSpec) -> HashSet<u16> {
    let declared = containers_of(spec).flat_map(|(_, container)| container.ports.iter().flatten());
    let tcp = declared.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    let number =
        |port: i32| port_number(&k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port), |_| None);
    let ports: HashSet<u16> = tcp.filter_map(|port| number(port.container_port)).collect();
    if ports.is_empty() { HashSet::from([8080]) } else { ports }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
