//! A container in the runtime's own words; the agent converts from the pod by hand.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Image, PodName};

/// `wasm://<hex>`, as the API's `containerID` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(pub String);

/// Everything needed to start one container; all references are resolved.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: String,
    pub image: Image,
    /// `command` of the pod, already expanded; empty: the image's entrypoint.
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_directory: Option<String>,
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    /// TCP ports that it declares, in the pod's order.
    pub ports: Vec<u16>,
    /// How often it was restarted before this start.
    pub restart_count: u32,
    /// Where its output goes, in CRI log lines. The agent makes the directory.
    pub log_path: PathBuf,
    /// The worker process it may share: containers of equal keys run together.
    pub trust_domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Sum over all memories and tables of all instances; more is `OOMKilled`, 137.
    pub memory_bytes: Option<u64>,
    pub cpu_millicores: Option<u64>,
    pub cpu_request_millicores: Option<u64>,
}

/// A container as the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub id: ContainerId,
    pub pod: PodName,
    pub container: String,
    pub restart_count: u32,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running { started_at: Timestamp },
    Exited(Exit),
}

/// How a container ended; the fields of the API's `terminated` state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerStatusUnknown`.
    pub reason: String,
    /// Termination message: a trap with its Wasm backtrace, else empty.
    pub message: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}
