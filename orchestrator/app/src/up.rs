//! `amphipod up`: a cluster for one machine and one developer. Rootless, on loopback; Ctrl-C ends it, the data stays.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::access::Flags;
use crate::cluster::{CONTROL_PLANE, Cluster, DEFAULT_REGISTRY_PORT, Settings};
use crate::data::DataDirectory;
use crate::failure::refuse;
use crate::flags::{label, node_name, port_range, taint};
use crate::report::{self, Report};

/// Everything that was started has this long to end.
const SHUTDOWN_SECONDS: u64 = 4;

#[derive(Args, Clone)]
#[command(
    after_help = "Examples:\n  amphipod up\n  amphipod up --data-dir ./cluster --kubeconfig ./kubeconfig --port 0"
)]
pub struct Up {
    /// Where the cluster keeps its data (default: ~/.local/share/amphipod)
    #[arg(long, env = "AMPHIPOD_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Write the kubeconfig here, for the owner alone; else a context is merged into ~/.kube/config
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Port of the API server; 0 takes any and prints it
    #[arg(long, default_value_t = 6443)]
    pub port: u16,
    /// Name of this machine's node (default: its hostname)
    #[arg(long)]
    pub node_name: Option<String>,
    /// Label of the node, KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub node_label: Vec<String>,
    /// Taint of the node, KEY=VALUE:EFFECT; may be repeated
    #[arg(long, value_name = "KEY=VALUE:EFFECT")]
    pub node_taint: Vec<String>,
    /// Keep pods without the control plane's toleration off this machine's node
    #[arg(long)]
    pub no_workloads: bool,
    /// Port of the built-in image registry; 0 takes any and prints it (default: 5000, or any when that is taken)
    #[arg(long)]
    pub registry_port: Option<u16>,
    /// Addresses of pods (default: a free /16 of 127.42-127.127)
    #[arg(long)]
    pub cluster_cidr: Option<String>,
    /// Addresses of Services (default: a free /16 of 127.42-127.127)
    #[arg(long)]
    pub service_cidr: Option<String>,
    /// Ports for Services of type NodePort
    #[arg(long, default_value = "30000-32767")]
    pub service_node_port_range: String,
    /// Declined, see `ARCHITECTURE.md`
    #[arg(long, hide = true, value_name = "URL")]
    pub datastore_endpoint: Option<String>,
    /// Parts to leave out: registry, scheduler, controllers, node
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub disable: Vec<String>,
    /// Schedule pods that name this scheduler; may be repeated
    #[arg(long, value_name = "NAME", default_value = amphipod_scheduler::NAME)]
    pub scheduler_name: Vec<String>,
    #[command(flatten)]
    pub access: Flags,
    /// What to log to stderr: error, warn, info, debug, or a filter like `amphipod_server=debug`
    #[arg(long, default_value = "warn,openraft=error", env = "AMPHIPOD_LOG")]
    pub log: String,
}

const PARTS: &[&str] = &["registry", "scheduler", "controllers", "node"];

impl Up {
    pub async fn run(self) -> anyhow::Result<()> {
        start_log(&self.log)?;
        let report = Report::start();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let settings = self.settings()?;
        let mut cluster = tokio::select! {
            cluster = Cluster::start(settings, &report) => cluster?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        let failed = tokio::select! {
            ready = cluster.ready() => ready.err(),
            _ = interrupt.recv() => return end(cluster, &report).await,
            _ = terminate.recv() => return end(cluster, &report).await,
        };
        if let Some(error) = failed {
            cluster.stop().await;
            return Err(error);
        }
        report::print(summary(&cluster))?;
        let ended = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            error = cluster.failed() => Some(error),
        };
        end(cluster, &report).await?;
        ended.map_or(Ok(()), Err)
    }

    /// Checks every flag before anything listens.
    fn settings(&self) -> anyhow::Result<Settings> {
        if self.datastore_endpoint.is_some() {
            return Err(refuse(
                "--datastore-endpoint: no external store is supported; the store is part of the program and needs no setting up",
            ));
        }
        for part in &self.disable {
            if !PARTS.contains(&part.as_str()) {
                return Err(refuse(format!("--disable {part}: the parts are {}", PARTS.join(", "))));
            }
        }
        let labels = self.node_label.iter().map(|text| label(text)).collect::<anyhow::Result<_>>()?;
        let mut taints = self.node_taint.iter().map(|text| taint(text)).collect::<anyhow::Result<Vec<_>>>()?;
        if self.no_workloads {
            taints.push((CONTROL_PLANE.to_owned(), String::new(), "NoSchedule".to_owned()));
        }
        let data = DataDirectory::open(&self.data_dir.clone().unwrap_or_else(DataDirectory::default_path))?;
        Ok(Settings {
            data,
            kubeconfig: self.kubeconfig.clone(),
            port: self.port,
            node_name: self.node_name.as_deref().map(node_name).transpose()?,
            node_labels: labels,
            node_taints: taints,
            registry_port: self.registry_port,
            cluster_cidr: self.cluster_cidr.clone(),
            service_cidr: self.service_cidr.clone(),
            node_ports: port_range(&self.service_node_port_range)?,
            disabled: self.disable.clone(),
            scheduler_names: self.scheduler_name.clone(),
            access: self.access.read()?,
        })
    }
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| refuse(format!("--log {filter:?}: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

async fn end(cluster: Cluster, report: &Report) -> anyhow::Result<()> {
    report.line("ending; the data stays");
    let limit = Duration::from_secs(SHUTDOWN_SECONDS);
    tokio::time::timeout(limit, cluster.stop()).await.context("some parts did not end in time")
}

/// What to type next.
fn summary(cluster: &Cluster) -> String {
    let kubeconfig = cluster.kubeconfig.display();
    let registry = cluster
        .registry
        .map_or_else(|| "none".to_owned(), |address: SocketAddr| format!("localhost:{}", address.port()));
    // The sample names the default port.
    let apply = match cluster.registry {
        Some(address) if address.port() != DEFAULT_REGISTRY_PORT => {
            format!("sed 's|localhost:5000|{registry}|' examples/hello/hello.yaml | kubectl apply -f -")
        }
        _ => "kubectl apply -f examples/hello/".to_owned(),
    };
    format!(
        "\n  API server   {}\n  Registry     {registry}\n  Node         {}\n  Kubeconfig   {kubeconfig}\n\n\
         Next:\n  export KUBECONFIG={kubeconfig}\n  amphipod push ./hello.wasm {registry}/hello:v1\n  \
         {apply}\n  kubectl get pods -o wide\n\nCtrl-C ends the cluster; the data stays.\n",
        cluster.url, cluster.node,
    )
}
