//! Images: where they come from and what is on this node. Behind the seam stands `host/images` (Wasm from any
//! OCI registry); later the CRI's image service.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

/// An image on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As the pod names it.
    pub reference: String,
    /// `registry/repository@sha256:…`, the API's `imageID`.
    pub id: String,
    /// Of the manifest: `sha256:…`.
    pub digest: String,
    pub kind: ImageKind,
    pub size_bytes: u64,
    /// From the image's config, when it has one.
    pub entrypoint: Vec<String>,
    pub env: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// The module or component, verified against its layer's digest.
    Wasm { path: PathBuf, layer_digest: String },
    /// A Linux image; nothing of it was downloaded.
    Oci { platforms: Vec<String> },
}

/// Who asks the registry.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
    Bearer(String),
}

/// `(bytes so far, bytes in all)`; called often, must be cheap.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Why there is no image. The API's waiting reasons in brackets.
#[derive(Debug, thiserror::Error, Clone)]
pub enum ImageError {
    /// [InvalidImageName]
    #[error("couldn't parse image name {reference:?}: {reason}")]
    InvalidName { reference: String, reason: String },
    /// [ErrImagePull → ImagePullBackOff] the registry has no such image.
    #[error("{reference}: not found")]
    NotFound { reference: String },
    /// [ErrImagePull] the registry wants other credentials.
    #[error("{reference}: pull access denied: {reason}")]
    Denied { reference: String, reason: String },
    /// [ErrImagePull] the registry cannot be reached or fails; worth trying again.
    #[error("failed to pull {reference}: {reason}")]
    Registry { reference: String, reason: String },
    /// [ErrImagePull] what came is not what the digest says, or no known format.
    #[error("{reference}: {reason}")]
    Invalid { reference: String, reason: String },
}

#[async_trait]
pub trait Images: Send + Sync {
    /// The image as it is on this node, or `None`; asks no registry.
    async fn local(&self, reference: &str) -> Option<Image>;
    /// Asks the registry for the manifest, downloads what is missing and verifies it. A tag is resolved anew.
    async fn pull(&self, reference: &str, credentials: &Credentials, progress: Progress) -> Result<Image, ImageError>;
    async fn remove(&self, digest: &str) -> Result<(), ImageError>;
    async fn list(&self) -> Vec<Image>;
}
