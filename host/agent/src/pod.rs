//! One task owns one pod, from its first sight on this node until it is gone: it asks `plan.rs` what to do, lets jobs do
//! it, and sends what `status.rs` says.
//!
//! ```text
//!  Event ─► absorb (slots) ─► plan ─► actions: start | stop jobs ─► Event
//!                         └─► status ─ differs from what the API has ─► one patch at a time
//!  deleted: stop all ─► last status ─► DELETE with grace 0 ─► gone from the watch ─► cleaned up
//! ```
//! `containers.rs` starts and ends them, `sandbox.rs` is what they share, `report.rs` tells the API.

mod containers;
mod report;
mod sandbox;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use amphipod_runtime::{ContainerId, Observed, PodName, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adopt::adopt;
use crate::backoff::after;
use crate::events::{PodEvents, Severity};
use crate::host::Host;
use crate::plan::{self, Action, plan};
use crate::probes::Probed;
use crate::serve::Shown;
use crate::slot::{RestartPolicy, Role, Slot, containers_of};
use crate::start::Outcome;

use report::Known;

/// A pod that is only being created keeps its first report this long: most are running by then, and one write is saved.
const FIRST_REPORT: Duration = Duration::from_millis(30);
/// Verdicts of probes that wait to be absorbed.
const PROBED_MAX: usize = 64;

/// All that can happen to a pod.
enum Event {
    Spec(Option<Arc<Pod>>),
    Gone,
    Observed,
    Started(usize, Outcome),
    Stopped(usize, amphipod_runtime::Result<()>),
    /// What was sent, and the pod as the API then had it.
    Sent(Value, kube::Result<Box<Pod>>),
    Deleted(kube::Result<()>),
    /// The tokens that its volumes hold.
    Renewed(Result<(), String>),
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
    known: Known,
    sending: bool,
    send_after: Timestamp,
    deleting: bool,
    /// When mounted tokens are renewed next.
    tokens_due: Option<Timestamp>,
    renewing: bool,
    jobs: JoinSet<Event>,
    /// When each container that was asked to end is killed.
    stops: HashMap<usize, Timestamp>,
    /// Cancelled when no container is wanted any more: pulls are given up.
    winding_down: CancellationToken,
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
            known: Known::new(&pod),
            sending: false,
            send_after: now,
            deleting: false,
            tokens_due: None,
            renewing: false,
            jobs: JoinSet::new(),
            stops: HashMap::new(),
            winding_down: CancellationToken::new(),
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
                Ok(()) => Event::Spec(self.inputs.pod.borrow_and_update().clone()),
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
            Event::Spec(pod) => match pod {
                Some(pod) => {
                    self.known.see(&pod);
                    self.pod = pod;
                    self.hasten();
                }
                None => self.gone = true,
            },
            Event::Gone => self.gone = true,
            Event::Observed => self.absorb_observed(),
            Event::Started(index, outcome) => self.absorb_start(index, outcome),
            Event::Stopped(index, Err(error)) => self.lost(index, &error.to_string()),
            Event::Stopped(_, Ok(())) => {}
            Event::Sent(sent, result) => self.absorb_sent(sent, result),
            Event::Deleted(result) => self.absorb_deleted(result),
            Event::Renewed(result) => self.absorb_renewed(result),
            Event::Probed(probed) => self.absorb_probe(probed),
            Event::Timer => {}
        }
    }

    /// Plans and acts, reports what changed. Returns when to look again at the latest.
    fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = self.deadline(now);
        let policy = self.policy();
        if self.ending() {
            self.winding_down.cancel();
        }
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
        wake = earliest(wake, self.renew_tokens(now));
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
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
