//! What an object takes of a quota: the names under which quotas count its kind, and how much of each. Pure.
//! Source: pkg/quota/v1/evaluator/core and apiserver's pkg/quota/v1/generic.

use std::collections::{BTreeMap, BTreeSet};

use amphipod_api::quantity::Quantity;
use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::pod_resources::{Amounts, Side, add, amounts, of_containers, raise};
use crate::kinds::resource_names::{is_extended, is_native};
use crate::kinds::{Kind, Scope};

const POD_NAMES: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Once a quota counts one of these, every container must say how much it takes.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const SERVICE_NAMES: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];
const CLAIM_NAMES: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Kinds that have a name of their own beside `count/…`.
const ALIASES: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
const HUGE_PAGES: &str = "hugepages-";
const BY_STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const BY_DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// What a claim for all devices of a class may get at most.
const DEVICES_MAX: i64 = 32;
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// How a kind is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Pods,
    Services,
    Claims,
    Devices,
    /// By their number only.
    Objects,
}

/// `None`: quotas do not count it.
pub fn measure(kind: &Kind) -> Option<Measure> {
    if kind.scope == Scope::Cluster || kind.storage.is_empty() {
        return None;
    }
    match (kind.group, kind.plural) {
        ("", "pods") => Some(Measure::Pods),
        ("", "services") => Some(Measure::Services),
        ("", "persistentvolumeclaims") => Some(Measure::Claims),
        ("resource.k8s.io", "resourceclaims") => Some(Measure::Devices),
        ("" | "events.k8s.io", "events") | ("", "bindings") | ("authorization.k8s.io", _) => None,
        _ => Some(Measure::Objects),
    }
}

/// `count/deployments.apps`
pub fn count_name(kind: &Kind) -> String {
    match kind.group {
        "" => format!("count/{}", kind.plural),
        group => format!("count/{}.{group}", kind.plural),
    }
}

/// Whether objects of this kind are counted under this name.
pub fn counts(kind: &Kind, measure: Measure, name: &str) -> bool {
    if name.starts_with("count/") {
        return name == count_name(kind);
    }
    match measure {
        Measure::Pods => {
            let part = name.strip_prefix("requests.");
            POD_NAMES.contains(&name)
                || part.unwrap_or(name).starts_with(HUGE_PAGES)
                || (part.is_some() && !is_native(name))
        }
        Measure::Services => SERVICE_NAMES.contains(&name),
        Measure::Claims => {
            let part = name.split_once(BY_STORAGE_CLASS).map_or(name, |(_, part)| part);
            CLAIM_NAMES.contains(&part)
        }
        Measure::Devices => name.ends_with(BY_DEVICE_CLASS),
        Measure::Objects => kind.plural == name && has_alias(kind),
    }
}

fn has_alias(kind: &Kind) -> bool {
    kind.group.is_empty() && ALIASES.contains(&kind.plural)
}

/// Everything this object takes, by the names quotas know. `now` in seconds since the epoch.
pub fn usage(kind: &Kind, measure: Measure, object: &Value, now: i64) -> Amounts {
    let mut taken = Amounts::from([(count_name(kind), Quantity::from_whole(1))]);
    match measure {
        Measure::Pods if is_at_rest(object) || is_overdue(object, now) => {}
        Measure::Pods => add(&mut taken, &of_pod(object)),
        Measure::Services => add(&mut taken, &of_service(object)),
        Measure::Claims => add(&mut taken, &of_claim(object)),
        Measure::Devices => add(&mut taken, &of_devices(object)),
        Measure::Objects => taken.extend(has_alias(kind).then(|| (kind.plural.to_owned(), Quantity::from_whole(1)))),
    }
    taken
}

/// Amounts are counted in thousandths of a CPU and in whole units of all else, rounded up for each object.
pub fn units(name: &str, amount: Quantity) -> i64 {
    if is_cpu(name) { amount.milli() } else { amount.whole() }
}

pub fn from_units(name: &str, units: i64) -> Quantity {
    if is_cpu(name) { Quantity::from_milli(units) } else { Quantity::from_whole(units) }
}

fn is_cpu(name: &str) -> bool {
    matches!(name, "cpu" | "requests.cpu" | "limits.cpu")
}

/// `must specify …` when a container does not say how much it takes of what these quotas count.
pub fn unsaid(pod: &Value, counted: &BTreeSet<&str>) -> Option<String> {
    let whole = &pod["spec"]["resources"];
    if !is_empty(&whole["requests"]) || !is_empty(&whole["limits"]) {
        return None;
    }
    let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in items(&pod["spec"]["containers"]).iter().chain(items(&pod["spec"]["initContainers"])) {
        let resources = &container["resources"];
        let said = compute(&amounts(&resources["requests"]), &amounts(&resources["limits"]));
        for name in REQUIRED.into_iter().filter(|name| counted.contains(name) && !said.contains_key(*name)) {
            lacking.entry(name).or_default().insert(text(&container["name"]));
        }
    }
    let parts: Vec<String> = lacking
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")))
        .collect();
    (!parts.is_empty()).then(|| format!("must specify {}", parts.join("; ")))
}

fn is_at_rest(pod: &Value) -> bool {
    matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
}

/// It should have been gone by now: its node may be lost. Time alone makes it so, no write tells.
pub fn is_overdue(pod: &Value, now: i64) -> bool {
    let metadata = &pod["metadata"];
    let Some(grace) = metadata["deletionGracePeriodSeconds"].as_i64() else { return false };
    let marked: Option<Timestamp> = text(&metadata["deletionTimestamp"]).parse().ok();
    marked.is_some_and(|at| now > at.as_second() + grace)
}

fn of_pod(pod: &Value) -> Amounts {
    let spec = &pod["spec"];
    let statuses = items(&pod["status"]["containerStatuses"]);
    let statuses: Vec<&Value> = statuses.iter().chain(items(&pod["status"]["initContainerStatuses"])).collect();
    let whole = |side: Side| {
        of_containers(spec, side, &|container| {
            let mut own = amounts(&container["resources"][side.field()]);
            // While it is resized, a container takes the greater of what it asks for and what it has.
            if let Some(status) = statuses.iter().find(|status| status["name"] == container["name"]) {
                raise(&mut own, &amounts(&status["resources"][side.field()]));
                if side == Side::Requests {
                    raise(&mut own, &amounts(&status["allocatedResources"]));
                }
            }
            own
        })
    };
    let (mut requests, mut limits) = (whole(Side::Requests), whole(Side::Limits));
    let overhead = amounts(&spec["overhead"]);
    add(&mut requests, &overhead);
    let limited = overhead.into_iter().filter(|(name, _)| limits.get(name).is_some_and(|limit| limit.milli() != 0));
    let limited: Amounts = limited.collect();
    add(&mut limits, &limited);
    let mut taken = compute(&requests, &limits);
    taken.insert("pods".to_owned(), Quantity::from_whole(1));
    taken
}

/// Requests and limits under the names of quotas.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut taken = Amounts::new();
    for (name, amount) in requests {
        let is_compute = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if is_compute || name.starts_with(HUGE_PAGES) {
            taken.insert(name.clone(), *amount);
        }
        if is_compute || name.starts_with(HUGE_PAGES) || is_extended(name) {
            taken.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            taken.insert(format!("limits.{name}"), *amount);
        }
    }
    taken
}

fn of_service(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let ports = items(&spec["ports"]);
    let node_ports = match text(&spec["type"]) {
        "NodePort" => ports.len(),
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => {
            ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count()
        }
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let number = |number: usize| Quantity::from_whole(i64::try_from(number).unwrap_or(i64::MAX));
    Amounts::from([
        ("services".to_owned(), number(1)),
        ("services.nodeports".to_owned(), number(node_ports)),
        ("services.loadbalancers".to_owned(), number(usize::from(spec["type"] == "LoadBalancer"))),
    ])
}

fn of_claim(claim: &Value) -> Amounts {
    let spec = &claim["spec"];
    let annotation = claim["metadata"]["annotations"].get(CLASS_ANNOTATION);
    let class = text(annotation.unwrap_or(&spec["storageClassName"]));
    let asked = amounts(&spec["resources"]["requests"]).get("storage").copied();
    let allocated = amounts(&claim["status"]["allocatedResources"]).get("storage").copied();
    let storage = asked.map(|asked| allocated.filter(|allocated| *allocated > asked).unwrap_or(asked));
    let mut taken = Amounts::from([("persistentvolumeclaims".to_owned(), Quantity::from_whole(1))]);
    taken.extend(storage.map(|storage| ("requests.storage".to_owned(), whole(storage))));
    if !class.is_empty() {
        let by_class: Amounts =
            taken.iter().map(|(name, amount)| (format!("{class}{BY_STORAGE_CLASS}{name}"), *amount)).collect();
        taken.extend(by_class);
    }
    taken
}

/// Rounded up to whole units; what is whole keeps its spelling.
fn whole(amount: Quantity) -> Quantity {
    Quantity::from_whole(amount.whole()).written_like(amount)
}

fn of_devices(claim: &Value) -> Amounts {
    let mut taken = Amounts::new();
    for request in items(&claim["spec"]["devices"]["requests"]) {
        if is_set(&request["exactly"]) {
            add(&mut taken, &devices(&request["exactly"]));
        }
        // Only one of these is taken, so the worst counts.
        let mut worst = Amounts::new();
        items(&request["firstAvailable"]).iter().for_each(|one| raise(&mut worst, &devices(one)));
        add(&mut taken, &worst);
    }
    taken
}

fn devices(request: &Value) -> Amounts {
    let number = match text(&request["allocationMode"]) {
        "All" => DEVICES_MAX,
        _ => request["count"].as_i64().unwrap_or(1),
    };
    Amounts::from([(format!("{}{BY_DEVICE_CLASS}", text(&request["deviceClassName"])), Quantity::from_whole(number))])
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::kinds::KINDS;
    use crate::kinds::pod_resources::shown;

    fn kind(plural: &str) -> &'static Kind {
        KINDS.iter().find(|kind| kind.plural == plural).unwrap()
    }

    fn check(plural: &str, object: Value, expect: Expect) {
        let kind = kind(plural);
        let measure = measure(kind).unwrap();
        let taken = usage(kind, measure, &object, 1_000);
        expect.assert_eq(&shown(&taken));
        for name in taken.keys() {
            assert!(counts(kind, measure, name), "{name} is a name of {plural}");
        }
    }

    #[test]
    fn pods_take_what_their_containers_ask_for_until_they_rest() {
        let containers = json!([{ "name": "c", "resources": {
            "requests": { "cpu": "500m", "memory": "1Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi" },
            "limits": { "cpu": "1", "ephemeral-storage": "1Gi" },
        } }]);
        let spec = json!({ "containers": containers, "overhead": { "cpu": "10m", "memory": "1Mi" } });
        check(
            "pods",
            json!({ "spec": spec }),
            expect![
                "count/pods=1,cpu=510m,hugepages-2Mi=4Mi,limits.cpu=1010m,limits.ephemeral-storage=1Gi,memory=1025Mi,pods=1,requests.cpu=510m,requests.example.com/gpu=2,requests.hugepages-2Mi=4Mi,requests.memory=1025Mi"
            ],
        );
        check("pods", json!({ "spec": spec, "status": { "phase": "Succeeded" } }), expect!["count/pods=1"]);
        let gone = json!({ "deletionTimestamp": "1970-01-01T00:10:00Z", "deletionGracePeriodSeconds": 30 });
        check("pods", json!({ "spec": spec, "metadata": gone }), expect!["count/pods=1"]);
        let resized = json!({ "containerStatuses": [{ "name": "c", "resources": { "requests": { "cpu": "2" } } }] });
        let small = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] });
        check("pods", json!({ "spec": small, "status": resized }), expect!["count/pods=1,cpu=2,pods=1,requests.cpu=2"]);
    }

    #[test]
    fn services_claims_and_devices_have_their_own_names() {
        let ports = json!([{ "port": 1 }, { "port": 2 }]);
        check(
            "services",
            json!({ "spec": { "type": "LoadBalancer", "ports": ports } }),
            expect!["count/services=1,services=1,services.loadbalancers=1,services.nodeports=2"],
        );
        let bare = json!({ "type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false });
        check(
            "services",
            json!({ "spec": bare }),
            expect!["count/services=1,services=1,services.loadbalancers=1,services.nodeports=0"],
        );
        let claim = json!({ "storageClassName": "gold", "resources": { "requests": { "storage": "1500m" } } });
        check(
            "persistentvolumeclaims",
            json!({ "spec": claim }),
            expect![
                "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=2,persistentvolumeclaims=1,requests.storage=2"
            ],
        );
        let devices = json!({ "devices": { "requests": [
            { "exactly": { "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2 } },
            { "firstAvailable": [{ "deviceClassName": "gpu", "count": 3 }, { "deviceClassName": "cpu", "allocationMode": "All" }] },
        ] } });
        check(
            "resourceclaims",
            json!({ "spec": devices }),
            expect![
                "count/resourceclaims.resource.k8s.io=1,cpu.deviceclass.resource.k8s.io/devices=32,gpu.deviceclass.resource.k8s.io/devices=5"
            ],
        );
        check("configmaps", json!({}), expect!["configmaps=1,count/configmaps=1"]);
        check("deployments", json!({}), expect!["count/deployments.apps=1"]);
    }

    #[test]
    fn a_name_belongs_to_one_kind() {
        for (plural, name, wanted) in [
            ("pods", "requests.nvidia.com/gpu", true),
            ("pods", "nvidia.com/gpu", false),
            ("pods", "requests.storage", false),
            ("pods", "count/pods", true),
            ("persistentvolumeclaims", "requests.storage", true),
            ("persistentvolumeclaims", "gold.storageclass.storage.k8s.io/requests.storage", true),
            ("services", "services.nodeports", true),
            ("deployments", "deployments", false),
            ("deployments", "count/deployments.apps", true),
            ("deployments", "count/deployments", false),
            ("secrets", "secrets", true),
        ] {
            assert_eq!(counts(kind(plural), measure(kind(plural)).unwrap(), name), wanted, "{plural} {name}");
        }
        assert_eq!(measure(kind("events")), None);
        assert_eq!(measure(kind("nodes")), None);
    }

    #[test]
    fn containers_say_what_is_counted() {
        let said = json!({ "requests": { "cpu": "1" }, "limits": { "cpu": "1" } });
        let pod = json!({ "spec": {
            "containers": [{ "name": "b" }, { "name": "a" }, { "name": "c", "resources": said }],
            "initContainers": [{ "name": "i", "resources": said }],
        } });
        let counted = BTreeSet::from(["limits.cpu", "cpu", "pods", "limits.ephemeral-storage"]);
        assert_eq!(unsaid(&pod, &counted).as_deref(), Some("must specify cpu for: a,b; limits.cpu for: a,b"));
        assert_eq!(unsaid(&pod, &BTreeSet::from(["pods"])), None);
        let whole = json!({ "spec": { "containers": [{ "name": "b" }], "resources": { "limits": { "cpu": "1" } } } });
        assert_eq!(unsaid(&whole, &counted), None);
    }
}
