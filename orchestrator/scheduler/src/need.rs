//! What a pod asks of a node. Pods that ask the same are one class: whatever is computed for one holds for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphipod_api::quantity;
use k8s_openapi::api::core::v1::{Affinity, Container, NodeAffinity, Pod, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts of the resources that a pod requests or a node has: millicores for `cpu`, whole units for the rest.
pub type Amounts = BTreeMap<String, i64>;

/// Requests of a pod without any, for scores only (upstream's 100m and 200Mi).
pub const SCORED_CPU: i64 = 100;
pub const SCORED_MEMORY: i64 = 200 << 20;

/// One host port: address, protocol, number. The address `0.0.0.0` collides with all.
pub type HostPort = (String, String, i32);

#[derive(Debug, Clone, Default)]
pub struct Need {
    /// Equal for pods of one class.
    pub class: Arc<str>,
    pub requests: Amounts,
    pub host_ports: Vec<HostPort>,
    pub node_name: Option<String>,
    pub node_selector: BTreeMap<String, String>,
    pub node_affinity: Option<NodeAffinity>,
    pub tolerations: Vec<Toleration>,
}

impl Need {
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let mut need = Self {
            class: "".into(),
            requests: requests(&spec),
            host_ports: host_ports(&spec),
            node_name: None,
            node_selector: spec.node_selector.unwrap_or_default(),
            node_affinity: spec.affinity.and_then(|Affinity { node_affinity, .. }| node_affinity),
            tolerations: spec.tolerations.unwrap_or_default(),
        };
        let facts = (&need.requests, &need.host_ports, &need.node_selector, &need.node_affinity, &need.tolerations);
        need.class = serde_json::to_string(&facts).expect("plain data is JSON").into();
        need
    }
}

/// The sum over containers and sidecars, or the largest init container where that is more, plus the overhead.
/// Source: upstream's `PodRequests`.
fn requests(spec: &PodSpec) -> Amounts {
    let mut running = Amounts::new();
    for container in &spec.containers {
        add(&mut running, &of_container(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(container);
        let mut while_starting = sidecars.clone();
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            while_starting.clone_from(&sidecars);
        } else {
            add(&mut while_starting, &own);
        }
        largest(&mut peak, &while_starting);
    }
    largest(&mut running, &peak);
    if let Some(overhead) = &spec.overhead {
        add(&mut running, &amounts(overhead));
    }
    running.insert("pods".to_owned(), 1);
    running.retain(|_, amount| *amount != 0);
    running
}

fn of_container(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.map(amounts).unwrap_or_default()
}

/// Quantities as integers; `cpu` in millicores.
pub fn amounts(quantities: &BTreeMap<String, Quantity>) -> Amounts {
    let amount = |(name, Quantity(text)): (&String, &Quantity)| {
        let amount = if name == "cpu" { quantity::milli(text) } else { quantity::whole(text) };
        Some((name.clone(), amount?))
    };
    quantities.iter().filter_map(amount).collect()
}

pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

pub fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let rest = from.entry(name.clone()).or_default();
        *rest = rest.saturating_sub(*amount);
    }
}

fn largest(of: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let most = of.entry(name.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let used = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
        Some((address, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number))
    });
    used.collect()
}
