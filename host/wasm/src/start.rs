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
use tokio::time::Instant;

use crate::cpu::Meter;
use crate::guest::{self, Blueprint};
use crate::http::HttpOptions;
use crate::limits::Budget;
use crate::{Host, Kind, Log, Program, Result, command, exit, http};

/// Connections handed over that the container has not yet taken.
const DELIVERIES_MAX: usize = 256;
/// A grace that no clock can hold is as good as this one.
const GRACE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

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

/// When a container that was asked to end is killed; `None`: it was not asked.
pub(crate) type Deadline = Option<Instant>;

/// A started container; dropping it ends the guest at once.
pub struct Running {
    kind: Kind,
    task: JoinSet<Exit>,
    stop: watch::Sender<Deadline>,
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
        filesystem: guest::mount(&launch.directories)?,
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
            task.spawn(command::run(program.clone(), blueprint, stopped, started_at));
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

    /// Asks it to end within a grace period; a later call can only shorten it.
    pub fn stopper(&self) -> impl Fn(Duration) + Send + Sync + use<> {
        let stop = self.stop.clone();
        move |grace| {
            let now = Instant::now();
            let by = now.checked_add(grace).unwrap_or(now + GRACE_MAX);
            stop.send_if_modified(|asked| {
                let sooner = asked.is_none_or(|known| by < known);
                if sooner {
                    *asked = Some(by);
                }
                sooner
            });
        }
    }

    /// What it uses, now and later.
    pub fn gauge(&self) -> Arc<dyn Fn() -> Stats + Send + Sync> {
        let (meter, budget) = (self.meter.clone(), self.budget.clone());
        Arc::new(move || Stats { cpu_nanoseconds: meter.used_nanoseconds(), memory_bytes: budget.used_bytes() })
    }
}

/// Resolves when the container is asked to end, or dropped.
pub(crate) async fn asked(stopped: &mut watch::Receiver<Deadline>) {
    // An error says that it was dropped.
    let _ = stopped.wait_for(Option::is_some).await;
}

/// Resolves when the time that the container has for its end is over.
pub(crate) async fn overdue(stopped: &mut watch::Receiver<Deadline>) {
    loop {
        let Some(by) = *stopped.borrow_and_update() else { return };
        tokio::select! {
            () = tokio::time::sleep_until(by) => return,
            sooner = stopped.changed() => if sooner.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shorter_grace_overtakes_a_longer_one_and_no_other_way() {
        let begun = Instant::now();
        let (stop, mut stopped) = watch::channel(None);
        let running = Running {
            kind: Kind::Http,
            task: JoinSet::new(),
            stop,
            deliveries: mpsc::channel(1).0,
            meter: Arc::new(Meter::new(None)),
            budget: Budget::new(None),
            started_at: Timestamp::UNIX_EPOCH,
        };
        let stop = running.stopper();
        stop(Duration::from_secs(30));
        asked(&mut stopped).await;
        let hasten = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop(Duration::from_secs(3));
            stop(Duration::from_secs(60));
            std::future::pending::<()>().await;
        };
        tokio::select! { () = overdue(&mut stopped) => {}, () = hasten => {} }
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
