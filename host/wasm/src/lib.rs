//! Runs Wasm guests; alone names wasmtime. `host/worker` is the process around it, `host/runtime` the seam that it
//! serves. A container starts in [`start`].
//!
//! ```text
//! compile.rs  component ─► .cwasm          (in the wasm-compile process, which runs nothing)
//! link.rs     .cwasm ─► Program            (loaded once, shared by every container of the image)
//! start.rs    Program + Launch ─► Running ─┬► command.rs   runs to its end
//!                                          └► http.rs      serves, instances.rs runs the requests
//! ```

mod command;
mod compile;
mod cpu;
mod engine;
mod exit;
mod guest;
mod http;
mod instances;
mod limits;
mod link;
mod logs;
mod outgoing;
pub mod reference;
mod start;

pub use compile::{compatibility, compile};
pub use engine::{Host, Options};
pub use http::HttpOptions;
pub use link::{Kind, Program};
pub use logs::Log;
pub use start::{Directory, Launch, Running, start};

/// The version of the engine, as the node's `containerRuntimeVersion` shows it.
pub const ENGINE_VERSION: &str = "wasmtime-48.0.8";

/// Why a guest cannot be compiled, loaded or started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It wants something that this host does not offer; the message names it. Trying again cannot help.
    #[error("{0}")]
    Config(String),
    /// The bytes are no component or module that this engine can run. Trying again cannot help.
    #[error("{0}")]
    Image(String),
    /// The host failed; worth trying again.
    #[error("{0}")]
    Host(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
