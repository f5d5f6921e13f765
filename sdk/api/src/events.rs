//! Records core/v1 Events as the parts of the cluster see them. Recording never waits and never fails its
//! caller: occurrences go through a bounded queue to one task, which folds repetitions into a count (`folds`)
//! and drops what an object repeats too often (upstream's spam filter).
//!
//! ```text
//!  Recorder::record ── try_send ──► queue ── batch ──► Folds: new | repeated | dropped ──► create or patch, few at a time
//! ```

mod folds;

use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

use folds::{Fold, Folds};

/// Occurrences waiting to be written; more are dropped, never waited for.
pub const QUEUE_MAX: usize = 16_384;
/// Occurrences taken from the queue at once; repetitions inside a batch are one write.
pub const BATCH_MAX: usize = 256;
/// Writes under way at once.
pub const WRITES_MAX: usize = 8;

/// `Normal` or `Warning`, as `kubectl describe` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Normal,
    Warning,
}

/// Who reports: the component (`replicaset-controller`) and its instance (a node's name; may be empty).
#[derive(Debug, Clone)]
pub struct Reporter {
    pub component: String,
    pub instance: String,
}

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    pub about: ObjectReference,
    pub severity: Severity,
    pub reason: String,
    pub message: String,
    pub reporter: Arc<Reporter>,
    pub at: Timestamp,
}

/// A cheap handle; clones share one queue and one task, which ends with the last of them.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
    reporter: Arc<Reporter>,
    _task: Arc<TaskGuard>,
}

struct TaskGuard(tokio::task::JoinHandle<()>);
impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Recorder {
    /// Starts the writing task; must be called inside a tokio runtime.
    pub fn start(client: kube::Client, reporter: Reporter) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(write_all(client, waiting));
        Self { queue, reporter: Arc::new(reporter), _task: Arc::new(TaskGuard(task)) }
    }

    /// The same queue, signed by another component.
    pub fn signed_by(&self, component: &str) -> Self {
        let reporter = Reporter { component: component.to_owned(), instance: self.reporter.instance.clone() };
        Self { reporter: Arc::new(reporter), ..self.clone() }
    }

    pub fn normal<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.record(reference(about), Severity::Normal, reason, message.into());
    }

    pub fn warning<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.record(reference(about), Severity::Warning, reason, message.into());
    }

    /// About anything that a reference can name, for instance one container (`fieldPath`). Dropped when the queue is full.
    pub fn record(&self, about: ObjectReference, severity: Severity, reason: &str, message: String) {
        let occurrence = Occurrence {
            about,
            severity,
            reason: reason.to_owned(),
            message,
            reporter: self.reporter.clone(),
            at: Timestamp::now(),
        };
        // A full queue means a storm of events; losing some of them is the contract.
        let _ = self.queue.try_send(occurrence);
    }
}

/// The reference that an event about this object carries.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference { resource_version: object.meta().resource_version.clone(), ..object.object_ref(&()) }
}

async fn write_all(client: kube::Client, mut waiting: mpsc::Receiver<Occurrence>) {
    let mut folds = Folds::default();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let writes: Vec<Fold> = folds.absorb(batch.drain(..));
        let mut writing =
            futures::stream::iter(writes).map(|fold| write(client.clone(), fold)).buffer_unordered(WRITES_MAX);
        while writing.next().await.is_some() {}
    }
}

/// Best effort: an event that the API refuses (its namespace ends, for instance) is lost.
async fn write(client: kube::Client, fold: Fold) {
    let api: Api<Event> = Api::namespaced(client, &fold.namespace);
    if fold.written_before {
        let patch = serde_json::json!({
            "count": fold.count,
            "message": fold.last.message,
            "lastTimestamp": Time(fold.last.at),
        });
        let patched = api.patch(&fold.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            _ => return,
        }
    }
    let _ = api.create(&PostParams::default(), &event(fold)).await;
}

fn event(fold: Fold) -> Event {
    let Occurrence { about, severity, reason, message, reporter, .. } = fold.last;
    Event {
        metadata: ObjectMeta { name: Some(fold.name), namespace: Some(fold.namespace), ..ObjectMeta::default() },
        involved_object: about,
        reason: Some(reason),
        message: Some(message),
        type_: Some(format!("{severity:?}")),
        source: Some(EventSource {
            component: Some(reporter.component.clone()),
            host: Some(reporter.instance.clone()).filter(|host| !host.is_empty()),
        }),
        reporting_component: Some(reporter.component.clone()),
        reporting_instance: Some(reporter.instance.clone()),
        first_timestamp: Some(Time(fold.first)),
        last_timestamp: Some(Time(fold.last.at)),
        count: Some(fold.count),
        ..Event::default()
    }
}
