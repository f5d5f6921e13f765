//! A whole cluster in this process: its parts in the order they start. They meet only here.
//!
//! ```text
//!  networks ─► listeners ─► store ─► certificates ─► API server ─► bootstrap objects
//!                                                       ├─► registry
//!                                                       ├─► scheduler, controllers   (in-process clients)
//!                                                       └─► node: runtime, agent, proxy
//! ```

mod address;
mod control;
mod node;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use amphipod_server::certificates::{Certificates, Sans, Subject, kubeconfig};
use amphipod_server::seams::Identity;
use amphipod_store::{RaftStore, Store};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use control::DEFAULT_REGISTRY_PORT;
pub use node::CONTROL_PLANE;

use control::Parts;

use crate::access::Access;
use crate::data::{API_ADDRESS, DataDirectory};
use crate::failure::refuse;
use crate::kubeconfig::kubectls_file;
use crate::relay::LocalRelay;
use crate::report::Report;

/// Weight of all objects beyond which creations are refused, on a machine with enough memory.
const STATE_BYTES_MAX: usize = 4 << 30;
/// The state may take one part in so many of the machine's memory.
const STATE_MEMORY_SHARE: usize = 2;

/// What `up` was asked, checked.
pub struct Settings {
    pub data: DataDirectory,
    pub kubeconfig: Option<PathBuf>,
    pub port: u16,
    pub node_name: Option<String>,
    pub node_labels: Vec<(String, String)>,
    /// `(key, value, effect)`
    pub node_taints: Vec<(String, String, String)>,
    pub registry_port: Option<u16>,
    pub cluster_cidr: Option<String>,
    pub service_cidr: Option<String>,
    pub node_ports: (u16, u16),
    pub disabled: Vec<String>,
    /// Whose pods are scheduled, by `spec.schedulerName`.
    pub scheduler_names: Vec<String>,
    pub access: Access,
}

impl Settings {
    fn enabled(&self, part: &str) -> bool {
        !self.disabled.iter().any(|name| name == part)
    }
}

/// A running cluster. Its parts are tasks that end when `shutdown` is cancelled.
pub struct Cluster {
    pub url: String,
    pub node: String,
    pub kubeconfig: PathBuf,
    pub registry: Option<SocketAddr>,
    has_node: bool,
    client: kube::Client,
    server: amphipod_server::Server,
    store: Arc<dyn Store>,
    parts: Parts,
    _networks: address::Networks,
}

impl Cluster {
    pub async fn start(mut settings: Settings, report: &Report) -> anyhow::Result<Self> {
        let audit = settings.access.audit.take();
        let mut parts = Parts { tasks: JoinSet::new(), shutdown: CancellationToken::new() };
        let networks = address::networks(&settings)?;
        let listeners = address::api_listeners(&settings, networks.cluster.first())?;
        let api = listeners[0].local_addr()?;
        let hostname = address::hostname();
        let node = settings.data.remember("node-name", settings.node_name.as_deref().unwrap_or(&hostname))?;
        let network = address::network(&settings, &networks, &node);

        let store = open_store(&settings, &mut parts).await?;
        report.line("store open");
        let sans = Sans::new(&hostname, address::service_ip(&networks), &[networks.cluster.first().to_string()]);
        let certificates = Arc::new(Certificates::open(&settings.data.folder("server/tls")?, sans)?);
        let relay = Arc::new(LocalRelay::default());
        let url = format!("https://127.0.0.1:{}", api.port());
        let parent = control::Parent {
            settings: &settings,
            store: store.clone(),
            certificates: certificates.clone(),
            relay: relay.clone(),
            networks: &networks,
            audit: audit.as_ref().map(|parts| parts.audit.clone()),
            url: &url,
        };
        let (server, authorizers) = control::server(parent, &mut parts).await?;
        if let Some(audit) = audit {
            control::keep_audit(audit, &mut parts).await?;
        }
        let facts = amphipod_server::bootstrap::Settings {
            service_address: address::service_ip(&networks),
            service_network: networks.service.to_string(),
            api_addresses: vec![networks.cluster.first().into()],
            api_port: api.port(),
            client_authority: certificates.authority_pem().to_owned(),
            front_proxy_authority: certificates.front_proxy_authority_pem().to_owned(),
        };
        control::bootstrap((&server, authorizers), store.clone(), &facts, &mut parts).await?;
        control::serve(&server, listeners, &certificates, &mut parts)?;
        control::renew(certificates.clone(), &mut parts);
        settings.data.note(API_ADDRESS, &url)?;
        report.line(format!("API server at {url}"));
        let registry = control::registry(&settings, &mut parts).await?;
        let informers = control::start_loops(&server, (&settings, &node), &certificates, &mut parts);
        node::simulate(&server, &relay, informers.clone(), &mut parts);
        let has_node = settings.enabled("node");
        if has_node {
            let parent = node::Parent { settings: &settings, server: &server, relay: &relay, network, informers };
            node::start(parent, &node, &mut parts).await?;
            report.line(format!("node {node} started"));
        }
        let kubeconfig = write_kubeconfig(&settings, &certificates, &url)?;
        let client = server.client(Identity::system_masters());
        Ok(Self { url, node, kubeconfig, registry, has_node, client, server, store, parts, _networks: networks })
    }

    /// Waits until the node is Ready; fails when a part ends before.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        if !self.has_node {
            return Ok(());
        }
        let api: Api<Node> = Api::all(self.client.clone());
        let is_ready = |node: Option<&Node>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        let name = self.node.clone();
        tokio::select! {
            ready = kube::runtime::wait::await_condition(api, &name, is_ready) => ready.map(drop).context("the node does not get ready"),
            error = self.failed() => Err(error),
        }
    }

    /// Why a part ended by itself.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.parts.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the cluster failed"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the cluster ended by itself"),
        }
    }

    /// Ends every part: watches close, then what is under way finishes, the store is the last.
    pub async fn stop(mut self) {
        self.server.end();
        self.parts.shutdown.cancel();
        while self.parts.tasks.join_next().await.is_some() {}
        self.store.shutdown().await;
    }
}

/// A store that cannot write any more ends the cluster: it must be opened anew.
async fn open_store(settings: &Settings, parts: &mut Parts) -> anyhow::Result<Arc<dyn Store>> {
    let mut options = amphipod_store::Options::new(settings.data.folder("server/db")?);
    options.state_bytes_max = Some(STATE_BYTES_MAX.min(memory_bytes() / STATE_MEMORY_SHARE));
    let store = Arc::new(RaftStore::open(options).await.map_err(|error| refuse(error.to_string()))?);
    let (watched, shutdown) = (store.clone(), parts.shutdown.clone());
    parts.tasks.spawn(async move {
        tokio::select! {
            error = watched.failed() => Err(anyhow::Error::new(error).context("the store failed, nothing that was acknowledged is lost")),
            () = shutdown.cancelled() => Ok(()),
        }
    });
    Ok(store)
}

/// This machine's memory; where it is not known, all that a number can say.
fn memory_bytes() -> usize {
    let known = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = known.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or(usize::MAX, |kibibytes: usize| kibibytes.saturating_mul(1_024))
}

/// A file of its own when one was named, else a context in the user's file.
fn write_kubeconfig(settings: &Settings, certificates: &Certificates, url: &str) -> anyhow::Result<PathBuf> {
    let subject = Subject::new("amphipod-admin", &["system:masters"]);
    let client = certificates.clients().kept_client("admin", &subject, jiff::Timestamp::now())?;
    let context =
        kubeconfig::Context { name: "amphipod", server: url, authority: certificates.authority_pem(), client: &client };
    match &settings.kubeconfig {
        Some(path) => {
            kubeconfig::write_kubeconfig(path, &context)
                .map_err(|error| refuse(format!("--kubeconfig {}: {error}", path.display())))?;
            Ok(path.clone())
        }
        None => {
            let path = kubectls_file()?;
            kubeconfig::merge_kubeconfig(&path, &context)?;
            Ok(path)
        }
    }
}
