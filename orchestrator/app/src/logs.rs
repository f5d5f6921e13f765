//! `amphipod logs`: what the containers of a pod, or of a deployment's pods, wrote.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};

use crate::connect::{Connection, Target};

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod logs -f deploy/hello\n  amphipod logs hello-once --tail=10")]
pub struct Logs {
    /// A pod, or `deploy/NAME` for every pod of a deployment
    what: String,
    /// Container, when the pod has several
    #[arg(short, long)]
    container: Option<String>,
    /// Go on as lines are written
    #[arg(short, long)]
    follow: bool,
    /// Of the container's previous run
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines
    #[arg(long)]
    tail: Option<i64>,
    /// Only of this last time: `30s`, `5m`, `1h30m`
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    since: Option<i64>,
    /// Begin each line with its time
    #[arg(long)]
    timestamps: bool,
    #[command(flatten)]
    target: Target,
}

/// Whole seconds of a time as Go writes it.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "write it as 30s, 5m or 1h30m".to_owned();
    let (mut sum, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            _ => return Err(wrong()),
        };
        sum = number.checked_mul(unit).and_then(|more| sum.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

impl Logs {
    pub async fn run(self) -> anyhow::Result<()> {
        let connection = self.target.connect().await?;
        let pods = self.pods(&connection).await?;
        let prefix = pods.len() > 1;
        let api: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
        let streams = pods.iter().map(|pod| self.print(&api, pod, prefix));
        futures::future::try_join_all(streams).await?;
        Ok(())
    }

    async fn pods(&self, connection: &Connection) -> anyhow::Result<Vec<String>> {
        let (kind, name) = self.what.split_once('/').unwrap_or(("pod", &self.what));
        if ["pod", "pods", "po"].contains(&kind) {
            return Ok(vec![name.to_owned()]);
        }
        anyhow::ensure!(["deploy", "deployment", "deployments"].contains(&kind), "logs of a {kind} are not known");
        let deployments: Api<Deployment> = Api::namespaced(connection.client.clone(), &connection.namespace);
        let deployment = deployments.get(name).await?;
        let labels = deployment.spec.selector.match_labels.unwrap_or_default();
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
        let pods = pods.list(&ListParams::default().labels(&selector.join(","))).await?;
        anyhow::ensure!(!pods.items.is_empty(), "deployment {name:?} has no pods");
        Ok(pods.iter().map(|pod| pod.name_any()).collect())
    }

    async fn print(&self, api: &Api<Pod>, pod: &str, prefix: bool) -> anyhow::Result<()> {
        let options = LogParams {
            container: self.container.clone(),
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail,
            since_seconds: self.since,
            timestamps: self.timestamps,
            ..Default::default()
        };
        let stream = api.log_stream(pod, &options).await.with_context(|| format!("no log of pod {pod}"))?;
        let mut lines = stream.lines();
        while let Some(line) = lines.try_next().await? {
            let mut out = std::io::stdout().lock();
            let written = if prefix { writeln!(out, "[{pod}] {line}") } else { writeln!(out, "{line}") };
            if written.is_err() {
                return Ok(()); // the reader of our output has gone, as with `| head`
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_for_kubectl() {
        for (text, expected) in [("30s", Some(30)), ("5m", Some(300)), ("1h30m", Some(5_400)), ("0s", Some(0))] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for wrong in ["", "5", "m", "5d", "-5m", "5€", "99999999999999999999s", "9223372036854775807h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
