//! Sends events in batches to another program, as `audit.k8s.io/v1 EventList`. It is told where by a kubeconfig.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Attempts for one batch before it is given up.
const ATTEMPTS: u32 = 5;

/// What the last batch may take when the program ends.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Upstream's `--audit-webhook-*` flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// Events sent together at most.
    pub batch_max: usize,
    /// How long a batch waits for more.
    pub wait: Duration,
    /// Before the second attempt; it doubles.
    pub first_back_off: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch_max: 400, wait: Duration::from_secs(30), first_back_off: Duration::from_secs(10) }
    }
}

/// The other program.
pub struct Webhook {
    client: Client,
    path: String,
    options: Options,
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("it does not parse")]
    Parse(#[from] kube::config::KubeconfigError),
    #[error("it names nothing that can be reached")]
    Client(#[from] kube::Error),
    #[error("its server is no address")]
    Address,
}

impl Webhook {
    /// `kubeconfig` is the text of the file.
    pub async fn new(kubeconfig: &str, options: Options) -> Result<Self, WebhookError> {
        let file = Kubeconfig::from_yaml(kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        // The events go to the very path of the server's address.
        let path = config.cluster_url.path().to_owned();
        let mut parts = config.cluster_url.clone().into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        config.cluster_url = http::Uri::from_parts(parts).map_err(|_| WebhookError::Address)?;
        Ok(Self { client: Client::try_from(config)?, path, options })
    }

    /// Sends what comes until the stop, then what had come.
    pub async fn run(self, mut events: mpsc::Receiver<Arc<Value>>, stop: CancellationToken) {
        loop {
            let mut batch = Vec::new();
            let is_last = self.fill(&mut batch, &mut events, &stop).await;
            if is_last {
                // The program ends: no more than one try's time is left.
                let sent = tokio::time::timeout(LAST_WAIT, self.send(&batch));
                if !batch.is_empty() && sent.await.is_err() {
                    tracing::warn!(events = batch.len(), "the last events of the audit webhook are lost");
                }
                return;
            }
            tokio::select! {
                () = self.send(&batch) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One batch: full, or as old as it may become. Whether it is the last.
    async fn fill(
        &self,
        batch: &mut Vec<Arc<Value>>,
        events: &mut mpsc::Receiver<Arc<Value>>,
        stop: &CancellationToken,
    ) -> bool {
        let mut due = None;
        while batch.len() < self.options.batch_max {
            let old_enough = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => batch.push(event),
                    None => return true,
                },
                () = old_enough => return false,
                () = stop.cancelled() => {
                    while let Ok(event) = events.try_recv() {
                        batch.push(event);
                    }
                    return true;
                }
            }
            due.get_or_insert_with(|| tokio::time::Instant::now() + self.options.wait);
        }
        false
    }

    async fn send(&self, batch: &[Arc<Value>]) {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch});
        let body = list.to_string().into_bytes();
        let mut wait = self.options.first_back_off;
        for attempt in 1..=ATTEMPTS {
            let request = http::Request::post(&self.path).header("content-type", "application/json");
            let request = request.body(body.clone()).expect("a path that was parsed is one");
            match self.client.request_text(request).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, attempt, "the audit webhook does not take events"),
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
        metrics::counter!("apiserver_audit_error_total", "plugin" => "webhook").increment(batch.len() as u64);
        tracing::error!(events = batch.len(), "events of the audit webhook are lost");
    }
}
