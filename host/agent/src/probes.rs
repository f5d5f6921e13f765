//! Startup, liveness and readiness probes: one task each, while the container runs. `pod.rs` absorbs the verdicts.
//!
//! ```text
//!  delay ─► try each period ─► Tally counts ─► verdict changes ─► Probed    (liveness and readiness wait for startup)
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use amphipod_net::services::port_number;
use amphipod_runtime::{BoxStream, ContainerId, Runtime};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::events::{PodEvents, Severity};

/// As the kubelet introduces itself.
const USER_AGENT: &str = "kube-probe/1.37";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    /// `startup`, `liveness`, `readiness`
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// A verdict that changed.
pub struct Probed {
    pub slot: usize,
    pub id: ContainerId,
    pub kind: Kind,
    pub healthy: bool,
    pub grace_seconds: Option<i64>,
}

#[derive(Clone)]
pub struct Subject {
    pub runtime: Arc<dyn Runtime>,
    pub id: ContainerId,
    pub slot: usize,
    pub ip: IpAddr,
    pub container: Arc<Container>,
}

/// Starts what the container declares; dropping the set ends it.
pub fn watch(subject: Subject, events: (PodEvents, String), verdicts: mpsc::Sender<Probed>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let container = subject.container.clone();
    let started = watch::Sender::new(container.startup_probe.is_none());
    let declared = [
        (Kind::Startup, &container.startup_probe),
        (Kind::Liveness, &container.liveness_probe),
        (Kind::Readiness, &container.readiness_probe),
    ];
    for (kind, probe) in declared {
        if let Some(probe) = probe.clone() {
            let one = One { subject: subject.clone(), kind, probe, events: events.clone(), verdicts: verdicts.clone() };
            tasks.spawn(one.run(started.clone()));
        }
    }
    tasks
}

/// Counts results against the thresholds.
#[derive(Debug)]
pub struct Tally {
    pub healthy: bool,
    success_threshold: i32,
    failure_threshold: i32,
    /// Equal results in a row, negative for failures.
    row: i32,
}

impl Tally {
    fn new(probe: &Probe, healthy: bool) -> Self {
        let success_threshold = probe.success_threshold.unwrap_or(1).max(1);
        Self { healthy, success_threshold, failure_threshold: probe.failure_threshold.unwrap_or(3).max(1), row: 0 }
    }

    /// Whether this result brought a verdict (again).
    fn count(&mut self, success: bool) -> bool {
        self.row = if success { self.row.max(0).saturating_add(1) } else { self.row.min(0).saturating_sub(1) };
        let reached = self.row >= self.success_threshold || -self.row >= self.failure_threshold;
        if reached {
            self.healthy = success;
        }
        reached
    }
}

struct One {
    subject: Subject,
    kind: Kind,
    probe: Probe,
    events: (PodEvents, String),
    verdicts: mpsc::Sender<Probed>,
}

impl One {
    async fn run(self, started: watch::Sender<bool>) {
        if self.kind != Kind::Startup && started.subscribe().wait_for(|started| *started).await.is_err() {
            return;
        }
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.map_or(default, |value| value.max(0).unsigned_abs().into()))
        };
        sleep(seconds(self.probe.initial_delay_seconds, 0)).await;
        let patience = seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let mut period = interval(seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1)));
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tally = Tally::new(&self.probe, self.kind == Kind::Liveness);
        loop {
            period.tick().await;
            let outcome = timeout(patience, self.once()).await.unwrap_or_else(|_| {
                Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into())
            });
            if let Err(message) = &outcome {
                let text = format!("{} probe failed: {message}", self.kind.title());
                self.events.0.container(&self.events.1, Severity::Warning, "Unhealthy", text);
            }
            let before = tally.healthy;
            let decided = tally.count(outcome.is_ok());
            let fatal = decided && !tally.healthy && self.kind != Kind::Readiness;
            if (before != tally.healthy || fatal) && !self.tell(tally.healthy).await {
                return;
            }
            if fatal {
                return;
            }
            if self.kind == Kind::Startup && tally.healthy {
                started.send_replace(true);
                return;
            }
        }
    }

    async fn tell(&self, healthy: bool) -> bool {
        let grace_seconds = self.probe.termination_grace_period_seconds;
        let Subject { slot, id, .. } = self.subject.clone();
        self.verdicts.send(Probed { slot, id, kind: self.kind, healthy, grace_seconds }).await.is_ok()
    }

    async fn once(&self) -> Result<(), String> {
        let container = &self.subject.container;
        if let Some(get) = &self.probe.http_get {
            let port = named_port(&get.port, container).ok_or("no such port")?;
            let at = SocketAddr::new(self.subject.ip, port);
            let url = format!("http://{at}{}", get.path.as_deref().unwrap_or("/"));
            let stream = self.dial(port).await.map_err(|error| format!("Get {url:?}: {error}"))?;
            return http_get(stream, get, USER_AGENT).await;
        }
        if let Some(socket) = &self.probe.tcp_socket {
            let port = named_port(&socket.port, container).ok_or("no such port")?;
            return self.dial(port).await.map(|_| ());
        }
        Err("this kind of probe is not supported by this runtime".into())
    }

    async fn dial(&self, port: u16) -> Result<BoxStream, String> {
        let refused = |error: String| format!("dial tcp {}: connect: {error}", SocketAddr::new(self.subject.ip, port));
        self.subject.runtime.dial(&self.subject.id, port).await.map_err(|error| refused(error.to_string()))
    }
}

/// The number of a port that is given by number or by name.
pub fn named_port(port: &IntOrString, container: &Container) -> Option<u16> {
    let named = |name: &str| {
        container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    };
    port_number(port, named)
}

/// One GET; any status from 200 to 399 is well.
///
/// # Errors
/// The kubelet's words.
pub async fn http_get(stream: BoxStream, get: &HTTPGetAction, agent: &str) -> Result<(), String> {
    if get.scheme.as_deref() == Some("HTTPS") {
        return Err("HTTPS probes are not supported by this runtime".into());
    }
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let headers = get.http_headers.iter().flatten();
    let host =
        headers.clone().find(|header| header.name.eq_ignore_ascii_case("host")).map(|header| header.value.as_str());
    let path = get.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
    let mut request = http::Request::get(path).header("Host", host.or(get.host.as_deref()).unwrap_or("localhost"));
    request = request.header("User-Agent", agent).header("Accept", "*/*").header("Connection", "close");
    for header in headers.filter(|header| !header.name.eq_ignore_ascii_case("host")) {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status();
        // The body does not matter.
        let _ = response.into_body().frame().await;
        Ok::<_, String>(status)
    };
    let connection = async {
        // Its error is the answer's.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    let status = tokio::select! {
        status = answer => status?,
        () = connection => return Err("EOF".into()),
    };
    if (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_need_as_many_in_a_row_as_the_thresholds_say() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut tally = Tally::new(&probe, false);
        let run = |tally: &mut Tally, results: &str| -> String {
            results
                .chars()
                .map(|result| {
                    tally.count(result == '+');
                    if tally.healthy { 'H' } else { 'u' }
                })
                .collect()
        };
        assert_eq!(run(&mut tally, "+-++--+---"), "uuuHHHHHHu");
    }
}
