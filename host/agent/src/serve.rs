//! What the API server asks a node for, with the kubelet's paths. Logs are followed by inotify; a log ends when its
//! container has.

use std::convert::Infallible;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use amphipod_runtime::{ContainerId, PodName};
use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rustix::fs::inotify;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::host::Host;
use crate::logs;
use crate::slot::{Phase, Slot};
use crate::stats::gather;

/// Read from a log at once.
const PIECE: usize = 64 * 1_024;
/// Of a longer tail only the last lines are shown.
const TAIL_BYTES_MAX: u64 = 64 << 20;

/// What others may see of a pod's containers.
pub struct Shown {
    pub name: PodName,
    pub pod: Arc<Pod>,
    pub log_directory: PathBuf,
    containers: watch::Sender<Vec<ShownContainer>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ShownContainer {
    name: String,
    /// The newest run that has a log; `None`: it never ran.
    run: Option<u32>,
    /// And since when.
    running: Option<(ContainerId, Timestamp)>,
    waiting: Option<&'static str>,
}

impl Shown {
    pub fn new(host: &Host, pod: &Arc<Pod>, name: &PodName) -> Self {
        let directory = format!("{}_{}_{}", name.namespace, name.name, name.uid);
        Self {
            name: name.clone(),
            pod: pod.clone(),
            log_directory: host.options.data_dir.join("pods").join(directory),
            containers: watch::Sender::new(Vec::new()),
        }
    }

    pub fn update(&self, slots: &[Slot]) {
        let now: Vec<ShownContainer> = slots
            .iter()
            .map(|slot| ShownContainer {
                name: slot.name.clone(),
                run: (slot.last.is_some() || !matches!(slot.phase, Phase::Waiting(_))).then_some(slot.restart_count),
                running: match &slot.phase {
                    Phase::Running { id, started_at, .. } => Some((id.clone(), *started_at)),
                    _ => None,
                },
                waiting: match &slot.phase {
                    Phase::Waiting(why) => Some(why.as_ref().map_or("ContainerCreating", |why| why.reason)),
                    _ => None,
                },
            })
            .collect();
        self.containers.send_if_modified(|known| {
            let differs = *known != now;
            *known = now;
            differs
        });
    }

    /// Name, id and start of each container that runs.
    pub fn running(&self) -> Vec<(String, ContainerId, Timestamp)> {
        let containers = self.containers.borrow();
        let running = |one: &ShownContainer| one.running.clone().map(|(id, since)| (one.name.clone(), id, since));
        containers.iter().filter_map(running).collect()
    }
}

pub fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/stats/summary", get(gather::summary))
        .route("/metrics/resource", get(gather::resource_metrics))
        .route("/metrics/cadvisor", get(gather::cadvisor_metrics))
        .route("/metrics", get(metrics))
        .with_state(host)
}

async fn pods(State(host): State<Arc<Host>>) -> impl IntoResponse {
    let pods: Vec<Pod> = host.shown.lock().values().map(|shown| (*shown.pod).clone()).collect();
    Json(json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
}

async fn metrics(State(host): State<Arc<Host>>) -> impl IntoResponse {
    let pods = host.shown.lock().len();
    format!(
        "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n"
    )
}

type Refusal = (StatusCode, String);

async fn container_logs(
    State(host): State<Arc<Host>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<logs::Query>,
) -> Result<Response, Refusal> {
    let same = |shown: &&Arc<Shown>| shown.name.namespace == namespace && shown.name.name == pod;
    // Of two pods with the name the newer one is meant, the other is on its way out.
    let made = |shown: &&Arc<Shown>| shown.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let shown = host.shown.lock().values().filter(same).max_by_key(made).cloned();
    let shown = shown.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {pod:?} not found\n")))?;
    let known = shown.containers.borrow().iter().find(|one| one.name == container).cloned();
    let refuse = |text: String| (StatusCode::BAD_REQUEST, text);
    let known = known.ok_or_else(|| refuse(format!("container {container} is not valid for pod {pod}")))?;
    let run = match (known.run, query.previous) {
        (Some(run), false) => run,
        (Some(run), true) if run > 0 => run - 1,
        (_, true) => {
            return Err(refuse(format!("previous terminated container {container:?} in pod {pod:?} not found")));
        }
        (None, false) => {
            let why = known.waiting.unwrap_or("ContainerCreating");
            return Err(refuse(format!("container {container:?} in pod {pod:?} is waiting to start: {why}")));
        }
    };
    let path = shown.log_directory.join(&container).join(format!("{run}.log"));
    let tail = Tail {
        reader: logs::Reader::new(query.clone(), Timestamp::now()),
        follow: query.follow && !query.previous,
        path,
        container,
        run,
        open: None,
        containers: shown.containers.subscribe(),
    };
    let pieces = futures::stream::unfold(tail, async |mut tail| {
        tail.next().await.map(|piece| (Ok::<_, Infallible>(piece), tail))
    });
    Ok(([("content-type", "text/plain")], Body::from_stream(pieces)).into_response())
}

struct Tail {
    reader: logs::Reader,
    follow: bool,
    path: PathBuf,
    container: String,
    run: u32,
    open: Option<Open>,
    containers: watch::Receiver<Vec<ShownContainer>>,
}

struct Open {
    file: tokio::fs::File,
    /// Wakes at each write; a file that cannot be watched is read when its container changes.
    written: Option<pipe::Receiver>,
}

impl Tail {
    /// The next piece of text; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.reader.done() {
                return None;
            }
            let runs = self.runs();
            let piece = self.read().await.ok()?;
            match piece {
                Some(text) if text.is_empty() => {}
                Some(text) => return Some(Bytes::from(text)),
                None if !self.follow || !runs => return None,
                None => self.wait().await?,
            }
        }
    }

    /// Asked before reading: what was written before the end is read after it.
    fn runs(&mut self) -> bool {
        let containers = self.containers.borrow_and_update();
        containers.iter().any(|one| one.name == self.container && one.run == Some(self.run) && one.running.is_some())
    }

    /// `None`: nothing more for now.
    async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.open.is_none() {
            let opened = tokio::fs::File::open(&self.path).await;
            let mut file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let written = self.follow.then(|| watched(&self.path).ok()).flatten();
            let first = match self.reader.tail_lines() {
                Some(lines) => self.reader.first(&end_of(&mut file, lines).await?),
                None => Vec::new(),
            };
            self.open = Some(Open { file, written });
            return Ok(Some(first));
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let mut piece = vec![0; PIECE];
        let length = open.file.read(&mut piece).await?;
        Ok((length > 0).then(|| self.reader.more(&piece[..length])))
    }

    async fn wait(&mut self) -> Option<()> {
        let written = self.open.as_mut().and_then(|open| open.written.as_mut());
        let write = async {
            match written {
                Some(pipe) => {
                    // The events themselves do not matter, only that there were some.
                    let mut events = [0; 4_096];
                    let _ = pipe.readable().await;
                    while pipe.try_read(&mut events).is_ok_and(|length| length > 0) {}
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = write => Some(()),
            changed = self.containers.changed() => changed.ok(),
        }
    }
}

/// The end of a log that holds its last so many lines; the file is then at its end. A log may be larger than memory.
async fn end_of(file: &mut tokio::fs::File, lines: usize) -> io::Result<Vec<u8>> {
    let length = file.metadata().await?.len();
    let mut window = PIECE as u64;
    loop {
        let from = length.saturating_sub(window);
        file.seek(SeekFrom::Start(from)).await?;
        let mut bytes = Vec::new();
        (&mut *file).take(length - from).read_to_end(&mut bytes).await?;
        if from > 0 {
            let cut = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            bytes.drain(..cut);
        }
        if from == 0 || window >= TAIL_BYTES_MAX || logs::whole_lines(&bytes) > lines {
            return Ok(bytes);
        }
        window *= 4;
    }
}

fn watched(path: &std::path::Path) -> io::Result<pipe::Receiver> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
    pipe::Receiver::from_owned_fd_unchecked(watch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tail_of_a_long_log_is_found_from_its_end() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let lines: String = (0..20_000).map(|at| format!("2026-01-01T00:00:01Z stdout F line {at}\n")).collect();
        std::fs::write(&path, &lines).unwrap();
        for wanted in [0, 1, 3, 5_000, 20_000, 30_000] {
            let mut file = tokio::fs::File::open(&path).await.unwrap();
            let bytes = end_of(&mut file, wanted).await.unwrap();
            let query = logs::Query { tail_lines: Some(wanted), ..logs::Query::default() };
            let shown = logs::Reader::new(query, Timestamp::UNIX_EPOCH).first(&bytes);
            let shown = String::from_utf8(shown).unwrap();
            assert_eq!(shown.lines().count(), wanted.min(20_000), "{wanted}");
            assert!(wanted == 0 || shown.ends_with("line 19999\n"));
            assert!(wanted > 3 || bytes.len() <= PIECE, "{} bytes for {wanted} lines", bytes.len());
            assert_eq!(file.stream_position().await.unwrap(), lines.len() as u64);
        }
    }
}
