//! The processes in which guests run. The program re-executes itself in two hidden roles: `wasm-worker` runs the guests
//! of one trust domain, `wasm-compile` turns an image into a `.cwasm` and runs nothing. [`WasmRuntime`] is the parent's
//! side, behind the seam of `host/runtime`; `host/wasm` is what the worker does.
//!
//! ```text
//! WasmRuntime ─ protocol.rs over a Unix socket (channel.rs: frames and file descriptors) ─► worker.rs
//!      │                                                                                    sandbox.rs first
//!      └─ cache.rs: one .cwasm per image, keyed and sealed ─ compile.rs: one process per image
//! ```

mod cache;
mod channel;
mod child;
mod compile;
mod protocol;
mod runtime;
mod sandbox;
mod worker;

pub use amphipod_wasm::{HttpOptions, reference::reference_server};
pub use runtime::{Options, WasmRuntime};

use std::process::ExitCode;

/// The hidden role `wasm-worker`: the whole life of a worker process. The control socket is its standard input.
/// Must be called before any other thread exists.
pub fn worker_main() -> ExitCode {
    worker::main()
}

/// The hidden role `wasm-compile`: compiles one image and ends. As [`worker_main`].
pub fn compile_main() -> ExitCode {
    compile::main()
}
