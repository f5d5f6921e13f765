//! A scriptable [`Runtime`] and [`Images`]: containers that only claim to run. Simulated nodes and tests use it.
//! No thread and no task per container: one task per runtime waits for the next end. Time is tokio's, so a test under
//! paused time sees every end exactly when the script says. The real neighbour is `host/worker`.
//!
//! ```text
//!  start ─► Running ── script's `exit` or stop ─► Exited ── remove ─► forgotten
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::time::DelayQueue;

use crate::{
    BoxStream, Capabilities, Container, ContainerId, Credentials, Curve, Error, Exit, Image, ImageError, ImageKind,
    Images, Observed, PodName, Progress, Result, Runtime, Sandbox, State, Stats,
};

/// Ends that wait to be told to the timer task; `start` fails when it is full.
const ENDS_MAX: usize = 65_536;

/// What one fake container does.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Ends by itself after this long with this code; `None` runs until stopped.
    pub exit: Option<(Duration, i32)>,
    /// `start` fails with this.
    pub fail: Option<Error>,
    /// Written to the log as stdout lines at the start.
    pub output: Vec<String>,
    /// Does not end when asked: stop waits for the whole grace and reports 137.
    pub ignores_stop: bool,
    /// Cores that it uses.
    pub cpu: Curve,
    /// Bytes that it holds.
    pub memory: Curve,
}

/// Chooses a behaviour for each start.
pub type Script = Arc<dyn Fn(&Container) -> Behaviour + Send + Sync>;

/// The default script reads the container's `args`: `exit=CODE`, `after=MILLISECONDS` (default 0), `say=TEXT`,
/// `fail=config|image|runtime`, `ignore-stop`, `cpu=MILLICORES`, `memory=BYTES`. Others are ignored; without `exit` it runs until it is stopped.
pub fn by_arguments(container: &Container) -> Behaviour {
    let value = |key: &str| container.args.iter().find_map(|arg| arg.strip_prefix(key)?.strip_prefix('='));
    let after = Duration::from_millis(value("after").and_then(|text| text.parse().ok()).unwrap_or(0));
    let fail = value("fail").map(|kind| match kind {
        "config" => Error::Config("the script says so".into()),
        "image" => Error::Image("the script says so".into()),
        _ => Error::Runtime("the script says so".into()),
    });
    let amount = |key: &str| value(key).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Behaviour {
        cpu: Curve::constant(amount("cpu") / 1_000.0),
        memory: Curve::constant(amount("memory")),
        exit: value("exit").and_then(|text| text.parse().ok()).map(|code| (after, code)),
        fail,
        output: container.args.iter().filter_map(|arg| Some(arg.strip_prefix("say=")?.to_owned())).collect(),
        ignores_stop: container.args.iter().any(|arg| arg == "ignore-stop"),
    }
}

/// The fake runtime; clones share their containers.
#[derive(Clone)]
pub struct Fake {
    inner: Arc<Inner>,
    _timer: Arc<TaskGuard>,
}

struct TaskGuard(tokio::task::JoinHandle<()>);
impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Inner {
    script: Script,
    containers: Mutex<Containers>,
    ends: mpsc::Sender<(ContainerId, Duration, i32)>,
    changed: watch::Sender<u64>,
    /// One pair of clocks read together: wall time follows tokio's, paused or not.
    epoch: (Timestamp, Instant),
}

#[derive(Default)]
struct Containers {
    next: u64,
    known: BTreeMap<ContainerId, Known>,
    /// Seconds of CPU that ended ones have used.
    cpu_before: f64,
}

struct Known {
    pod: PodName,
    name: String,
    restart_count: u32,
    state: State,
    ignores_stop: bool,
    cpu: Curve,
    memory: Curve,
}

/// One run of a container, by those who need no more of it.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: ContainerId,
    pub pod: PodName,
    pub container: String,
    pub restart_count: u32,
    /// `None`: now.
    pub started_at: Option<Timestamp>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new(Arc::new(by_arguments))
    }
}

impl Fake {
    /// Must be called inside a tokio runtime.
    pub fn new(script: Script) -> Self {
        let (ends, waiting) = mpsc::channel(ENDS_MAX);
        let inner = Arc::new(Inner {
            script,
            containers: Mutex::default(),
            ends,
            changed: watch::Sender::new(0),
            epoch: (Timestamp::now(), Instant::now()),
        });
        let timer = tokio::spawn(end_in_time(Arc::downgrade(&inner), waiting));
        Self { inner, _timer: Arc::new(TaskGuard(timer)) }
    }

    /// Starts a run that behaves so, without a log; gives the time of its start.
    ///
    /// # Errors
    /// What the behaviour fails with; `Runtime` when too many ends are to be told.
    pub fn begin(&self, run: Run, behaviour: Behaviour) -> Result<Timestamp> {
        if let Some(error) = behaviour.fail {
            return Err(error);
        }
        let now = self.inner.now();
        let started_at = run.started_at.unwrap_or(now);
        let known = Known {
            pod: run.pod,
            name: run.container,
            restart_count: run.restart_count,
            state: State::Running { started_at },
            ignores_stop: behaviour.ignores_stop,
            cpu: behaviour.cpu,
            memory: behaviour.memory,
        };
        self.inner.containers.lock().known.insert(run.id.clone(), known);
        self.inner.changed.send_modify(|generation| *generation += 1);
        if let Some((after, code)) = behaviour.exit {
            let run_for = Duration::try_from(now.duration_since(started_at)).unwrap_or_default();
            let left = after.saturating_sub(run_for);
            let sent = self.inner.ends.try_send((run.id, left, code));
            sent.map_err(|_| Error::Runtime("the fake runtime cannot take more".into()))?;
        }
        Ok(started_at)
    }

    /// CPU that all containers have used, those that ended too.
    pub fn cpu_nanoseconds(&self) -> u64 {
        let now = self.inner.now();
        let containers = self.inner.containers.lock();
        let running = containers.known.values().map(|known| known.cpu_seconds(now)).sum::<f64>();
        nanoseconds(containers.cpu_before + running)
    }

    /// An ended container is known no more.
    pub fn forget(&self, id: &ContainerId) {
        let mut containers = self.inner.containers.lock();
        if matches!(containers.known.get(id), Some(Known { state: State::Exited(_), .. })) {
            containers.known.remove(id);
            drop(containers);
            self.inner.changed.send_modify(|generation| *generation += 1);
        }
    }

    /// Ends a container as if it had ended itself.
    pub fn end(&self, id: &ContainerId, code: i32) {
        self.inner.end(id, code, reason_of(code));
    }
}

async fn end_in_time(inner: std::sync::Weak<Inner>, mut waiting: mpsc::Receiver<(ContainerId, Duration, i32)>) {
    let mut queue = DelayQueue::new();
    loop {
        tokio::select! {
            next = waiting.recv() => match next {
                Some((id, after, code)) => { queue.insert((id, code), after); }
                None => return,
            },
            Some(due) = queue.next(), if !queue.is_empty() => {
                let (id, code) = due.into_inner();
                match inner.upgrade() {
                    Some(inner) => inner.end(&id, code, reason_of(code)),
                    None => return,
                }
            }
        }
    }
}

fn reason_of(code: i32) -> &'static str {
    if code == 0 { "Completed" } else { "Error" }
}

impl Inner {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.epoch.1.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch.0.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    fn end(&self, id: &ContainerId, code: i32, reason: &str) {
        let finished_at = self.now();
        let mut containers = self.containers.lock();
        if let Some(known) = containers.known.get_mut(id)
            && let State::Running { started_at } = known.state
        {
            let used = known.cpu_seconds(finished_at);
            let (reason, message) = (reason.to_owned(), String::new());
            known.state = State::Exited(Exit { code, reason, message, started_at, finished_at });
            containers.cpu_before += used;
        }
        drop(containers);
        self.changed.send_modify(|generation| *generation += 1);
    }
}

impl Known {
    /// Of what runs.
    fn cpu_seconds(&self, now: Timestamp) -> f64 {
        match self.state {
            State::Running { started_at } => self.cpu.between(started_at, now),
            State::Exited(_) => 0.0,
        }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[async_trait]
impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { exec: false, attach: false, deliver: false }
    }

    async fn prepare(&self, _image: &Image) -> Result<()> {
        Ok(())
    }

    async fn start(&self, sandbox: &Sandbox, container: &Container) -> Result<ContainerId> {
        let behaviour = (self.inner.script)(container);
        if behaviour.fail.is_none() && !behaviour.output.is_empty() {
            write_log(&container.log_path, &behaviour.output, self.inner.now())
                .map_err(|error| Error::Runtime(format!("{}: {error}", container.log_path.display())))?;
        }
        let id = {
            let mut containers = self.inner.containers.lock();
            containers.next += 1;
            ContainerId(format!("fake://{:016x}", containers.next))
        };
        let run = Run {
            id: id.clone(),
            pod: sandbox.pod.clone(),
            container: container.name.clone(),
            restart_count: container.restart_count,
            started_at: None,
        };
        self.begin(run, behaviour).map(|_| id)
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let stubborn = match self.inner.containers.lock().known.get(id) {
            Some(Known { state: State::Running { .. }, ignores_stop, .. }) => *ignores_stop,
            _ => return Ok(()),
        };
        if stubborn {
            tokio::time::sleep(grace).await;
            self.inner.end(id, 137, "Error");
        } else {
            self.inner.end(id, 143, "Error");
        }
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.forget(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let containers = self.inner.containers.lock();
        let observed = |(id, known): (&ContainerId, &Known)| Observed {
            id: id.clone(),
            pod: known.pod.clone(),
            container: known.name.clone(),
            restart_count: known.restart_count,
            state: known.state.clone(),
        };
        Ok(containers.known.iter().map(observed).collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn deliver(&self, _id: &ContainerId, _port: u16, socket: OwnedFd) -> Result<(), OwnedFd> {
        Err(socket)
    }

    async fn dial(&self, id: &ContainerId, _port: u16) -> Result<BoxStream> {
        match self.inner.containers.lock().known.get(id) {
            Some(_) => Err(Error::Unsupported("dial")),
            None => Err(Error::NotFound(id.0.clone())),
        }
    }

    async fn stats(&self) -> Result<HashMap<ContainerId, Stats>> {
        let now = self.inner.now();
        let containers = self.inner.containers.lock();
        let running = containers.known.iter().filter(|(_, known)| matches!(known.state, State::Running { .. }));
        let stats = running.map(|(id, known)| {
            let (cpu_nanoseconds, memory_bytes) = (nanoseconds(known.cpu_seconds(now)), known.memory.at(now) as u64);
            (id.clone(), Stats { cpu_nanoseconds, memory_bytes })
        });
        Ok(stats.collect())
    }
}

fn write_log(path: &Path, lines: &[String], at: Timestamp) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let text: String = lines.iter().map(|line| format!("{at:.9} stdout F {line}\n")).collect();
    file.write_all(text.as_bytes())
}

/// Images that exist without a registry. `missing` in the reference: the registry has none; `denied`, `broken` and
/// upper-case repositories fail as their names say; `linux` is a Linux image. Everything else is Wasm.
#[derive(Default)]
pub struct FakeImages {
    pulled: Mutex<BTreeMap<String, Image>>,
}

#[async_trait]
impl Images for FakeImages {
    async fn local(&self, reference: &str) -> Option<Image> {
        self.pulled.lock().get(reference).cloned()
    }

    async fn pull(&self, reference: &str, _: &Credentials, progress: Progress) -> Result<Image, ImageError> {
        let image = fake_image(reference)?;
        progress(image.size_bytes, image.size_bytes);
        self.pulled.lock().insert(reference.to_owned(), image.clone());
        Ok(image)
    }

    async fn remove(&self, digest: &str) -> Result<(), ImageError> {
        self.pulled.lock().retain(|_, image| image.digest != digest);
        Ok(())
    }

    async fn list(&self) -> Vec<Image> {
        self.pulled.lock().values().cloned().collect()
    }
}

fn fake_image(reference: &str) -> Result<Image, ImageError> {
    let named = reference.to_owned();
    if reference.chars().any(|c| c.is_ascii_uppercase()) {
        let reason = "invalid reference format: repository name must be lowercase".into();
        return Err(ImageError::InvalidName { reference: named, reason });
    }
    if reference.contains("missing") {
        return Err(ImageError::NotFound { reference: named });
    }
    if reference.contains("denied") {
        return Err(ImageError::Denied { reference: named, reason: "unauthorized".into() });
    }
    if reference.contains("broken") {
        return Err(ImageError::Registry { reference: named, reason: "connection refused".into() });
    }
    let digest = format!("sha256:{:064x}", reference.bytes().fold(7_u64, |sum, b| sum.wrapping_mul(31) + u64::from(b)));
    let kind = if reference.contains("linux") {
        ImageKind::Oci { platforms: vec!["linux/amd64".into()] }
    } else {
        ImageKind::Wasm { path: "/dev/null".into(), layer_digest: digest.clone() }
    };
    let repository = reference.rsplit_once(':').map_or(reference, |(repository, _)| repository);
    Ok(Image {
        id: format!("{repository}@{digest}"),
        reference: named,
        digest,
        kind,
        size_bytes: 1_024,
        entrypoint: Vec::new(),
        env: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Subject};

    #[tokio::test(start_paused = true)]
    async fn the_fake_passes_the_suite_of_every_runtime() {
        let directory = tempfile::tempdir().unwrap();
        let image = fake_image("fake/echo:1").unwrap();
        let subject = Subject {
            runtime: Arc::new(Fake::default()),
            runs_forever: conformance::container(&image, &["say=hello"]),
            exits_with_3: conformance::container(&image, &["exit=3", "after=50"]),
            says_hello: conformance::container(&image, &["say=hello", "exit=0"]),
            directory: directory.path().to_owned(),
        };
        conformance::check(&subject).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_scripted_end_comes_exactly_when_it_is_due() {
        let fake = Fake::default();
        let directory = tempfile::tempdir().unwrap();
        let sandbox = conformance::sandbox(directory.path());
        let container = conformance::container(&fake_image("a").unwrap(), &["exit=7", "after=90000"]);
        let mut changed = fake.changed();
        let id = fake.start(&sandbox, &container).await.unwrap();
        changed.mark_unchanged();
        changed.changed().await.unwrap();
        let observed = fake.list().await.unwrap();
        let State::Exited(exit) = &observed[0].state else { panic!("{observed:?}") };
        assert_eq!((exit.code, (exit.finished_at - exit.started_at).get_seconds()), (7, 90), "{id:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_adds_up_beyond_an_end() {
        let fake = Fake::default();
        let directory = tempfile::tempdir().unwrap();
        let container = conformance::container(&fake_image("a").unwrap(), &["cpu=250", "memory=1024"]);
        let id = fake.start(&conformance::sandbox(directory.path()), &container).await.unwrap();
        tokio::time::sleep(Duration::from_secs(8)).await;
        let stats = fake.stats().await.unwrap()[&id];
        assert_eq!((stats.cpu_nanoseconds / 1_000_000, stats.memory_bytes), (2_000, 1_024));
        fake.end(&id, 0);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(fake.stats().await.unwrap().is_empty());
        assert_eq!(fake.cpu_nanoseconds() / 1_000_000, 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stubborn_container_is_ended_after_its_grace() {
        let fake = Fake::default();
        let directory = tempfile::tempdir().unwrap();
        let container = conformance::container(&fake_image("a").unwrap(), &["ignore-stop"]);
        let id = fake.start(&conformance::sandbox(directory.path()), &container).await.unwrap();
        let before = Instant::now();
        fake.stop(&id, Duration::from_secs(30)).await.unwrap();
        assert!(before.elapsed() >= Duration::from_secs(30));
        assert!(matches!(&fake.list().await.unwrap()[0].state, State::Exited(exit) if exit.code == 137));
    }
}
