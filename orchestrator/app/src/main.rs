//! `amphipod`: one program. A role is a subcommand; roles that must be apart are this binary run again
//! (`wasm-worker`, `wasm-compile`: see `host/worker`). `cluster.rs` wires a cluster, `up.rs` runs it for a developer.

mod access;
mod apply;
mod bench;
mod cluster;
mod connect;
mod data;
mod delete;
mod failure;
mod flags;
mod get;
mod keyring;
mod kubeconfig;
mod logs;
mod manifest;
mod push;
mod relay;
mod report;
mod secrets;
mod simulate;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Short-lived JSON makes most of the server's garbage; the C library's allocator spent a quarter of a write on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs Wasm components and OCI images as Kubernetes pods.
#[derive(Parser)]
#[command(name = "amphipod", version, max_term_width = 110, disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster on this machine: no root needed, nothing on the host is changed
    Up(Box<up::Up>),
    /// Write or merge a kubeconfig for a cluster of this machine, with a certificate for its administrator or a user
    Kubeconfig(kubeconfig::Kubeconfig),
    /// Push a Wasm component or module to a registry as an OCI artifact
    Push(push::Push),
    /// Create or change objects from manifests
    Apply(apply::Apply),
    /// Show objects
    Get(get::Get),
    /// Delete objects
    Delete(delete::Delete),
    /// Print what a pod's container wrote
    Logs(logs::Logs),
    /// Show or rotate the keys that seal Secrets
    Secrets(secrets::Secrets),
    /// Add nodes that only claim to run pods, for planning and trying
    Simulate(simulate::Simulate),
    /// Measure this program and print the figures as JSON
    Bench(bench::Bench),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
    /// Runs guests; started by the node agent
    #[command(hide = true)]
    WasmWorker,
    /// Compiles guests; started by the node agent
    #[command(hide = true)]
    WasmCompile,
}

fn main() -> ExitCode {
    refuse_huge_pages();
    let cli = Cli::parse();
    let done = match cli.command {
        // These two must stay single-threaded until they have locked themselves in.
        Command::WasmWorker => return amphipod_worker::worker_main(),
        Command::WasmCompile => return amphipod_worker::compile_main(),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "amphipod", &mut script);
            report::print(String::from_utf8_lossy(&script)).map_err(anyhow::Error::from)
        }
        command => run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::print(&error),
    }
}

/// Pages of 2 MiB behind small heaps double what an idle server and a parked function hold. The children inherit it.
fn refuse_huge_pages() {
    // SAFETY: the call takes integers and touches no memory of this program; on an old kernel it does nothing.
    #[allow(unsafe_code)]
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    // The provider is chosen once for every TLS connection of the program; an error only says that it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Up(up) => up.run().await,
            Command::Kubeconfig(kubeconfig) => kubeconfig.run(),
            Command::Push(push) => push.run().await,
            Command::Apply(apply) => apply.run().await,
            Command::Get(get) => get.run().await,
            Command::Delete(delete) => delete.run().await,
            Command::Logs(logs) => logs.run().await,
            Command::Secrets(secrets) => secrets.run().await,
            Command::Simulate(simulate) => simulate.run().await,
            Command::Bench(bench) => bench.run().await,
            Command::Completion { .. } | Command::WasmWorker | Command::WasmCompile => Ok(()),
        }
    });
    runtime.shutdown_background();
    done
}
