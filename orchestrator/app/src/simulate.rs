//! `amphipod simulate`: nodes that only claim to be there, for planning capacity and trying schedulers and autoscalers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use amphipod_api::labels::{self, simulation};
use amphipod_api::quantity;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::connect::Target;
use crate::failure::refuse;
use crate::flags::{self, label, taint};
use crate::report;

/// Requests under way at once.
const CONCURRENT: usize = 32;
/// How long all nodes may take to get ready.
const READY_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(300);

#[derive(Args)]
#[command(
    after_help = "Examples:\n  amphipod simulate nodes --count 1000 --zones 3\n  amphipod simulate nodes --count 10 --prefix big --cpu 64 --memory 256Gi --start-delay 2s\n  amphipod simulate clear"
)]
pub struct Simulate {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand)]
enum What {
    /// Create simulated nodes, and wait until they are ready
    Nodes(Box<Nodes>),
    /// Delete all simulated nodes
    Clear,
}

#[derive(Args)]
struct Nodes {
    /// How many
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Their names are PREFIX-0, PREFIX-1, …
    #[arg(long, default_value = "sim")]
    prefix: String,
    #[arg(long, default_value = "8")]
    cpu: String,
    #[arg(long, default_value = "32Gi")]
    memory: String,
    /// Pods that each takes
    #[arg(long, default_value_t = 110)]
    pods: u32,
    /// More of what each has, RESOURCE=AMOUNT; may be repeated
    #[arg(long, value_name = "RESOURCE=AMOUNT")]
    resource: Vec<String>,
    /// Zones that they are spread over: zone-0, zone-1, …
    #[arg(long, default_value_t = 0)]
    zones: u32,
    /// Label of each, KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Taint of each, KEY=VALUE:EFFECT; may be repeated
    #[arg(long, value_name = "KEY=VALUE:EFFECT")]
    taint: Vec<String>,
    /// Time from a pod's binding to its start: 3s
    #[arg(long, value_name = "TIME")]
    start_delay: Option<String>,
    /// Share of starts that fail: 0.05
    #[arg(long, value_name = "SHARE")]
    failure_rate: Option<String>,
    /// What containers use: 250m, 50% of their request, or a wave: 10%..90%/1h
    #[arg(long, value_name = "CURVE")]
    usage_cpu: Option<String>,
    #[arg(long, value_name = "CURVE")]
    usage_memory: Option<String>,
    /// Delete these nodes instead
    #[arg(long)]
    delete: bool,
}

impl Simulate {
    pub async fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Nodes(nodes) => {
                let made = nodes.objects()?;
                let api = Api::<Node>::all(self.target.connect().await?.client);
                if nodes.delete { delete(&api, made).await } else { create(&api, made).await }
            }
            What::Clear => clear(&Api::all(self.target.connect().await?.client)).await,
        }
    }
}

impl Nodes {
    /// Checks every flag before anything is sent.
    fn objects(&self) -> anyhow::Result<Vec<Node>> {
        let mut capacity = BTreeMap::from([
            ("cpu".to_owned(), self.cpu.clone()),
            ("memory".to_owned(), self.memory.clone()),
            ("ephemeral-storage".to_owned(), "100Gi".to_owned()),
            ("pods".to_owned(), self.pods.to_string()),
        ]);
        for text in &self.resource {
            let pair =
                text.split_once('=').ok_or_else(|| refuse(format!("--resource {text:?}: write RESOURCE=AMOUNT")))?;
            capacity.insert(pair.0.to_owned(), pair.1.to_owned());
        }
        if let Some((resource, amount)) =
            capacity.iter().find(|(_, amount)| quantity::whole(amount).is_none_or(|n| n < 0))
        {
            return Err(refuse(format!("--{resource} {amount:?}: {}", quantity::FORMAT_WRONG)));
        }
        flags::node_name(&format!("{}-{}", self.prefix, self.count)).map_err(|_| {
            refuse(format!("--prefix {:?}: use lower case letters, digits, - and ., at most 50", self.prefix))
        })?;
        let labels = self.label.iter().map(|text| label(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let taints = self.taint.iter().map(|text| taint(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let taints: Vec<Value> = taints
            .into_iter()
            .map(|(key, value, effect)| json!({ "key": key, "value": value, "effect": effect }))
            .collect();
        let said = [
            (simulation::START_DELAY, &self.start_delay),
            (simulation::FAILURE_RATE, &self.failure_rate),
            (simulation::USAGE_CPU, &self.usage_cpu),
            (simulation::USAGE_MEMORY, &self.usage_memory),
        ];
        let annotations: BTreeMap<&str, &String> =
            said.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        amphipod_agent::simulated::check(&annotations).map_err(refuse)?;
        let node = |number: u32| {
            let name = format!("{}-{number}", self.prefix);
            let mut all: BTreeMap<String, String> = labels.iter().cloned().collect();
            all.insert(labels::SIMULATED.to_owned(), "true".to_owned());
            all.insert(labels::HOSTNAME.to_owned(), name.clone());
            all.insert(labels::OS.to_owned(), "linux".to_owned());
            all.insert(labels::ARCH.to_owned(), "amd64".to_owned());
            if self.zones > 0 {
                let zone = format!("zone-{}", number % self.zones);
                all.insert("topology.kubernetes.io/zone".to_owned(), zone);
            }
            let node = json!({
                "metadata": { "name": name, "labels": all, "annotations": annotations },
                "spec": { "providerID": format!("simulated://{name}"), "taints": taints },
                "status": { "capacity": capacity, "allocatable": capacity },
            });
            serde_json::from_value(node).context("a simulated node is no Node")
        };
        (0..self.count).map(node).collect()
    }
}

async fn create(api: &Api<Node>, nodes: Vec<Node>) -> anyhow::Result<()> {
    let (begun, count) = (Instant::now(), nodes.len());
    let parameters = PostParams::default();
    let created = futures::stream::iter(nodes).map(|node| {
        let parameters = &parameters;
        async move {
            match api.create(parameters, &node).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(0),
                created => created.map(|_| 1),
            }
        }
    });
    let made: usize = created.buffer_unordered(CONCURRENT).try_fold(0, async |sum, one| Ok(sum + one)).await?;
    report::print(format!("{made} simulated nodes created\n"))?;
    while begun.elapsed() < READY_MAX {
        let ready = listed(api).await?.iter().filter(|node| is_ready(node)).count();
        if ready >= count {
            return Ok(report::print(format!("{ready} are ready after {:.1} s\n", begun.elapsed().as_secs_f64()))?);
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("not all nodes got ready in {} s", READY_MAX.as_secs())
}

async fn listed(api: &Api<Node>) -> anyhow::Result<Vec<Node>> {
    let simulated = ListParams::default().labels(&format!("{}=true", labels::SIMULATED));
    Ok(api.list(&simulated).await?.items)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn delete(api: &Api<Node>, nodes: Vec<Node>) -> anyhow::Result<()> {
    let parameters = DeleteParams::background();
    let deleted = futures::stream::iter(nodes).map(|node| {
        let (name, parameters) = (node.metadata.name.unwrap_or_default(), &parameters);
        async move {
            match api.delete(&name, parameters).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(0),
                deleted => deleted.map(|_| 1),
            }
        }
    });
    let gone: usize = deleted.buffer_unordered(CONCURRENT).try_fold(0, async |sum, one| Ok(sum + one)).await?;
    Ok(report::print(format!("{gone} simulated nodes deleted\n"))?)
}

async fn clear(api: &Api<Node>) -> anyhow::Result<()> {
    let count = listed(api).await?.len();
    let simulated = ListParams::default().labels(&format!("{}=true", labels::SIMULATED));
    api.delete_collection(&DeleteParams::background(), &simulated).await?;
    Ok(report::print(format!("{count} simulated nodes deleted\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        nodes: Nodes,
    }

    fn objects(flags: &str) -> anyhow::Result<Vec<Node>> {
        Cli::parse_from(std::iter::once("nodes").chain(flags.split_whitespace())).nodes.objects()
    }

    #[test]
    fn nodes_are_made_of_flags() {
        let nodes =
            objects("--count 3 --zones 2 --cpu 64 --label a=b --start-delay 2s --resource example.com/gpu=8").unwrap();
        let node = &nodes[2];
        let capacity = node.status.as_ref().unwrap().capacity.as_ref().unwrap();
        assert_eq!((capacity["cpu"].0.as_str(), capacity["example.com/gpu"].0.as_str()), ("64", "8"));
        let labels = node.metadata.labels.as_ref().unwrap();
        assert_eq!(
            ["a", "topology.kubernetes.io/zone", "amphipod.dev/simulated"].map(|key| labels[key].as_str()),
            ["b", "zone-0", "true"]
        );
        assert_eq!(node.metadata.annotations.as_ref().unwrap()["amphipod.dev/start-delay"], "2s");
        for wrong in [
            "--cpu many",
            "--prefix A",
            "--label a",
            "--taint x",
            "--start-delay soon",
            "--usage-cpu 1..2",
            "--resource gpu",
        ] {
            assert!(objects(wrong).is_err(), "{wrong}");
        }
    }
}
