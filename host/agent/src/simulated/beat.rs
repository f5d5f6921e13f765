//! Signs of life of simulated nodes. Those whose turn it is give theirs each second, so that thousands are no burst.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::labels;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::machine::Machine;
use super::{Shared, is_silent};
use crate::node::{architecture, conditions, renew};

/// How often each lease is renewed: half of what a node may be silent.
const RENEW_SECONDS: u64 = 20;
/// How often each status is sent again.
const STATUS: SignedDuration = SignedDuration::from_secs(300);
/// Nodes that speak at the same time.
const CONCURRENT: usize = 16;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What a node has that does not say it.
const CAPACITY: [(&str, &str); 4] = [("cpu", "8"), ("memory", "32Gi"), ("ephemeral-storage", "100Gi"), ("pods", "110")];

pub async fn run(shared: Arc<Shared>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0_u64.. {
        second.tick().await;
        let has_turn = |machine: &&Arc<Machine>| turn_of(&machine.name) == turn % RENEW_SECONDS;
        let machines: Vec<Arc<Machine>> =
            shared.machines.read().values().map(|(machine, _)| machine).filter(has_turn).cloned().collect();
        let beats = futures::stream::iter(machines).for_each_concurrent(CONCURRENT, async |machine| {
            if let Err(error) = beat(&shared, &machine).await {
                let error = amphipod_api::said(&error);
                tracing::debug!(node = machine.name, %error, "a simulated node could not say that it lives");
            }
        });
        beats.await;
    }
}

fn turn_of(node: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish() % RENEW_SECONDS
}

/// The first words of a node; again until they are heard.
pub async fn register(shared: Arc<Shared>, machine: Arc<Machine>) {
    while shared.machines.read().get(&machine.name).is_some_and(|(known, _)| Arc::ptr_eq(known, &machine)) {
        let turn = shared.registrations.acquire().await;
        match beat(&shared, &machine).await {
            Ok(()) => return,
            Err(error) => {
                let error = amphipod_api::said(&error);
                tracing::debug!(node = machine.name, %error, "a simulated node could not be registered");
            }
        }
        drop(turn);
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn beat(shared: &Shared, machine: &Machine) -> kube::Result<()> {
    let Some(node) = shared.nodes.get("", &machine.name) else { return Ok(()) };
    if is_silent(&node) {
        return Ok(());
    }
    let client = &shared.options.client;
    renew(client, &machine.name, Some(&machine.uid)).await?;
    let now = Timestamp::now();
    if is_fresh(&node, now) {
        return Ok(());
    }
    let api = Api::<Node>::all(client.clone());
    let labels = missing_labels(&node);
    if !labels.is_empty() {
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        api.patch(&machine.name, &PatchParams::default(), &patch).await?;
    }
    let patch = Patch::Strategic(json!({ "status": status(&node, machine, now) }));
    api.patch_status(&machine.name, &PatchParams::default(), &patch).await.map(drop)
}

/// It says that it is ready, and has said so not long ago.
fn is_fresh(node: &Node, now: Timestamp) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready" && one.status == "True"));
    let said = ready.and_then(|ready| ready.last_heartbeat_time.as_ref());
    said.is_some_and(|said| now.duration_since(said.0) < STATUS)
}

fn missing_labels(node: &Node) -> BTreeMap<&'static str, String> {
    let name = node.name_any();
    let wanted = [(labels::HOSTNAME, name.as_str()), (labels::OS, "linux"), (labels::ARCH, architecture())];
    let missing = wanted.iter().filter(|(key, _)| !node.labels().contains_key(*key));
    missing.map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn status(node: &Node, machine: &Machine, now: Timestamp) -> Value {
    let known = node.status.clone().unwrap_or_default();
    let mut capacity = known.capacity.unwrap_or_default();
    for (resource, amount) in CAPACITY {
        let amount = k8s_openapi::apimachinery::pkg::api::resource::Quantity(amount.to_owned());
        capacity.entry(resource.to_owned()).or_insert(amount);
    }
    let mut allocatable = capacity.clone();
    allocatable.extend(known.allocatable.unwrap_or_default());
    json!({
        "capacity": capacity,
        "allocatable": allocatable,
        "addresses": [
            { "type": "InternalIP", "address": machine.ip.to_string() },
            { "type": "Hostname", "address": machine.name },
        ],
        "conditions": conditions(node, now),
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
        "nodeInfo": {
            "architecture": architecture(), "operatingSystem": "linux", "osImage": "simulated by Amphipod",
            "kubeletVersion": amphipod_api::KUBERNETES_VERSION, "kubeProxyVersion": "", "kernelVersion": "",
            "containerRuntimeVersion": format!("fake://{}", env!("CARGO_PKG_VERSION")),
            "machineID": "", "systemUUID": machine.uid, "bootID": "",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread() {
        let mut turns = [0; RENEW_SECONDS as usize];
        (0..1_000).for_each(|number| turns[turn_of(&format!("sim-{number}")) as usize] += 1);
        assert!(turns.iter().all(|nodes| (20..100).contains(nodes)), "{turns:?}");
    }

    #[test]
    fn a_node_keeps_what_it_says_of_itself_and_gets_the_rest() {
        let node = json!({
            "metadata": { "name": "n", "uid": "u" },
            "status": { "capacity": { "cpu": "64", "example.com/gpu": "8" }, "allocatable": { "cpu": "60" } },
        });
        let node: Node = serde_json::from_value(node).unwrap();
        let said = status(&node, &tests_machine(&node), Timestamp::UNIX_EPOCH);
        let amounts = |what: &str| {
            said[what].as_object().unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
        };
        expect_test::expect![[r#"cpu="64" ephemeral-storage="100Gi" example.com/gpu="8" memory="32Gi" pods="110""#]]
            .assert_eq(&amounts("capacity"));
        assert!(amounts("allocatable").starts_with("cpu=\"60\" "));
        assert!(!is_fresh(&node, Timestamp::UNIX_EPOCH));
        let spoken: Node = serde_json::from_value(json!({ "metadata": {}, "status": said })).unwrap();
        assert!(is_fresh(&spoken, Timestamp::from_second(299).unwrap()));
        assert!(!is_fresh(&spoken, Timestamp::from_second(300).unwrap()));
    }

    fn tests_machine(node: &Node) -> Machine {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        Machine::new(node, &super::super::Addresses::default())
    }
}
