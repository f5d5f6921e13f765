//! The seam between the node agent and what runs containers: [`Runtime`], with the words it needs. The agent
//! owns each pod's [`Sandbox`]; `host/worker` (Wasm), later `host/cri` (OCI) and [`fake`] stand behind the seam.
//! Images are a seam of their own: [`images::Images`].

pub mod conformance;
pub mod container;
pub mod curve;
pub mod fake;
pub mod images;
pub mod sandbox;

pub use container::{Container, ContainerId, Exit, Limits, Mount, Observed, State};
pub use curve::Curve;
pub use images::{Credentials, Image, ImageError, ImageKind, Images, Progress};
pub use sandbox::{Connect, PodName, Sandbox};

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Why a container could not be started or reached.
#[derive(Debug, thiserror::Error, Clone)]
pub enum Error {
    /// The container's own configuration is wrong (`CreateContainerConfigError`); trying again cannot help
    /// until the pod or the image changes. The message names what is missing.
    #[error("{0}")]
    Config(String),
    /// The image cannot be run (`ImageInspectError`, `InvalidImageName`): not a component, corrupt, too large.
    #[error("{0}")]
    Image(String),
    /// The runtime failed (`CreateContainerError`/`RunContainerError`); worth trying again.
    #[error("{0}")]
    Runtime(String),
    #[error("container {0} does not exist")]
    NotFound(String),
    #[error("{0} is not supported by this runtime")]
    Unsupported(&'static str),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What this runtime can do, so that nobody finds out by an error.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    pub exec: bool,
    pub attach: bool,
    /// It serves connected sockets that [`Runtime::deliver`] hands over.
    pub deliver: bool,
}

/// CPU that a container has used since its start, and memory that it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
}

/// A connection into a container.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
pub type BoxStream = Pin<Box<dyn Stream>>;

/// Runs the containers of pods on this host. `list` is the truth; `changed` only says that it is worth asking
/// again, so a restarted agent and a running one walk the same path.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// The scheme of this runtime's container ids and of the node's `containerRuntimeVersion`: `wasm`, `fake`.
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    fn capabilities(&self) -> Capabilities;

    /// Makes an image ready to start quickly (compiles it). Called once after a pull; idempotent.
    async fn prepare(&self, image: &Image) -> Result<()>;

    /// Starts one container. It has returned before the container serves or ends.
    async fn start(&self, sandbox: &Sandbox, container: &Container) -> Result<ContainerId>;

    /// Asks it to end; after `grace` it is ended (exit 137). Returns when it has ended. Unknown ids are no error.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Forgets an ended container. Unknown ids are no error.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Every container this runtime knows, ended ones until they are removed.
    async fn list(&self) -> Result<Vec<Observed>>;

    /// Grows whenever `list` would differ.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Hands over an accepted connection for a port of the container: no byte is copied. Gives the socket back when
    /// this container does not serve that port.
    fn deliver(&self, id: &ContainerId, port: u16, socket: OwnedFd) -> Result<(), OwnedFd>;

    /// Opens a connection to a port of the container (probes, port-forward).
    async fn dial(&self, id: &ContainerId, port: u16) -> Result<BoxStream>;

    /// What every running container has used, in one go.
    async fn stats(&self) -> Result<HashMap<ContainerId, Stats>>;
}
