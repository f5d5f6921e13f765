//! A Wasm container starts here: [`start`] turns a loaded [`Program`] and a [`Launch`] into a [`Running`] guest. What it
//! does then stands in command.rs and http.rs.
//!
//! ```text
//! start ─► running ─┬─ the guest ends, traps, is out of memory ─► Exit
//!                   └─ stop(grace) ─► ending ─┬─ in time ───────► Exit
//!                                             └─ grace is over ─► Exit 137
//! ```

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amphipod_runtime::{Connect, Exit, Limits, PodName, Stats};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::cpu::Meter;
use crate::guest::Blueprint;
use crate::http::HttpOptions;
use crate::limits::Budget;
use crate::{Host, Kind, Log, Program, Result, command, exit, http};

/// Connections handed over that the container has not yet taken.
const DELIVERIES_MAX: usize = 256;

/// A host directory that the guest sees.
#[derive(Debug, Clone)]
pub struct Directory {
    pub host_path: PathBuf,
    pub guest_path: String,
    pub read_only: bool,
}

/// Everything that one container adds to its program.
pub struct Launch {
    pub pod: PodName,
    /// `argv`, with the program's name first.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<String>,
    pub directories: Vec<Directory>,
    pub limits: Limits,
    pub log: Log,
    /// Bound by the agent; a command drops them.
    pub listeners: Vec<TcpListener>,
    pub http: HttpOptions,
    /// How it reaches others.
    pub connect: Arc<dyn Connect>,
}

/// A started container; dropping it ends the guest at once.
pub struct Running {
    kind: Kind,
    task: JoinSet<Exit>,
    stop: watch::Sender<Option<Duration>>,
    deliveries: mpsc::Sender<OwnedFd>,
    meter: Arc<Meter>,
    budget: Arc<Budget>,
    started_at: Timestamp,
}

/// Starts a container. No instance exists yet when this returns; a server makes one for its first request.
///
/// # Errors
/// `Config` when a mounted directory cannot be opened.
pub fn start(host: &Arc<Host>, program: &Arc<Program>, launch: Launch) -> Result<Running> {
    let kind = program.kind(&launch.arguments);
    let budget = Budget::new(launch.limits.memory_bytes);
    let meter = Arc::new(Meter::new(launch.limits.cpu_millicores));
    let blueprint = Arc::new(Blueprint {
        host: host.clone(),
        pod: launch.pod,
        arguments: launch.arguments,
        environment: launch.environment,
        working_directory: launch.working_directory,
        directories: launch.directories,
        log: launch.log,
        connect: launch.connect,
        budget: budget.clone(),
        meter: meter.clone(),
    });
    let started_at = Timestamp::now();
    let (stop, stopped) = watch::channel(None);
    let (deliveries, delivered) = mpsc::channel(DELIVERIES_MAX);
    let mut task = JoinSet::new();
    match kind {
        Kind::Http => {
            let server = http::Server::new(program.clone(), blueprint, launch.http);
            let sockets = http::Sockets::new(launch.listeners, delivered)?;
            task.spawn(server.serve(sockets, stopped, started_at));
        }
        Kind::Command => {
            // A directory that cannot be opened is the pod's mistake: say so before it runs.
            let run = command::prepare(program.clone(), blueprint)?;
            task.spawn(command::run(run, stopped, started_at));
        }
    }
    Ok(Running { kind, task, stop, deliveries, meter, budget, started_at })
}

impl Running {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Resolves once, with how it ended.
    pub async fn ended(&mut self) -> Exit {
        match self.task.join_next().await {
            Some(Ok(exit)) => exit,
            Some(Err(error)) => exit::exit(self.started_at, 134, "Error", format!("the host's task ended: {error}")),
            None => exit::killed(self.started_at),
        }
    }

    /// Takes connected stream sockets; only a server ([`Kind::Http`]) serves them.
    pub fn deliveries(&self) -> mpsc::Sender<OwnedFd> {
        self.deliveries.clone()
    }

    /// Asks it to end within a grace period; the first call counts.
    pub fn stopper(&self) -> impl Fn(Duration) + Send + Sync + use<> {
        let stop = self.stop.clone();
        move |grace| {
            stop.send_if_modified(|asked| {
                let first = asked.is_none();
                asked.get_or_insert(grace);
                first
            });
        }
    }

    /// What it uses, now and later.
    pub fn gauge(&self) -> Arc<dyn Fn() -> Stats + Send + Sync> {
        let (meter, budget) = (self.meter.clone(), self.budget.clone());
        Arc::new(move || Stats { cpu_nanoseconds: meter.used_nanoseconds(), memory_bytes: budget.used_bytes() })
    }
}

/// Resolves with the grace period when the container is asked to end, at once with none when it is dropped.
pub(crate) async fn asked(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stopped.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
}
