//! What the agent knows about one container of a pod. `plan.rs` reads slots to decide, `status.rs` to report; `pod.rs`
//! alone changes them.
//!
//! ```text
//!  Waiting ── started ─► Running ── ended ─► Exited ── started again ─► Running
//!     └◄── could not start (busy only while it is tried) ───┘
//! ```

use amphipod_runtime::{ContainerId, Exit, Image};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::backoff::Backoff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs once, before the next.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

#[derive(Debug, Clone)]
pub struct Slot {
    pub name: String,
    pub role: Role,
    pub phase: Phase,
    /// It is being started right now.
    pub busy: bool,
    pub image: Option<Image>,
    /// Of the run that `phase` shows.
    pub restart_count: u32,
    /// How the run before that ended.
    pub last: Option<Ended>,
    pub restarts: Backoff,
    pub pulls: Backoff,
    /// What the startup and readiness probes say; true without them while it runs.
    pub started: bool,
    pub ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Never started, or the last try failed.
    Waiting(Option<Waiting>),
    Running {
        id: ContainerId,
        started_at: Timestamp,
        stopping: bool,
    },
    Exited(Ended),
}

/// Why it could not be started, and when that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: &'static str,
    pub message: String,
    pub retry_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub id: ContainerId,
    pub exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }
}

impl Slot {
    pub fn new(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            phase: Phase::Waiting(None),
            busy: false,
            image: None,
            restart_count: 0,
            last: None,
            restarts: Backoff::default(),
            pulls: Backoff::default(),
            started: false,
            ready: false,
        }
    }

    /// Whether a run that ended is followed by another, while the pod lives.
    pub fn restarts_after(&self, exit: &Exit, policy: RestartPolicy) -> bool {
        match (self.role, policy) {
            (Role::Sidecar, _) => true,
            (Role::Init, RestartPolicy::Never) => false,
            (Role::Init, _) => exit.code != 0,
            (Role::Main, RestartPolicy::Always) => true,
            (Role::Main, RestartPolicy::OnFailure) => exit.code != 0,
            (Role::Main, RestartPolicy::Never) => false,
        }
    }

    /// How often it was restarted before the next start.
    pub fn next_restart_count(&self) -> u32 {
        let ran = self.last.is_some() || matches!(self.phase, Phase::Exited(_));
        self.restart_count + u32::from(ran)
    }

    pub fn running(&self) -> Option<&ContainerId> {
        match &self.phase {
            Phase::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Runs that the runtime may still know.
    pub fn ids(&self) -> impl Iterator<Item = &ContainerId> {
        let now = match &self.phase {
            Phase::Exited(ended) => Some(&ended.id),
            Phase::Running { id, .. } => Some(id),
            Phase::Waiting(_) => None,
        };
        now.into_iter().chain(self.last.as_ref().map(|ended| &ended.id))
    }

    /// An init container that is done, or a sidecar that lets the next one start.
    pub fn initialized(&self) -> bool {
        match (self.role, &self.phase) {
            (Role::Init, Phase::Exited(ended)) => ended.exit.code == 0,
            (Role::Sidecar, Phase::Running { .. }) => self.started,
            _ => false,
        }
    }

    /// A run begins. `image` is what it runs; who only claims to run has none.
    pub fn begin(&mut self, id: ContainerId, image: Option<Image>, now: Timestamp) {
        self.restart_count = self.next_restart_count();
        if let Phase::Exited(ended) = &self.phase {
            self.last = Some(ended.clone());
        }
        self.phase = Phase::Running { id, started_at: now, stopping: false };
        self.image = image;
        self.busy = false;
        self.pulls.reset();
    }

    /// A start failed.
    pub fn fail(&mut self, waiting: Waiting) {
        if let Phase::Exited(ended) = &self.phase {
            self.last = Some(ended.clone());
        }
        self.phase = Phase::Waiting(Some(waiting));
        self.busy = false;
    }

    /// The run that `phase` shows ended.
    pub fn end(&mut self, ended: Ended) {
        self.phase = Phase::Exited(ended);
        self.started = false;
        self.ready = false;
    }
}

/// One slot per container, init containers first, in the pod's order.
pub fn slots_of(spec: &PodSpec) -> Vec<Slot> {
    containers_of(spec).map(|(role, container)| Slot::new(&container.name, role)).collect()
}

/// The pod's containers in the order of their slots.
pub fn containers_of(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let role = if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
        (role, container)
    });
    inits.chain(spec.containers.iter().map(|container| (Role::Main, container)))
}
