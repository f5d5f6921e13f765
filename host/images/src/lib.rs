//! Wasm images from any OCI registry, kept by content below one directory. Behind the seam
//! [`amphipod_runtime::Images`]; `host/worker` compiles what lies here.
//!
//! ```text
//! pull.rs   reference ─► manifest ─► format.rs: which layer is the module? ─► blob, verified ─► store.rs
//! push.rs   module ─► CNCF artifact ─► registry
//! ```

mod credentials;
mod format;
mod pull;
mod push;
mod registry;
mod store;

pub use credentials::credentials_for;
pub use push::push;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use amphipod_runtime::{Credentials, Image, ImageError, Images, Progress};
use async_trait::async_trait;
use parking_lot::Mutex;

use crate::store::Store;

#[derive(Debug, Clone)]
pub struct Options {
    /// Larger modules are refused.
    pub image_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { image_bytes_max: 256 << 20 }
    }
}

/// The Wasm images of this node.
pub struct WasmImages {
    store: Store,
    options: Options,
    /// By digest: one downloads, the others wait.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl WasmImages {
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(directory: &Path, options: Options) -> std::io::Result<Self> {
        Ok(Self { store: Store::open(directory)?, options, pulls: Mutex::default() })
    }
}

#[async_trait]
impl Images for WasmImages {
    async fn local(&self, reference: &str) -> Option<Image> {
        let parsed = registry::parse(reference).ok()?;
        self.store.find(reference, &parsed)
    }

    async fn pull(&self, reference: &str, credentials: &Credentials, progress: Progress) -> Result<Image, ImageError> {
        pull::pull(self, reference, credentials, &progress).await
    }

    async fn remove(&self, digest: &str) -> Result<(), ImageError> {
        self.store
            .remove(digest)
            .map_err(|error| ImageError::Registry { reference: digest.into(), reason: error.to_string() })
    }

    async fn list(&self) -> Vec<Image> {
        self.store.list()
    }
}
