//! Registers the Node, reports its conditions and keeps its Lease fresh. Taints for unready nodes are the node
//! controller's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::host::Host;

/// How often the Lease is renewed; nodes silent for 40 s are unknown.
const RENEW: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
/// The status is sent again after this many renewals: five minutes.
const RENEWALS_PER_STATUS: u32 = 30;
/// Scheme of `spec.providerID`: no cloud made this machine, and the field is set all the same.
const PROVIDER: &str = "amphipod";
/// A refused registration is tried again after this.
const TRY_AGAIN: Duration = Duration::from_millis(200);

pub async fn run(host: Arc<Host>) {
    let api = Api::<Node>::all(host.options.client.clone());
    let mut wait = TRY_AGAIN;
    while let Err(error) = register(&host, &api).await {
        tracing::warn!(node = %host.options.node_name, error = %amphipod_api::said(&error), "the node could not be registered");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RENEW);
    }
    let mut period = tokio::time::interval(RENEW);
    for renewal in 0_u32.. {
        period.tick().await;
        if let Err(error) = renew(&host.options.client, &host.options.node_name, None).await {
            tracing::warn!(node = %host.options.node_name, error = %amphipod_api::said(&error), "the lease could not be renewed");
        }
        let due = renewal % RENEWALS_PER_STATUS == RENEWALS_PER_STATUS - 1;
        let heartbeat = if due { Heartbeat::Due } else { Heartbeat::Fresh };
        if let Err(error) = report(&host, &api, heartbeat).await {
            tracing::warn!(node = %host.options.node_name, error = %amphipod_api::said(&error), "the node's status could not be sent");
        }
    }
}

async fn register(host: &Host, api: &Api<Node>) -> kube::Result<()> {
    let options = &host.options;
    let (labels, pod_cidr) = (labels(host), options.network.options().pod_cidr.to_string());
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": options.node_name, "labels": labels },
        "spec": {
            "podCIDR": pod_cidr, "podCIDRs": [pod_cidr], "taints": options.taints,
            "providerID": format!("{PROVIDER}://{}", options.node_name),
        },
    });
    let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = json!({ "metadata": { "labels": labels } });
            api.patch(&options.node_name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Err(error) => return Err(error),
    }
    report(host, api, Heartbeat::Due).await
}

fn labels(host: &Host) -> BTreeMap<String, String> {
    let options = &host.options;
    let own = [
        ("kubernetes.io/arch", architecture()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/hostname", &options.node_name),
        (amphipod_api::labels::OCI, if options.runtimes.cri.is_some() { "true" } else { "false" }),
    ];
    let mut labels: BTreeMap<String, String> =
        own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    labels.extend(options.labels.iter().cloned());
    labels
}

pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether the status must be sent although nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    Due,
    Fresh,
}

/// Sends the status when it is due, or at once when somebody overwrote the node's own word.
async fn report(host: &Host, api: &Api<Node>, heartbeat: Heartbeat) -> kube::Result<()> {
    let known = api.get(&host.options.node_name).await?;
    let status = status(host, &known, Timestamp::now());
    if heartbeat == Heartbeat::Fresh && !overwritten(&known, &status) {
        return Ok(());
    }
    let patch = Patch::Strategic(json!({ "status": status }));
    api.patch_status(&host.options.node_name, &PatchParams::default(), &patch).await.map(|_| ())
}

fn status(host: &Host, known: &Node, now: Timestamp) -> Value {
    let options = &host.options;
    let resources = &host.resources;
    let runtimes: Vec<String> = options
        .runtimes
        .all()
        .map(|runtime| match runtime.name() {
            "wasm" => format!("wasmtime://{}", runtime.version()),
            name => format!("{name}://{}", runtime.version()),
        })
        .collect();
    let address = |kind: &str, value: String| json!({ "type": kind, "address": value });
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [address("InternalIP", host.node_ip().to_string()), address("Hostname", options.node_name.clone())],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": options.kubelet_port } },
        "conditions": conditions(known, now),
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": "linux",
            "kubeletVersion": amphipod_api::KUBERNETES_VERSION,
            "kubeProxyVersion": "",
            "containerRuntimeVersion": runtimes.first().cloned().unwrap_or_default(),
            "kernelVersion": file("/proc/sys/kernel/osrelease"),
            "osImage": os_image(),
            "machineID": file("/etc/machine-id"),
            "systemUUID": file("/etc/machine-id"),
            "bootID": file("/proc/sys/kernel/random/boot_id"),
        },
    })
}

/// Times and amounts may be written in other ways; conditions and addresses have one.
fn overwritten(known: &Node, wanted: &Value) -> bool {
    let known = serde_json::to_value(&known.status).unwrap_or_default();
    let verdict = |kind: &Value| {
        known["conditions"]
            .as_array()?
            .iter()
            .find(|condition| condition["type"] == *kind)
            .map(|found| &found["status"])
    };
    let mut conditions = wanted["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| verdict(&condition["type"]) != Some(&condition["status"]))
        || known["addresses"] != wanted["addresses"]
}

pub fn conditions(known: &Node, now: Timestamp) -> Vec<Value> {
    let all = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let before = known.status.as_ref().and_then(|status| status.conditions.as_ref());
    let now = second(now);
    all.iter().map(|(kind, value, reason, message)| {
        let same = before.and_then(|all| all.iter().find(|condition| condition.type_ == *kind && condition.status == *value));
        let since = same.and_then(|condition| condition.last_transition_time.as_ref()).map_or(now.clone(), |time| second(time.0));
        json!({ "type": kind, "status": value, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": since })
    }).collect()
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Capacity of this machine, all of it for pods.
pub fn resources(pods_max: u32, data_dir: &std::path::Path) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let disk = rustix::fs::statvfs(data_dir).map_or(0, |disk| disk.f_blocks * disk.f_frsize / 1_024);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next())
        .unwrap_or("0")
        .to_owned();
    json!({
        "cpu": cores.to_string(),
        "memory": format!("{total}Ki"),
        "ephemeral-storage": format!("{disk}Ki"),
        "pods": pods_max.to_string(),
    })
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn os_image() -> String {
    let release = file("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// One sign of life. With the node's uid the lease goes when the node does.
pub async fn renew(client: &kube::Client, name: &str, uid: Option<&str>) -> kube::Result<()> {
    let api = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let renewed = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({ "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed });
    let patch = Patch::Merge(json!({ "spec": spec }));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let owner = |uid: &str| json!([{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }]);
            let metadata = json!({ "name": name, "namespace": "kube-node-lease", "ownerReferences": uid.map(owner) });
            let lease = json!({ "metadata": metadata, "spec": spec });
            let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        done => done.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_writers_verdict_is_noticed_and_its_other_conditions_are_not() {
        let wanted = json!({"addresses": [], "conditions": conditions(&Node::default(), Timestamp::UNIX_EPOCH)});
        let check = |change: fn(&mut Value)| {
            let mut status = wanted.clone();
            change(&mut status);
            overwritten(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap(), &wanted)
        };
        assert!(!check(|_| {}));
        assert!(check(|status| status["conditions"][3]["status"] = "False".into()));
        assert!(check(|status| status["conditions"] = json!([])));
        assert!(check(|status| status["addresses"] = json!([{"type": "InternalIP", "address": "1.2.3.4"}])));
        assert!(!check(|status| status["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "Other", "status": "True"}))));
        assert!(!check(|status| status["conditions"][3]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z".into()));
    }
}
