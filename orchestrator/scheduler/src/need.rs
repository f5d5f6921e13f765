//! What a pod asks of a node, and of the pods around it. Pods that ask the same are one class: whatever is computed for
//! one holds for all.

pub mod amounts;
pub mod relations;
pub mod selector;
pub mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeAffinity, Pod, PodSpec, Toleration};
use kube::ResourceExt as _;

pub use amounts::Amounts;
pub use relations::{Relations, Spread, Term};
pub use selector::{Group, Kin, Selector};
pub use volumes::Mounts;

/// One host port: address, protocol, number. The address `0.0.0.0` collides with all.
pub type HostPort = (String, String, i32);

#[derive(Debug, Clone, Default)]
pub struct Need {
    /// Equal for pods that ask the same; who they are, and how important, is apart.
    pub class: Arc<str>,
    pub kin: Arc<Kin>,
    pub priority: i32,
    /// Whether it may push out pods that are less important.
    pub preempts: bool,
    pub requests: Amounts,
    /// What scores take it to request: CPU and memory.
    pub scored: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub node_name: Option<String>,
    pub node_selector: BTreeMap<String, String>,
    pub node_affinity: Option<NodeAffinity>,
    pub tolerations: Vec<Toleration>,
    pub relations: Relations,
    /// Of every container, with a tag.
    pub images: Vec<String>,
    pub mounts: Mounts,
}

impl Need {
    pub fn of(pod: &Pod) -> Self {
        Self::with_siblings(pod, None)
    }

    /// `siblings` matches the pods of its owner and Services; upstream spreads those unless the pod says how.
    pub fn with_siblings(pod: &Pod, siblings: Option<Selector>) -> Self {
        let nothing = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&nothing);
        let kin = Kin { namespace: pod.namespace().unwrap_or_default(), labels: pod.labels().clone() };
        let scored = amounts::requests(pod, true);
        let mut need = Self {
            class: "".into(),
            priority: spec.priority.unwrap_or_default(),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            requests: amounts::requests(pod, false),
            scored: (scored.cpu, scored.memory),
            host_ports: host_ports(spec),
            node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_affinity: spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone()),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            relations: Relations::of(spec, &kin, siblings),
            images: images(spec),
            mounts: Mounts::of(pod),
            kin: Arc::new(kin),
        };
        need.class = need.facts().into();
        need
    }

    fn facts(&self) -> String {
        let of_nodes = (&self.node_selector, &self.node_affinity, &self.tolerations, &self.images);
        let facts = (&self.requests, self.scored, &self.host_ports, of_nodes, &self.relations, &self.mounts);
        serde_json::to_string(&facts).expect("plain data is JSON")
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let used = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
        Some((address, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number))
    });
    used.collect()
}

fn images(spec: &PodSpec) -> Vec<String> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.map(|container| tagged(container.image.as_deref().unwrap_or_default())).collect()
}

/// The name under which nodes report it: with `:latest` where it says no tag.
fn tagged(image: &str) -> String {
    let (tag, path) = (image.rfind(':'), image.rfind('/'));
    if tag <= path { format!("{image}:latest") } else { image.to_owned() }
}
