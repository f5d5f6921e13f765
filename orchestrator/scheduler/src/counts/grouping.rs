//! Nodes grouped by the value of a label: the domains in which pods are counted.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use amphipod_api::node_selector::accepts;
use amphipod_api::taints::tolerates;
use k8s_openapi::api::core::v1::{NodeAffinity, Toleration};

use crate::filters::node_affinity::candidate;
use crate::need::{Need, Spread};
use crate::snapshot::NodeState;

/// The domain of a node that is in none.
pub const NOWHERE: u32 = u32::MAX;

/// By which label nodes are grouped, and which of them count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Division {
    pub key: String,
    /// Labels that a node must have too.
    pub also: Vec<String>,
    pub policy: Option<Arc<Policy>>,
}

/// Nodes that a pod is kept from do not count.
#[derive(Debug, Default)]
pub struct Policy {
    selector: BTreeMap<String, String>,
    affinity: Option<NodeAffinity>,
    tolerations: Option<Vec<Toleration>>,
    /// All of the above.
    text: String,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Policy {}

impl Hash for Policy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Policy {
    /// `None` when every node counts.
    pub fn of(spread: &Spread, need: &Need) -> Option<Arc<Self>> {
        let required = need.node_affinity.as_ref().filter(|affinity| {
            affinity.required_during_scheduling_ignored_during_execution.is_some() && spread.honors_affinity
        });
        let mut policy = Self::default();
        if spread.honors_affinity {
            policy.selector.clone_from(&need.node_selector);
        }
        policy.affinity = required.map(|affinity| NodeAffinity {
            required_during_scheduling_ignored_during_execution: affinity
                .required_during_scheduling_ignored_during_execution
                .clone(),
            ..NodeAffinity::default()
        });
        policy.tolerations = spread.honors_taints.then(|| need.tolerations.clone());
        if policy.selector.is_empty() && policy.affinity.is_none() && policy.tolerations.is_none() {
            return None;
        }
        let facts = (&policy.selector, &policy.affinity, &policy.tolerations);
        policy.text = serde_json::to_string(&facts).expect("plain data is JSON");
        Some(Arc::new(policy))
    }

    fn admits(&self, node: &NodeState) -> bool {
        let tolerated = |tolerations: &Vec<Toleration>| {
            let mut hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
            hard.all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        };
        accepts(Some(&self.selector), self.affinity.as_ref(), candidate(node))
            && self.tolerations.as_ref().is_none_or(tolerated)
    }
}

impl Division {
    pub fn by(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }

    fn domain<'a>(&self, node: &'a NodeState) -> Option<&'a String> {
        let value = node.labels.get(&self.key).filter(|_| node.known)?;
        let complete = self.also.iter().all(|key| node.labels.contains_key(key));
        (complete && self.policy.as_ref().is_none_or(|policy| policy.admits(node))).then_some(value)
    }
}

/// A division applied to the nodes there are.
#[derive(Debug)]
pub struct Grouping {
    pub division: Division,
    /// The domain of each slot.
    of: Vec<u32>,
    index: HashMap<String, u32>,
    /// Nodes in each domain.
    members: Vec<u32>,
    /// Domains with nodes.
    pub existing: usize,
    /// Domains with more than one.
    shared: usize,
    /// What is counted by it.
    pub counters: Vec<u32>,
}

impl Grouping {
    pub fn new(division: Division, nodes: &[NodeState]) -> Self {
        let (index, members) = (HashMap::new(), Vec::new());
        let mut grouping = Self { division, of: Vec::new(), index, members, existing: 0, shared: 0, counters: vec![] };
        for (slot, node) in nodes.iter().enumerate() {
            grouping.put(slot as u32, node);
        }
        grouping
    }

    pub fn domain(&self, slot: u32) -> u32 {
        self.of.get(slot as usize).copied().unwrap_or(NOWHERE)
    }

    /// Whether each domain is one node, as it is by hostname.
    pub fn is_fine(&self) -> bool {
        self.shared == 0
    }

    /// The domain that a node was in and the one that it is in now.
    pub fn put(&mut self, slot: u32, node: &NodeState) -> (u32, u32) {
        if self.of.len() <= slot as usize {
            self.of.resize(slot as usize + 1, NOWHERE);
        }
        let now = self.division.domain(node).map_or(NOWHERE, |value| {
            let next = self.members.len() as u32;
            match self.index.get(value) {
                Some(domain) => *domain,
                None => {
                    self.index.insert(value.clone(), next);
                    self.members.push(0);
                    next
                }
            }
        });
        let before = std::mem::replace(&mut self.of[slot as usize], now);
        if before != now {
            self.count(before, false);
            self.count(now, true);
        }
        (before, now)
    }

    fn count(&mut self, domain: u32, more: bool) {
        let Some(members) = self.members.get_mut(domain as usize) else { return };
        match (more, *members) {
            (true, 0) => self.existing += 1,
            (true, 1) => self.shared += 1,
            (false, 1) => self.existing -= 1,
            (false, 2) => self.shared -= 1,
            _ => {}
        }
        *members = if more { *members + 1 } else { *members - 1 };
    }
}
