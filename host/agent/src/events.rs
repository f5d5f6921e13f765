//! What the agent says about pods and the node, as core/v1 Events. Writing them is somebody else's work behind
//! [`Events`]; recording never waits.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use parking_lot::Mutex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

/// Takes events and returns at once; may drop some in a storm.
pub trait Events: Send + Sync {
    fn record(&self, about: ObjectReference, severity: Severity, reason: &str, message: String);
}

/// Says what happens to one pod and its containers.
#[derive(Clone)]
pub struct PodEvents {
    sink: Arc<dyn Events>,
    about: ObjectReference,
}

impl PodEvents {
    pub fn new(sink: Arc<dyn Events>, pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let about = ObjectReference {
            kind: Some("Pod".into()),
            api_version: Some("v1".into()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        Self { sink, about }
    }

    pub fn pod(&self, severity: Severity, reason: &str, message: impl Into<String>) {
        self.sink.record(self.about.clone(), severity, reason, message.into());
    }

    /// `path` is `spec.containers{name}` or `spec.initContainers{name}`.
    pub fn container(&self, path: &str, severity: Severity, reason: &str, message: impl Into<String>) {
        let about = ObjectReference { field_path: Some(path.to_owned()), ..self.about.clone() };
        self.sink.record(about, severity, reason, message.into());
    }
}

/// Keeps events in memory: for tests.
#[derive(Default)]
pub struct Recorded(Mutex<Vec<String>>);

impl Recorded {
    /// `Normal Pulled …`, in order.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl Events for Recorded {
    fn record(&self, _: ObjectReference, severity: Severity, reason: &str, message: String) {
        self.0.lock().push(format!("{severity:?} {reason} {message}"));
    }
}
