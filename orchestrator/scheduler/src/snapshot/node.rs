//! One node and what is taken of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt as _;

use crate::need::volumes::Disk;
use crate::need::{Amounts, HostPort, Need};

#[derive(Debug, Clone, Default)]
pub struct NodeState {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub requested: Amounts,
    /// What requests of CPU and memory would be if every container without any asked for upstream's scoring defaults.
    pub scored: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub disks: Vec<Disk>,
    pub images: HashSet<String>,
    pub pods: Vec<Arc<Placed>>,
    /// False while only its pods are known.
    pub known: bool,
}

/// A pod on a node: bound, or assumed to be.
#[derive(Debug)]
pub struct Placed {
    pub slot: u32,
    pub need: Arc<Need>,
    pub facts: Facts,
}

/// What preemption asks of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub uid: String,
    pub name: String,
    pub started: Option<Timestamp>,
    /// It is being deleted.
    pub terminating: bool,
    /// It is being deleted because a pod was more important.
    pub preempted: bool,
}

impl NodeState {
    /// Takes over what the API says.
    pub fn read(&mut self, node: &Node) {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        self.known = true;
        self.labels = node.labels().clone();
        self.taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        self.unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.allocatable = allocatable.map(Amounts::of).unwrap_or_default();
    }

    pub fn add(&mut self, pod: &Arc<Placed>) {
        let need = &pod.need;
        self.requested.add(&need.requests);
        self.scored = (self.scored.0 + need.scored.0, self.scored.1 + need.scored.1);
        self.host_ports.extend(need.host_ports.iter().cloned());
        self.disks.extend(need.mounts.disks.iter().cloned());
        self.pods.push(pod.clone());
    }

    pub fn remove(&mut self, pod: &Arc<Placed>) {
        let need = &pod.need;
        self.requested.subtract(&need.requests);
        self.scored = (self.scored.0 - need.scored.0, self.scored.1 - need.scored.1);
        need.host_ports.iter().for_each(|port| take(&mut self.host_ports, |used| used == port));
        need.mounts.disks.iter().for_each(|disk| take(&mut self.disks, |used| used == disk));
        take(&mut self.pods, |placed| Arc::ptr_eq(placed, pod));
    }

    /// The same pod, of which other things are known now.
    pub fn swap(&mut self, before: &Arc<Placed>, now: &Arc<Placed>) {
        let known = self.pods.iter_mut().find(|placed| Arc::ptr_eq(placed, before));
        known.into_iter().for_each(|placed| *placed = now.clone());
    }
}

fn take<T>(of: &mut Vec<T>, is_it: impl Fn(&T) -> bool) {
    if let Some(at) = of.iter().position(is_it) {
        of.swap_remove(at);
    }
}
