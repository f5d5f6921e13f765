//! What a pod has before any of its containers: a name, an address, the sockets it listens on.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Names one pod for its whole life; a recreated pod has another uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Owned by the agent, made before any runtime is asked, gone after the last container.
pub struct Sandbox {
    pub pod: PodName,
    pub ip: IpAddr,
    pub hostname: String,
    /// `<namespace>_<name>_<uid>` below the node's pod logs.
    pub log_directory: PathBuf,
    /// Bound by the agent, one per TCP port that a Wasm container of the pod serves, kept while the pod lives: a
    /// worker gets a duplicate, so no connection is lost when it dies.
    pub listeners: BTreeMap<u16, Arc<TcpListener>>,
}

/// Opens connections on behalf of pods: guests may not make sockets themselves. `host/net` stands behind it;
/// it resolves Service names, checks policy and binds the pod's address.
#[async_trait]
pub trait Connect: Send + Sync {
    /// `host` is a name or an address as the guest wrote it.
    async fn connect(&self, pod: &PodName, host: &str, port: u16) -> io::Result<OwnedFd>;
}
