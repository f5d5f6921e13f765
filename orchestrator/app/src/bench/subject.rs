//! The cluster under test: this binary as `up` in a process of its own, and clients with its credentials.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::measured::{children, memory_kib};

pub struct Subject {
    pub url: String,
    pub registry: String,
    pub start_seconds: f64,
    pub client: kube::Client,
    process: Child,
    folder: std::path::PathBuf,
    pem: Vec<u8>,
    authority: Vec<u8>,
}

impl Subject {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("amphipod-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let started = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["up", "--port", "0", "--registry-port", "0", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let summary: Vec<String> = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.starts_with("Next:"))
            .collect();
        let start_seconds = started.elapsed().as_secs_f64();
        let told = |label: &str| {
            let line = summary.iter().find_map(|line| line.trim().strip_prefix(label));
            line.map(|value| value.trim().to_owned()).with_context(|| format!("the cluster did not say its {label}"))
        };
        let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig"))?;
        let (pem, authority) = credentials(&kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = kube::Client::try_from(config)?;
        let (url, registry) = (told("API server")?, told("Registry")?);
        Ok(Self { url, registry, start_seconds, client, process, folder, pem, authority })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// HTTP/2 clients, each with a connection of its own.
    pub fn clients(&self, count: usize) -> anyhow::Result<Vec<reqwest::Client>> {
        let make = || -> anyhow::Result<reqwest::Client> {
            let client = reqwest::Client::builder()
                .tls_certs_only([reqwest::Certificate::from_pem(&self.authority)?])
                .identity(reqwest::Identity::from_pem(&self.pem)?)
                .timeout(Duration::from_secs(120));
            Ok(client.build()?)
        };
        (0..count).map(|_| make()).collect()
    }

    /// Memory of the main process, of its workers, and what both cost together.
    pub fn memory(&self) -> anyhow::Result<Value> {
        let workers = children(self.pid());
        let sum = |what: &str| workers.iter().filter_map(|pid| memory_kib(*pid, what).ok()).sum::<u64>();
        Ok(json!({
            "mainRssKib": memory_kib(self.pid(), "Rss")?,
            "workers": workers.len(),
            "workersRssKib": sum("Rss"),
            "allPssKib": memory_kib(self.pid(), "Pss")? + sum("Pss"),
        }))
    }

    pub async fn end(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), rustix::process::Signal::TERM)?;
        tokio::task::spawn_blocking(move || {
            self.process.wait()?;
            std::fs::remove_dir_all(&self.folder)
        })
        .await??;
        Ok(())
    }
}

/// The client's certificate and key in one PEM, and the cluster's authority.
fn credentials(kubeconfig: &Kubeconfig) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    use secrecy::ExposeSecret as _;
    let user = kubeconfig.auth_infos.first().and_then(|named| named.auth_info.as_ref()).context("no user")?;
    let cluster = kubeconfig.clusters.first().and_then(|named| named.cluster.as_ref()).context("no cluster")?;
    let certificate = user.client_certificate_data.as_deref().context("no certificate")?;
    let key = user.client_key_data.as_ref().context("no key")?.expose_secret();
    let authority = cluster.certificate_authority_data.as_deref().context("no authority")?;
    let mut pem = STANDARD.decode(certificate)?;
    pem.push(b'\n');
    pem.extend(STANDARD.decode(key)?);
    Ok((pem, STANDARD.decode(authority)?))
}
