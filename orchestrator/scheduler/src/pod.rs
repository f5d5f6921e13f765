//! What the scheduler reads out of a pod: its requests, ports and `Class`, the requirements that decide
//! which nodes take it. Pods of one class share every cached verdict.

use std::collections::BTreeMap;

use amphipod_api::quantity;
use k8s_openapi::api::core::v1::{Container, NodeSelectorTerm, Pod, PodSpec, PreferredSchedulingTerm, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts in thousandths for `cpu`, in whole units for all else.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources(pub BTreeMap<String, i64>);

/// A host port in use: address, protocol, port.
pub type HostPort = (String, String, i32);

/// Everything about a pod that filters and scores may look at.
#[derive(Debug, Clone, Default)]
pub struct Class {
    pub requests: Resources,
    /// As `requests`, with upstream's 100m and 200 MiB for containers that request nothing: for scoring only.
    pub nonzero: Resources,
    pub node_name: Option<String>,
    pub node_selector: BTreeMap<String, String>,
    pub required: Option<Vec<NodeSelectorTerm>>,
    pub preferred: Vec<PreferredSchedulingTerm>,
    pub tolerations: Vec<Toleration>,
    pub ports: Vec<HostPort>,
}

impl Class {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let node = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = node.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = node.and_then(|node| node.preferred_during_scheduling_ignored_during_execution.clone());
        Self {
            requests: requests(spec, &Resources::default()),
            nonzero: requests(spec, &Resources([("cpu".into(), 100), ("memory".into(), 200 << 20)].into())),
            node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required: required.map(|required| required.node_selector_terms.clone()),
            preferred: preferred.unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            ports: ports(spec),
        }
    }

    /// Equal for pods of one class.
    pub fn key(&self) -> String {
        format!("{self:?}")
    }
}

impl Resources {
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn parse(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |name: &str, text: &str| if name == "cpu" { quantity::milli(text) } else { quantity::whole(text) };
        let parsed = quantities.into_iter().flatten().filter_map(|(name, q)| Some((name.clone(), amount(name, &q.0)?)));
        Self(parsed.collect())
    }

    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    fn at_least(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

/// Containers and sidecars together, or the greediest init container with the sidecars before it; then overhead.
fn requests(spec: &PodSpec, default: &Resources) -> Resources {
    let of = |container: &Container| {
        let resources = container.resources.as_ref();
        let mut requested = Resources::parse(resources.and_then(|resources| resources.requests.as_ref()));
        for (name, amount) in &default.0 {
            requested.0.entry(name.clone()).or_insert(*amount);
        }
        requested
    };
    let (mut sidecars, mut init) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
        now.add(&sidecars);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = now.clone();
        }
        init.at_least(&now);
    }
    let mut total = sidecars;
    spec.containers.iter().for_each(|container| total.add(&of(container)));
    total.at_least(&init);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        total.0.extend(Resources::parse(Some(pod_level)).0);
    }
    total.add(&Resources::parse(spec.overhead.as_ref()));
    total
}

fn ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let host = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let ip = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
        Some((ip, port.protocol.clone().unwrap_or_else(|| "TCP".into()), number))
    });
    host.collect()
}
