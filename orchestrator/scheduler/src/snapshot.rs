//! The nodes as the scheduler knows them: what each has, what pods (bound, or assumed to be soon) take of it.
//! Every change of a node is noted, so that what was computed for a class of pods is mended, not computed again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt as _;

use crate::need::{Amounts, HostPort, Need, add, amounts, subtract};

/// One node and what is taken of it.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    pub requested: Amounts,
    /// What requests would be if every pod without any asked for upstream's scoring defaults.
    pub scored: Amounts,
    pub host_ports: Vec<HostPort>,
    /// False while only its pods are known.
    pub known: bool,
}

/// Changes that a slow class may lag behind before it is computed anew.
const CHANGES_KEPT: usize = 65_536;

#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<NodeState>,
    by_name: HashMap<String, usize>,
    /// Pod uid → where it is counted.
    pods: HashMap<String, (usize, Arc<Need>)>,
    changes: Vec<u32>,
    /// How many changes were dropped from the front of `changes`.
    forgotten: usize,
}

impl Snapshot {
    /// Nodes that exist, in the order they were first seen.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.iter().filter(|node| node.known)
    }

    pub fn len(&self) -> usize {
        self.nodes().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn at(&self, index: usize) -> &NodeState {
        &self.nodes[index]
    }

    pub fn named(&self, name: &str) -> Option<&NodeState> {
        self.by_name.get(name).map(|slot| &self.nodes[*slot]).filter(|node| node.known)
    }

    /// How many slots there are, known nodes or not.
    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// The position of the newest change.
    pub fn position(&self) -> usize {
        self.forgotten + self.changes.len()
    }

    /// Slots changed since this position; `None` when it is too long ago.
    pub fn changed_since(&self, position: usize) -> Option<&[u32]> {
        self.changes.get(position.checked_sub(self.forgotten)?..)
    }

    /// Takes over what the API says of a node.
    pub fn put_node(&mut self, node: &Node) {
        let slot = self.slot(&node.name_any());
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let state = &mut self.nodes[slot];
        state.known = true;
        state.labels = node.labels().clone();
        state.taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        state.unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        state.allocatable = allocatable.map(amounts).unwrap_or_default();
        self.note(slot);
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(slot) = self.by_name.get(name).copied() {
            self.nodes[slot].known = false;
            self.note(slot);
        }
    }

    /// Counts a pod on a node: bound, or assumed to be. A pod that is counted elsewhere moves.
    pub fn put_pod(&mut self, uid: &str, node: &str, need: Arc<Need>) {
        let slot = self.slot(node);
        if self.pods.get(uid).is_some_and(|(at, known)| *at == slot && known.class == need.class) {
            return;
        }
        self.remove_pod(uid);
        let state = &mut self.nodes[slot];
        add(&mut state.requested, &need.requests);
        add(&mut state.scored, &crate::scores::scored(&need.requests));
        state.host_ports.extend(need.host_ports.iter().cloned());
        self.pods.insert(uid.to_owned(), (slot, need));
        self.note(slot);
    }

    /// The pod has ended, is gone, or could not be bound. True when it was counted.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some((slot, need)) = self.pods.remove(uid) else { return false };
        let state = &mut self.nodes[slot];
        subtract(&mut state.requested, &need.requests);
        subtract(&mut state.scored, &crate::scores::scored(&need.requests));
        for port in &need.host_ports {
            if let Some(at) = state.host_ports.iter().position(|used| used == port) {
                state.host_ports.swap_remove(at);
            }
        }
        self.note(slot);
        true
    }

    pub fn counts(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        self.nodes.push(NodeState { name: name.to_owned(), ..NodeState::default() });
        self.by_name.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn note(&mut self, slot: usize) {
        self.changes.push(u32::try_from(slot).expect("there are fewer nodes than 2^32"));
        if self.changes.len() > CHANGES_KEPT {
            let half = CHANGES_KEPT / 2;
            self.changes.drain(..half);
            self.forgotten += half;
        }
    }
}
