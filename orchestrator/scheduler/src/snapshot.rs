//! The nodes and what their pods ask of them, assumed pods included. Every change of a node is noted in a
//! short log, from which `schedule` brings its cached orders up to date.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Node as NodeObject, Taint};

use crate::pod::{Class, HostPort, Resources};
use crate::schedule::Classes;

/// Changes kept before caches that lag behind are rebuilt.
const LOG_MAX: usize = 65_536;

#[derive(Debug, Clone, Default)]
pub struct Node {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    pub requested: Resources,
    pub nonzero: Resources,
    pub pods: usize,
    pub ports: HashMap<HostPort, usize>,
    /// False for a node that only pods have named so far, or that is gone.
    pub exists: bool,
}

struct Placed {
    node: usize,
    class: Class,
}

#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    placed: HashMap<String, Placed>,
    log: Vec<usize>,
    /// Number of changes that the log no longer holds.
    log_start: usize,
    existing: usize,
    pub(crate) classes: Classes,
}

impl Snapshot {
    pub fn node(&self, slot: usize) -> &Node {
        &self.nodes[slot]
    }

    pub fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.existing
    }

    pub fn is_empty(&self) -> bool {
        self.existing == 0
    }

    /// Whether anything that could matter to a pod has changed.
    pub fn set_node(&mut self, object: &NodeObject) -> bool {
        let slot = self.slot(object.metadata.name.as_deref().unwrap_or_default());
        let node = &mut self.nodes[slot];
        let spec = object.spec.clone().unwrap_or_default();
        let mut next = Node {
            labels: object.metadata.labels.clone().unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: Resources::parse(object.status.as_ref().and_then(|status| status.allocatable.as_ref())),
            exists: true,
            ..Node::default()
        };
        let same = (&next.labels, &next.taints, next.unschedulable, &next.allocatable, next.exists)
            == (&node.labels, &node.taints, node.unschedulable, &node.allocatable, node.exists);
        if same {
            return false;
        }
        self.existing += usize::from(!node.exists);
        std::mem::swap(&mut next.name, &mut node.name);
        std::mem::swap(&mut next.requested, &mut node.requested);
        std::mem::swap(&mut next.nonzero, &mut node.nonzero);
        std::mem::swap(&mut next.ports, &mut node.ports);
        next.pods = node.pods;
        *node = next;
        self.touch(slot);
        true
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(slot) = self.by_name.get(name).copied()
            && std::mem::replace(&mut self.nodes[slot].exists, false)
        {
            self.existing -= 1;
            self.touch(slot);
        }
    }

    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.exists).map(|node| node.name.clone()).collect()
    }

    /// Counts a pod on a node, once however often it is said; also assumes a pod before its binding is written.
    pub fn place(&mut self, uid: &str, node: &str, class: Class) {
        let slot = self.slot(node);
        if let Some(placed) = self.placed.get(uid) {
            if placed.node == slot && placed.class.requests == class.requests {
                return;
            }
            self.remove_pod(uid);
        }
        let node = &mut self.nodes[slot];
        node.requested.add(&class.requests);
        node.nonzero.add(&class.nonzero);
        node.pods += 1;
        for port in &class.ports {
            *node.ports.entry(port.clone()).or_default() += 1;
        }
        self.placed.insert(uid.to_owned(), Placed { node: slot, class });
        self.touch(slot);
    }

    /// Whether the pod was counted anywhere.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(placed) = self.placed.remove(uid) else { return false };
        let node = &mut self.nodes[placed.node];
        node.requested.subtract(&placed.class.requests);
        node.nonzero.subtract(&placed.class.nonzero);
        node.pods -= 1;
        for port in &placed.class.ports {
            if let Some(count) = node.ports.get_mut(port) {
                *count -= 1;
            }
        }
        node.ports.retain(|_, count| *count > 0);
        self.touch(placed.node);
        true
    }

    pub fn placed_uids(&self) -> Vec<String> {
        self.placed.keys().cloned().collect()
    }

    /// Nodes changed since `seen`, and the new `seen`; `None` when the log does not reach back so far.
    pub(crate) fn changed_since(&self, seen: usize) -> Option<&[usize]> {
        self.log.get(seen.checked_sub(self.log_start)?..)
    }

    pub(crate) fn now(&self) -> usize {
        self.log_start + self.log.len()
    }

    fn touch(&mut self, slot: usize) {
        if self.log.len() >= LOG_MAX {
            self.log_start += self.log.len();
            self.log.clear();
        }
        self.log.push(slot);
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.nodes.len();
        self.nodes.push(Node { name: name.to_owned(), ..Node::default() });
        self.by_name.insert(name.to_owned(), slot);
        slot
    }
}
