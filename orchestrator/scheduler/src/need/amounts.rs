//! Amounts of resources: what a pod requests, what a node has and has left.

use std::collections::BTreeMap;

use amphipod_api::quantity;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;

/// Requests of a container without any, for scores only (upstream's 100m and 200Mi).
pub const SCORED_CPU: i64 = 100;
pub const SCORED_MEMORY: i64 = 200 << 20;

/// Millicores, bytes, bytes of local storage, pods; whole units of everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Amounts {
    pub cpu: i64,
    pub memory: i64,
    pub storage: i64,
    pub pods: i64,
    pub other: BTreeMap<String, i64>,
}

impl Amounts {
    pub fn of(quantities: &BTreeMap<String, Quantity>) -> Self {
        let mut amounts = Self::default();
        for (name, Quantity(text)) in quantities {
            let parsed = if name == "cpu" { quantity::milli(text) } else { quantity::whole(text) };
            let Some(amount) = parsed else { continue };
            match name.as_str() {
                "cpu" => amounts.cpu = amount,
                "memory" => amounts.memory = amount,
                "ephemeral-storage" => amounts.storage = amount,
                "pods" => amounts.pods = amount,
                _ => _ = amounts.other.insert(name.clone(), amount),
            }
        }
        amounts
    }

    pub fn add(&mut self, more: &Self) {
        self.merge(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.merge(less, i64::saturating_sub);
    }

    /// The larger of both, resource by resource.
    pub fn raise(&mut self, to: &Self) {
        self.merge(to, i64::max);
    }

    fn merge(&mut self, with: &Self, how: fn(i64, i64) -> i64) {
        self.cpu = how(self.cpu, with.cpu);
        self.memory = how(self.memory, with.memory);
        self.storage = how(self.storage, with.storage);
        self.pods = how(self.pods, with.pods);
        for (name, amount) in &with.other {
            match self.other.get_mut(name) {
                Some(own) => *own = how(*own, *amount),
                None => _ = self.other.insert(name.clone(), how(0, *amount)),
            }
        }
    }
}

/// What a pod requests; with `scored`, containers that name no CPU or memory ask for upstream's defaults.
/// Source: upstream's `PodRequests`.
pub fn requests(pod: &Pod, scored: bool) -> Amounts {
    let nothing = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&nothing);
    let of = |container: &Container| of_container(container, pod.status.as_ref(), scored);
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let mut while_starting = sidecars.clone();
        while_starting.add(&own);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&own);
            sidecars.clone_from(&while_starting);
        }
        peak.raise(&while_starting);
    }
    running.raise(&peak);
    if let Some(whole) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        say_for_all(&mut running, whole);
    }
    if let Some(overhead) = &spec.overhead {
        running.add(&Amounts::of(overhead));
    }
    running.pods = 1;
    running.other.retain(|_, amount| *amount != 0);
    running
}

/// What is said of the whole pod holds instead of its containers' sum; only these resources can be.
fn say_for_all(running: &mut Amounts, whole: &BTreeMap<String, Quantity>) {
    let said = Amounts::of(whole);
    if whole.contains_key("cpu") {
        running.cpu = said.cpu;
    }
    if whole.contains_key("memory") {
        running.memory = said.memory;
    }
    running.other.extend(said.other.into_iter().filter(|(name, _)| name.starts_with("hugepages-")));
}

/// The larger of what is asked and what the node has given, while a resize is under way.
fn of_container(container: &Container, status: Option<&PodStatus>, scored: bool) -> Amounts {
    let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut amounts = asked.map(Amounts::of).unwrap_or_default();
    if let Some(given) = status.and_then(|status| status_of(status, &container.name)) {
        if status.is_some_and(resize_is_infeasible) {
            amounts = Amounts::default();
        }
        let actual = given.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        for given in [given.allocated_resources.as_ref(), actual].into_iter().flatten() {
            amounts.raise(&Amounts::of(given));
        }
    }
    let names = |name: &str| asked.is_some_and(|asked| asked.contains_key(name));
    if scored && !names("cpu") {
        amounts.cpu = SCORED_CPU;
    }
    if scored && !names("memory") {
        amounts.memory = SCORED_MEMORY;
    }
    amounts
}

fn status_of<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let all = [&status.container_statuses, &status.init_container_statuses];
    let mut found = all.into_iter().flatten().flatten().filter(|status| status.name == name);
    found.find(|status| status.allocated_resources.is_some() || status.resources.is_some())
}

fn resize_is_infeasible(status: &PodStatus) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible"))
}
