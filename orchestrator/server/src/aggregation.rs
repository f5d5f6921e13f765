//! Aggregated APIs: groups and versions that another server answers for, because an APIService says so.
//!
//! ```text
//!  APIService with a Service ─► aggregation/follow.rs ─► available.rs asks it ─► condition Available written
//!                                      └─► Remotes swapped into the catalog ─► discovery tells of it
//!  request under /apis/GROUP/VERSION ─► resources.rs ─► relay.rs ─► one of the Service's endpoints
//!  built-in and custom versions ─► registration.rs ─► APIServices without a Service ("Local")
//! ```

mod available;
mod backend;
mod documents;
pub mod follow;
mod registration;
pub mod relay;

use std::sync::Arc;

use serde_json::Value;

use crate::discovery::Priority;
pub use backend::Backend;
pub use registration::PRIORITY as CUSTOM_PRIORITY;

/// One group and version that is answered elsewhere.
pub struct Remote {
    pub group: String,
    pub version: String,
    pub priority: Priority,
    /// Its condition Available says True; else callers are told to come back.
    pub is_available: bool,
    pub served: Arc<Served>,
    pub backend: Arc<Backend>,
}

/// What a remote version told of itself when it was asked last.
#[derive(Debug, Default, PartialEq)]
pub struct Served {
    /// Aggregated discovery's resources.
    pub resources: Vec<Value>,
    /// The last question was answered.
    pub is_fresh: bool,
    /// What its OpenAPI v3 index says of this version: `serverRelativeURL`.
    pub document: Option<String>,
}

/// All of them, at one moment.
#[derive(Clone, Default)]
pub struct Remotes(Arc<Vec<Arc<Remote>>>);

impl Remotes {
    pub fn new(remotes: Vec<Remote>) -> Self {
        Self(Arc::new(remotes.into_iter().map(Arc::new).collect()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Remote> {
        self.0.iter().map(|remote| &**remote)
    }

    pub fn find(&self, group: &str, version: &str) -> Option<&Arc<Remote>> {
        self.0.iter().find(|remote| remote.group == group && remote.version == version)
    }

    /// The one that a plain path is about: `/apis/GROUP/VERSION`, `/openapi/v3/apis/GROUP/VERSION`.
    pub fn of_path(&self, path: &str) -> Option<&Arc<Remote>> {
        if self.0.is_empty() {
            return None;
        }
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["apis", group, version] => self.find(group, version),
            ["openapi", "v3", "apis", group, version] => {
                self.find(group, version).filter(|remote| remote.served.document.is_some())
            }
            _ => None,
        }
    }
}
