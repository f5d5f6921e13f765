//! The built-in OCI registry: Distribution 1.1 over a content-addressed folder. Requests are routed by hand in
//! `route.rs` (repository names hold slashes), blobs lie in `blobs.rs`, manifests and tags in `manifests.rs`,
//! what nobody names is freed in `garbage.rs`, refusals are worded in `refusal.rs`.
//!
//! ```text
//!  DIR/blobs/sha256/HEX                    every blob and manifest, once
//!  DIR/uploads/UUID                        bytes on their way
//!  DIR/repositories/NAME/_layers/HEX       a blob belongs to the repository
//!                        _manifests/HEX    a manifest does; content is its media type
//!                        _tags/TAG         content is a digest
//!                        _referrers/HEX/HEX  subject / the manifest that names it
//! ```

mod blobs;
mod garbage;
mod manifests;
mod name;
mod refusal;
mod route;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use http::request::Parts;
use tokio::fs;

pub use garbage::YOUNG;
pub use refusal::Refusal;

/// Bytes of one manifest at most (the size every registry accepts).
pub const MANIFEST_MAX: usize = 4 << 20;
/// Bytes of one blob at most, unless the operator says otherwise.
pub const BLOB_MAX: u64 = 4 << 30;
/// Entries of one page of tags, repositories or referrers at most.
pub const PAGE_MAX: usize = 1_000;
/// Uploads under way at a time; more are refused.
pub const UPLOADS_MAX: usize = 256;

/// Whether a request that writes may go on; it reads the request's credentials.
pub type Allow = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Who may push and delete. Pulls are free for everyone who reaches the listener.
#[derive(Clone)]
pub enum Policy {
    /// Everyone: a developer's cluster on loopback.
    Open,
    /// Those whom the closure lets in; others get 401 with a Basic challenge.
    Authorized(Allow),
    /// Nobody.
    ReadOnly,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Authorized(_) => "Authorized",
            Self::ReadOnly => "ReadOnly",
        })
    }
}

/// Why the registry did not open.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the registry at {path}")]
pub struct OpenError {
    pub path: PathBuf,
    #[source]
    pub source: std::io::Error,
}

/// One registry over one folder.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    policy: Policy,
    blob_max: u64,
    uploads: tokio::sync::Semaphore,
}

impl Registry {
    /// Makes the folder if need be; uploads that an earlier run left are thrown away.
    pub async fn open(root: &Path, policy: Policy) -> Result<Self, OpenError> {
        Self::with_limit(root, policy, BLOB_MAX).await
    }

    /// [`Registry::open`] with another limit on the bytes of one blob.
    pub async fn with_limit(root: &Path, policy: Policy, blob_max: u64) -> Result<Self, OpenError> {
        let failed = |source| OpenError { path: root.to_owned(), source };
        match fs::remove_dir_all(root.join("uploads")).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        for folder in ["uploads", "blobs/sha256", "repositories"] {
            fs::create_dir_all(root.join(folder)).await.map_err(failed)?;
        }
        let uploads = tokio::sync::Semaphore::new(UPLOADS_MAX);
        Ok(Self { shared: Arc::new(Shared { root: root.to_owned(), policy, blob_max, uploads }) })
    }

    /// Everything under `/v2/`. Serve it on loopback without TLS, as clients expect of `localhost`.
    pub fn router(&self) -> Router {
        Router::new().fallback(route::handle).with_state(self.clone())
    }

    fn allows(&self, parts: &Parts) -> Result<(), Refusal> {
        match &self.shared.policy {
            Policy::Open => Ok(()),
            Policy::Authorized(allow) if allow(parts) => Ok(()),
            Policy::Authorized(_) => Err(Refusal::Unauthorized),
            Policy::ReadOnly => Err(Refusal::Denied),
        }
    }

    fn blob(&self, digest: &name::Digest) -> PathBuf {
        self.shared.root.join("blobs/sha256").join(digest.hex())
    }

    fn upload(&self, id: &uuid::Uuid) -> PathBuf {
        self.shared.root.join("uploads").join(id.to_string())
    }

    fn repository(&self, name: &name::Name) -> PathBuf {
        self.shared.root.join("repositories").join(name.as_str())
    }
}
