//! The parent's side: one worker process per trust domain, one spare that is already warm, and the truth about every
//! container. A worker that dies takes its containers with it (137); the next start makes another.

// tidy: long because one table of containers has one owner

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amphipod_runtime::{
    BoxStream, Capabilities, Connect, Container, ContainerId, Error, Exit, Image, Observed, PodName, Result, Runtime,
    Sandbox, State, Stats,
};
use amphipod_wasm::HttpOptions;
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::channel::{self, DESCRIPTORS_MAX, Receiver, Sender};
use crate::child::{self, Process};
use crate::protocol::{Access, Failure, Http, Number, Reply, Request, Spec, Started, Used, VERSION};

const KILLED: i32 = 137;
/// Workers asked to start one container, each after the last was found dead.
const STARTS_MAX: usize = 3;
const READY_TIME_MAX: Duration = Duration::from_secs(20);
/// Beyond a container's grace period, for the worker to say that it ended.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// A worker whose guests take every thread may be late.
const STATS_TIME_MAX: Duration = Duration::from_secs(2);
const ID_BYTES: usize = 32;
/// For `wasi:http` containers that declare no port.
const PORT_DEFAULT: u16 = 8080;

/// How to run workers.
#[derive(Clone)]
pub struct Options {
    /// Compiled images are kept below it.
    pub data_dir: PathBuf,
    /// Directories below which pods' volumes lie; a worker can open nothing else.
    pub volume_directories: Vec<PathBuf>,
    /// The program to execute in the hidden roles, usually `std::env::current_exe()`.
    pub program: PathBuf,
    /// Its arguments for the role that calls [`crate::worker_main`].
    pub worker_arguments: Vec<String>,
    /// Its arguments for the role that calls [`crate::compile_main`].
    pub compile_arguments: Vec<String>,
    /// Guests alive at the same time in one worker.
    pub instances_max: u32,
    pub http: HttpOptions,
    /// How guests reach others.
    pub connect: Arc<dyn Connect>,
}

impl Options {
    /// The program's own roles `wasm-worker` and `wasm-compile`; all volumes of pods lie below `volumes`.
    pub fn new(data_dir: PathBuf, volumes: PathBuf, program: PathBuf, connect: Arc<dyn Connect>) -> Self {
        Self {
            volume_directories: vec![volumes],
            data_dir,
            program,
            worker_arguments: vec!["wasm-worker".into()],
            compile_arguments: vec!["wasm-compile".into()],
            instances_max: 4_000,
            http: HttpOptions::default(),
            connect,
        }
    }
}

/// Runs Wasm containers in worker processes. Dropping it ends them all.
pub struct WasmRuntime(Arc<Inner>);

struct Inner {
    options: Options,
    cache: Cache,
    workers: tokio::sync::Mutex<HashMap<String, Arc<Worker>>>,
    spare: tokio::sync::Mutex<Option<Arc<Worker>>>,
    containers: Mutex<BTreeMap<ContainerId, Record>>,
    changed: watch::Sender<u64>,
    next: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

struct Record {
    observed: Observed,
    worker: Arc<Worker>,
    number: Number,
    ports: Vec<u16>,
    serves: bool,
    ended: watch::Sender<bool>,
}

struct Worker {
    process_id: u32,
    sender: Sender,
    starts: Mutex<HashMap<Number, oneshot::Sender<Result<Started, Failure>>>>,
    stats: Mutex<HashMap<u64, oneshot::Sender<Vec<Used>>>>,
    gone: watch::Sender<bool>,
}

impl WasmRuntime {
    /// Must be called within a tokio runtime; the spare worker starts in the background.
    ///
    /// # Errors
    /// `Runtime` when the data directory cannot be used.
    pub fn new(options: Options) -> Result<Self> {
        // A worker can be let into a directory only when it is there.
        for volumes in &options.volume_directories {
            let made = std::fs::create_dir_all(volumes);
            made.map_err(|error| Error::Runtime(format!("cannot make {}: {error}", volumes.display())))?;
        }
        let cache = Cache::open(
            options.data_dir.join("wasm").join("compiled"),
            options.program.clone(),
            options.compile_arguments.clone(),
        )?;
        let inner = Arc::new(Inner {
            options,
            cache,
            workers: tokio::sync::Mutex::default(),
            spare: tokio::sync::Mutex::default(),
            containers: Mutex::default(),
            changed: watch::Sender::new(0),
            next: AtomicU64::new(1),
            tasks: Mutex::default(),
        });
        inner.refill();
        Ok(Self(inner))
    }

    /// The process ids of the workers, the spare one included: for the node's own accounting.
    pub async fn worker_processes(&self) -> Vec<u32> {
        let workers = self.0.workers.lock().await;
        let spare = self.0.spare.lock().await;
        workers.values().chain(spare.iter()).map(|worker| worker.process_id).collect()
    }
}

impl Drop for WasmRuntime {
    fn drop(&mut self) {
        // The tasks hold the control sockets; without them the workers end.
        self.0.tasks.lock().abort_all();
    }
}

impl Inner {
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn refill(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        self.spawn(async move {
            let Some(inner) = inner.upgrade() else { return };
            let mut spare = inner.spare.lock().await;
            if spare.is_none() {
                match inner.launch().await {
                    Ok(worker) => *spare = Some(worker),
                    Err(error) => tracing::warn!("cannot start a spare worker: {error}"),
                }
            }
        });
    }

    async fn worker(self: &Arc<Self>, trust_domain: &str) -> Result<Arc<Worker>> {
        let mut workers = self.workers.lock().await;
        if let Some(worker) = workers.get(trust_domain)
            && !*worker.gone.borrow()
        {
            return Ok(worker.clone());
        }
        let spare = self.spare.lock().await.take().filter(|spare| !*spare.gone.borrow());
        let worker = match spare {
            Some(spare) => spare,
            None => self.launch().await.map_err(|error| Error::Runtime(format!("cannot start a worker: {error}")))?,
        };
        workers.insert(trust_domain.to_owned(), worker.clone());
        self.refill();
        Ok(worker)
    }

    async fn launch(self: &Arc<Self>) -> io::Result<Arc<Worker>> {
        let (process, socket) = child::spawn(&self.options.program, &self.options.worker_arguments)?;
        let (sender, mut receiver, writer) = channel::split(socket)?;
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let http = self.options.http;
        let hello = Request::Hello {
            version: VERSION,
            readable: vec![text(&self.cache.directory().to_path_buf())],
            writable: self.options.volume_directories.iter().map(text).collect(),
            instances_max: self.options.instances_max,
            http: Http {
                requests_max: http.requests_max,
                p2_requests_per_instance: http.p2_requests_per_instance,
                p3_requests_per_instance: http.p3_requests_per_instance,
                idle_milliseconds: u64::try_from(http.idle.as_millis()).unwrap_or(u64::MAX),
            },
        };
        self.spawn(writer);
        sender.send(&hello, Vec::new()).await?;
        match tokio::time::timeout(READY_TIME_MAX, receiver.next::<Reply>()).await {
            Ok(Ok(Some((Reply::Ready { version: VERSION }, _)))) => {}
            answer => return Err(io::Error::other(format!("the worker did not get ready: {answer:?}"))),
        }
        let worker = Arc::new(Worker {
            process_id: process.id(),
            sender,
            starts: Mutex::default(),
            stats: Mutex::default(),
            gone: watch::Sender::new(false),
        });
        self.spawn(listen(Arc::downgrade(self), worker.clone(), receiver, process));
        Ok(worker)
    }

    fn tell(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    fn exited(&self, worker: &Arc<Worker>, number: Number, exit: &Exit) {
        for record in self.containers.lock().values_mut() {
            if record.number == number && Arc::ptr_eq(&record.worker, worker) {
                record.observed.state = State::Exited(exit.clone());
                record.ended.send_replace(true);
            }
        }
        self.tell();
    }

    /// The worker is gone, and with it all that it ran.
    fn lost(&self, worker: &Arc<Worker>, why: &str) {
        worker.gone.send_replace(true);
        worker.starts.lock().clear();
        worker.stats.lock().clear();
        for record in self.containers.lock().values_mut() {
            if let State::Running { started_at } = record.observed.state
                && Arc::ptr_eq(&record.worker, worker)
            {
                record.observed.state = State::Exited(Exit {
                    code: KILLED,
                    reason: "Error".into(),
                    message: format!("the worker process ended: {why}"),
                    started_at,
                    finished_at: Timestamp::now(),
                });
                record.ended.send_replace(true);
            }
        }
        self.tell();
    }

    async fn connect(&self, worker: &Worker, query: u64, pod: &PodName, (host, port): (&str, u16)) {
        let (failure, sockets) = match self.options.connect.connect(pod, host, port).await {
            Ok(socket) => (None, vec![socket]),
            Err(error) => (Some((error.kind().into(), error.to_string())), Vec::new()),
        };
        // The worker may be gone.
        let _ = worker.sender.send(&Request::Connected { query, failure }, sockets).await;
    }

    /// `None`: the worker was gone before it could answer; another takes its place.
    async fn attempt(self: &Arc<Self>, sandbox: &Sandbox, container: &Container) -> Result<Option<ContainerId>> {
        let cwasm = self.cache.compiled(&container.image).await?;
        let ports = if container.ports.is_empty() { vec![PORT_DEFAULT] } else { container.ports.clone() };
        let descriptors = descriptors(sandbox, container, &ports)?;
        let spec = spec(sandbox, container, cwasm.to_string_lossy().into_owned())?;
        let worker = self.worker(&container.trust_domain).await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = new_id()?;
        let (answer, answered) = oneshot::channel();
        worker.starts.lock().insert(number, answer);
        let record = Record {
            observed: Observed {
                id: id.clone(),
                pod: sandbox.pod.clone(),
                container: container.name.clone(),
                restart_count: container.restart_count,
                state: State::Running { started_at: Timestamp::now() },
            },
            worker: worker.clone(),
            number,
            ports,
            serves: false,
            ended: watch::Sender::new(false),
        };
        // Known before the worker can report its end.
        self.containers.lock().insert(id.clone(), record);
        let asked = worker.sender.send(&Request::Start { number, spec: Box::new(spec) }, descriptors).await;
        let answer = if asked.is_ok() { answered.await.ok() } else { None };
        let Some(answer) = answer else {
            self.containers.lock().remove(&id);
            self.lost(&worker, "it ended");
            return Ok(None);
        };
        match answer.map_err(Error::from) {
            Ok(started) => {
                if let Some(record) = self.containers.lock().get_mut(&id) {
                    record.serves = started.serves;
                    if let State::Running { started_at } = &mut record.observed.state {
                        *started_at = started.at;
                    }
                }
                self.tell();
                Ok(Some(id))
            }
            Err(error) => {
                self.containers.lock().remove(&id);
                Err(error)
            }
        }
    }

    fn find<T>(&self, id: &ContainerId, read: impl FnOnce(&Record) -> T) -> Result<T> {
        self.containers.lock().get(id).map(read).ok_or_else(|| Error::NotFound(id.0.clone()))
    }
}

/// Hears one worker until it ends.
async fn listen(inner: std::sync::Weak<Inner>, worker: Arc<Worker>, mut receiver: Receiver, mut process: Process) {
    let why = loop {
        let reply = match receiver.next::<Reply>().await {
            Ok(Some((reply, _))) => reply,
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        };
        let Some(inner) = inner.upgrade() else { return };
        match reply {
            Reply::Ready { .. } => {}
            Reply::Started { number, result } => {
                if let Some(waiting) = worker.starts.lock().remove(&number) {
                    // Whoever asked may have given up.
                    let _ = waiting.send(result);
                }
            }
            Reply::Exited { number, exit } => inner.exited(&worker, number, &exit),
            Reply::Connect { query, pod, host, port } => {
                let (worker, asked) = (worker.clone(), inner.clone());
                inner.spawn(async move { asked.connect(&worker, query, &pod, (&host, port)).await });
            }
            Reply::Stats { query, all } => {
                if let Some(waiting) = worker.stats.lock().remove(&query) {
                    // Whoever asked may have given up.
                    let _ = waiting.send(all);
                }
            }
        }
    };
    process.kill();
    let status = tokio::task::spawn_blocking(move || process.wait()).await;
    let status = match status {
        Ok(Ok(status)) => status.to_string(),
        _ => "its status is unknown".into(),
    };
    if let Some(inner) = inner.upgrade() {
        inner.lost(&worker, &why.unwrap_or(status));
    }
}

#[async_trait]
impl Runtime for WasmRuntime {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn version(&self) -> String {
        amphipod_wasm::ENGINE_VERSION.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exec: false, attach: false, deliver: true }
    }

    async fn prepare(&self, image: &Image) -> Result<()> {
        self.0.cache.compiled(image).await.map(drop)
    }

    async fn start(&self, sandbox: &Sandbox, container: &Container) -> Result<ContainerId> {
        for _ in 0..STARTS_MAX {
            if let Some(id) = self.0.attempt(sandbox, container).await? {
                return Ok(id);
            }
        }
        Err(Error::Runtime("the worker ended while it was asked to start the container".into()))
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let Ok((worker, number, mut ended)) =
            self.0.find(id, |record| (record.worker.clone(), record.number, record.ended.subscribe()))
        else {
            return Ok(());
        };
        let grace_milliseconds = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        // A worker that is gone has ended all its containers.
        let _ = worker.sender.send(&Request::Stop { number, grace_milliseconds }, Vec::new()).await;
        let in_time = tokio::time::timeout(grace + STOP_MARGIN, ended.wait_for(|ended| *ended)).await;
        if in_time.is_err() {
            return Err(Error::Runtime("the worker did not end the container in time".into()));
        }
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.0.containers.lock().remove(id);
        self.0.tell();
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        Ok(self.0.containers.lock().values().map(|record| record.observed.clone()).collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn deliver(&self, id: &ContainerId, port: u16, socket: OwnedFd) -> Result<(), OwnedFd> {
        let found = self.0.find(id, |record| {
            let running = matches!(record.observed.state, State::Running { .. });
            (running && record.serves && record.ports.contains(&port)).then(|| (record.worker.clone(), record.number))
        });
        let Ok(Some((worker, number))) = found else { return Err(socket) };
        worker.sender.try_send(&Request::Deliver { number }, vec![socket]).map_err(|mut sockets| sockets.remove(0))
    }

    async fn dial(&self, id: &ContainerId, port: u16) -> Result<BoxStream> {
        let host = |error: io::Error| Error::Runtime(format!("dial {port}: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(host)?;
        self.0.find(id, |_| ())?;
        self.deliver(id, port, theirs.into()).map_err(|_| host(io::ErrorKind::ConnectionRefused.into()))?;
        ours.set_nonblocking(true).map_err(host)?;
        Ok(Box::pin(tokio::net::UnixStream::from_std(ours).map_err(host)?))
    }

    async fn stats(&self) -> Result<HashMap<ContainerId, Stats>> {
        let mut by_worker: HashMap<u32, (Arc<Worker>, HashMap<Number, ContainerId>)> = HashMap::new();
        for (id, record) in self.0.containers.lock().iter() {
            if matches!(record.observed.state, State::Running { .. }) {
                let worker = &record.worker;
                let known = by_worker.entry(worker.process_id).or_insert_with(|| (worker.clone(), HashMap::new()));
                known.1.insert(record.number, id.clone());
            }
        }
        let asked = by_worker.into_values().map(async |(worker, mut ids)| {
            let query = self.0.next.fetch_add(1, Ordering::Relaxed);
            let used = worker.used(query).await.unwrap_or_default();
            let found = used.into_iter().filter_map(|used| {
                let stats = Stats { cpu_nanoseconds: used.cpu_nanoseconds, memory_bytes: used.memory_bytes };
                Some((ids.remove(&used.number)?, stats))
            });
            found.collect::<Vec<_>>()
        });
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }
}

impl Worker {
    /// `None`: it is gone, or too busy to say.
    async fn used(&self, query: u64) -> Option<Vec<Used>> {
        let (answer, answered) = oneshot::channel();
        self.stats.lock().insert(query, answer);
        let sent = self.sender.send(&Request::Stats { query }, Vec::new()).await;
        let used = match sent {
            Ok(()) => tokio::time::timeout(STATS_TIME_MAX, answered).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        self.stats.lock().remove(&query);
        used
    }
}

/// The log and the listeners, in the order that the protocol wants.
fn descriptors(sandbox: &Sandbox, container: &Container, ports: &[u16]) -> Result<Vec<OwnedFd>> {
    let log = OpenOptions::new().create(true).append(true).open(&container.log_path);
    let log = log.map_err(|error| Error::Runtime(format!("cannot open {}: {error}", container.log_path.display())))?;
    let mut descriptors = vec![log.into()];
    for listener in ports.iter().filter_map(|port| sandbox.listeners.get(port)) {
        let listener =
            listener.try_clone().map_err(|error| Error::Runtime(format!("cannot pass a listener: {error}")))?;
        descriptors.push(listener.into());
    }
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(Error::Config(format!("a container may serve {} ports at most", DESCRIPTORS_MAX - 1)));
    }
    Ok(descriptors)
}

fn spec(sandbox: &Sandbox, container: &Container, cwasm: String) -> Result<Spec> {
    let mut directories = Vec::new();
    for mount in &container.mounts {
        if !mount.host_path.is_dir() {
            return Err(Error::Config(format!(
                "{}: a Wasm container can mount directories only",
                mount.container_path
            )));
        }
        let access = if mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
        directories.push((mount.host_path.to_string_lossy().into_owned(), mount.container_path.clone(), access));
    }
    let image = &container.image;
    let mut arguments = if container.command.is_empty() { image.entrypoint.clone() } else { container.command.clone() };
    if arguments.is_empty() {
        arguments.push(container.name.clone());
    }
    arguments.extend(container.args.iter().cloned());
    let mut environment: BTreeMap<String, String> = image.env.iter().cloned().collect();
    environment.insert("HOSTNAME".into(), sandbox.hostname.clone());
    environment.extend(container.env.iter().cloned());
    Ok(Spec {
        pod: sandbox.pod.clone(),
        cwasm,
        arguments,
        environment: environment.into_iter().collect(),
        working_directory: container.working_directory.clone(),
        directories,
        limits: container.limits,
    })
}

fn new_id() -> Result<ContainerId> {
    let mut bytes = [0; ID_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Runtime("no randomness".into()))?;
    Ok(ContainerId(format!("wasm://{}", hex::encode(bytes))))
}
