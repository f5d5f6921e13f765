//! The role `wasm-worker`: it closes its sandbox, then starts and ends containers as the parent says, until the
//! parent is gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amphipod_runtime::{Connect, Exit, PodName, Stats};
use amphipod_wasm::{Directory, Host, HttpOptions, Kind, Launch, Log, Options, Running};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::channel::{self, Sender};
use crate::child;
use crate::protocol::{Access, Failure, Http, Number, Refusal, Reply, Request, Spec, Started, Used, VERSION};
use crate::sandbox::{self, Allowed};

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("wasm-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let socket = child::control()?;
    // The first frame says what the sandbox lets through; it is read before any other thread exists.
    let (hello, socket) =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(hello(socket))?;
    let Request::Hello { version, readable, writable, instances_max, http } = hello else {
        return Err(io::Error::other("the parent did not say hello"));
    };
    if version != VERSION {
        return Err(io::Error::other("the program was replaced; restart it"));
    }
    sandbox::enter(&Allowed { readable: [readable, system()].concat(), writable, ..Allowed::default() })?;
    child::end_with_parent(&socket)?;
    let host = Host::new(&Options { instances_max }).map_err(io::Error::other)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("guest")
        .build()?
        .block_on(serve(socket, host, http))
}

/// Read-only places that the C library and the async runtime look at.
fn system() -> Vec<String> {
    ["/sys/devices/system/cpu", "/sys/fs/cgroup", "/proc/self", "/usr/share/zoneinfo", "/etc/localtime"]
        .map(str::to_owned)
        .to_vec()
}

async fn hello(socket: OwnedFd) -> io::Result<(Request, OwnedFd)> {
    let (_sender, mut receiver, _writer) = channel::split(socket.try_clone()?)?;
    match receiver.next::<Request>().await? {
        Some((request, _)) => Ok((request, socket)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What all containers share.
struct Worker {
    host: Arc<Host>,
    http: HttpOptions,
    sender: Sender,
    connections: Arc<Connections>,
}

/// One container: its guest and the ends of it that the control loop holds.
struct Container {
    stop: mpsc::Sender<Duration>,
    deliver: Option<mpsc::Sender<OwnedFd>>,
    stats: Arc<dyn Fn() -> Stats + Send + Sync>,
}

async fn serve(socket: OwnedFd, host: Arc<Host>, http: Http) -> io::Result<()> {
    let (sender, mut receiver, writer) = channel::split(socket)?;
    let http = HttpOptions {
        requests_max: http.requests_max,
        p2_requests_per_instance: http.p2_requests_per_instance,
        p3_requests_per_instance: http.p3_requests_per_instance,
        idle: Duration::from_millis(http.idle_milliseconds),
    };
    let connections =
        Arc::new(Connections { sender: sender.clone(), next: AtomicU64::new(0), waiting: Mutex::default() });
    let worker = Worker { host, http, sender: sender.clone(), connections };
    let mut containers = HashMap::new();
    let mut guests: JoinSet<(Number, Exit)> = JoinSet::new();
    let mut writer = std::pin::pin!(writer);
    sender.send(&Reply::Ready { version: VERSION }, Vec::new()).await?;
    loop {
        tokio::select! {
            frame = receiver.next::<Request>() => match frame? {
                Some((request, descriptors)) => worker.handle(request, descriptors, &mut containers, &mut guests).await?,
                None => return Ok(()),
            },
            Some(ended) = guests.join_next() => {
                let (number, exit) = ended.map_err(io::Error::other)?;
                containers.remove(&number);
                sender.send(&Reply::Exited { number, exit }, Vec::new()).await?;
            }
            () = &mut writer => return Ok(()),
        }
    }
}

impl Worker {
    async fn handle(
        &self,
        request: Request,
        mut descriptors: Vec<OwnedFd>,
        containers: &mut HashMap<Number, Container>,
        guests: &mut JoinSet<(Number, Exit)>,
    ) -> io::Result<()> {
        match request {
            Request::Hello { .. } => return Err(io::Error::other("hello came twice")),
            Request::Start { number, spec } => {
                let result = self.start(*spec, descriptors).map(|running| {
                    let started = Started { at: running.started_at(), serves: running.kind() == Kind::Http };
                    containers.insert(number, watch(number, running, guests));
                    started
                });
                self.sender.send(&Reply::Started { number, result }, Vec::new()).await?;
            }
            Request::Stop { number, grace_milliseconds } => {
                if let Some(container) = containers.get(&number) {
                    // It may have ended meanwhile.
                    let _ = container.stop.try_send(Duration::from_millis(grace_milliseconds));
                }
            }
            Request::Deliver { number } => {
                if let (Some(socket), Some(deliver)) =
                    (descriptors.pop(), containers.get(&number).and_then(|container| container.deliver.as_ref()))
                {
                    // Too many wait: the client sees a closed connection.
                    let _ = deliver.try_send(socket);
                }
            }
            Request::Connected { query, failure } => self.connections.resolve(query, failure, descriptors.pop()),
            Request::Stats { query } => {
                let all = containers.iter().map(|(&number, container)| {
                    let Stats { cpu_nanoseconds, memory_bytes } = (container.stats)();
                    Used { number, cpu_nanoseconds, memory_bytes }
                });
                self.sender.send(&Reply::Stats { query, all: all.collect() }, Vec::new()).await?;
            }
        }
        Ok(())
    }

    fn start(&self, spec: Spec, descriptors: Vec<OwnedFd>) -> Result<Running, Failure> {
        let mut descriptors = descriptors.into_iter();
        let log = descriptors.next().ok_or_else(|| Failure::Host("no log".into()))?;
        let program = self.host.load(Path::new(&spec.cwasm))?;
        let directories = spec.directories.into_iter().map(|(host_path, guest_path, access)| Directory {
            host_path: host_path.into(),
            guest_path,
            read_only: access == Access::ReadOnly,
        });
        let launch = Launch {
            pod: spec.pod,
            arguments: spec.arguments,
            environment: spec.environment,
            working_directory: spec.working_directory,
            directories: directories.collect(),
            limits: spec.limits,
            log: Log::new(File::from(log)),
            listeners: descriptors.map(TcpListener::from).collect(),
            http: self.http,
            connect: self.connections.clone(),
        };
        Ok(amphipod_wasm::start(&self.host, &program, launch)?)
    }
}

/// Moves the guest into its task.
fn watch(number: Number, running: Running, guests: &mut JoinSet<(Number, Exit)>) -> Container {
    let (stop, mut asked) = mpsc::channel(1);
    let container = Container {
        stop,
        deliver: (running.kind() == Kind::Http).then(|| running.deliveries()),
        stats: running.gauge(),
    };
    guests.spawn(async move {
        let mut running = running;
        let stop = running.stopper();
        let asked = async {
            while let Some(grace) = asked.recv().await {
                stop(grace);
            }
            std::future::pending().await
        };
        tokio::select! {
            exit = running.ended() => (number, exit),
            never = asked => never,
        }
    });
    container
}

type Answer = io::Result<OwnedFd>;

/// Asks the parent for connections.
struct Connections {
    sender: Sender,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

#[async_trait]
impl Connect for Connections {
    async fn connect(&self, pod: &PodName, host: &str, port: u16) -> Answer {
        let query = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().insert(query, answer);
        self.sender.send(&Reply::Connect { query, pod: pod.clone(), host: host.to_owned(), port }, Vec::new()).await?;
        answered.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Connections {
    fn resolve(&self, query: u64, failure: Option<(Refusal, String)>, socket: Option<OwnedFd>) {
        let Some(waiting) = self.waiting.lock().remove(&query) else { return };
        let answer = match (failure, socket) {
            (None, Some(socket)) => Ok(socket),
            (Some((refusal, message)), _) => Err(io::Error::new(refusal.into(), message)),
            (None, None) => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // The guest may have given up.
        let _ = waiting.send(answer);
    }
}
