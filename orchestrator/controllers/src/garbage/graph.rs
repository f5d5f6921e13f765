//! Who owns whom, as far as the watches have told. An owner may be seen after its dependents or never; `plan`
//! decides from it and `garbage` asks the API before anything is deleted.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::resources::{Scope, Served};

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

pub type Uid = String;

/// One object: its identity and what decides about its fate.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: &'static Served,
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub revision: Option<String>,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub is_terminating: bool,
}

impl Node {
    pub fn new(kind: &'static Served, meta: ObjectMeta) -> Self {
        Self {
            kind,
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            revision: meta.resource_version,
            owners: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            is_terminating: meta.deletion_timestamp.is_some(),
        }
    }

    pub fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|own| own == finalizer)
    }

    /// It stays until its blocking dependents are gone.
    pub fn waits_for_dependents(&self) -> bool {
        self.is_terminating && self.has(FOREGROUND)
    }

    /// It stays until its dependents have forgotten it.
    pub fn waits_for_orphans(&self) -> bool {
        self.is_terminating && self.has(ORPHAN)
    }

    /// The reference names this very object: uid, kind, name, and a place that the dependent may refer to.
    pub fn is_meant_by(&self, reference: &OwnerReference, dependent: &Node) -> bool {
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let in_reach = self.kind.scope == Scope::Cluster || self.namespace == dependent.namespace;
        self.uid == reference.uid
            && self.name == reference.name
            && self.kind.kind == reference.kind
            && self.kind.group == group
            && in_reach
    }

    /// The same for the graph: only the revision may differ.
    fn matters_as(&self, other: &Node) -> bool {
        self.owners == other.owners
            && self.finalizers == other.finalizers
            && self.is_terminating == other.is_terminating
    }
}

#[derive(Default)]
pub struct Graph {
    /// Boxed: a table of bare nodes doubles by what all of them weigh.
    nodes: HashMap<Uid, Box<Node>>,
    /// By the uid that is referred to, whether its object is known or not.
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Graph {
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid).map(|node| &**node)
    }

    /// Takes an object in as it is now. Gives who must be looked at again.
    pub fn put(&mut self, node: Node) -> Vec<Uid> {
        let before = self.nodes.get(&node.uid);
        if before.is_some_and(|before| before.matters_as(&node)) {
            self.nodes.insert(node.uid.clone(), Box::new(node));
            return Vec::new();
        }
        let mut look: Vec<Uid> = before.map(|before| self.waiting_owners(before)).unwrap_or_default();
        self.unlink(&node.uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(node.uid.clone());
        }
        look.extend(self.waiting_owners(&node));
        if node.waits_for_dependents() {
            look.extend(self.dependents.get(&node.uid).into_iter().flatten().cloned());
        }
        if !node.owners.is_empty() || node.is_terminating {
            look.push(node.uid.clone());
        }
        self.nodes.insert(node.uid.clone(), Box::new(node));
        look
    }

    /// Forgets an object. Gives who must be looked at again: its dependents and the owners that waited for it.
    pub fn remove(&mut self, uid: &str) -> Vec<Uid> {
        self.unlink(uid);
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut look: Vec<Uid> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        look.extend(self.waiting_owners(&node));
        look
    }

    /// Forgets every object of a kind that a full list did not name. An owner may have come and gone unseen,
    /// so whoever refers to an unknown one is looked at too.
    pub fn keep(&mut self, kind: &Served, listed: &HashSet<Uid>) -> Vec<Uid> {
        let of_kind = self.nodes.values().filter(|node| node.kind == kind);
        let gone: Vec<Uid> = of_kind.filter(|node| !listed.contains(&node.uid)).map(|node| node.uid.clone()).collect();
        let mut look: Vec<Uid> = gone.iter().flat_map(|uid| self.remove(uid)).collect();
        let unknown = self.dependents.iter().filter(|(owner, _)| !self.nodes.contains_key(*owner));
        look.extend(unknown.flat_map(|(_, members)| members).cloned());
        look
    }

    /// Objects that rightly refer to this one.
    pub fn dependents_of(&self, owner: &Node) -> Vec<Node> {
        let members = self.dependents.get(&owner.uid).into_iter().flatten();
        let known = members.filter_map(|uid| self.get(uid));
        known.filter(|node| node.owners.iter().any(|reference| owner.is_meant_by(reference, node))).cloned().collect()
    }

    fn waiting_owners(&self, node: &Node) -> Vec<Uid> {
        let known = node.owners.iter().filter_map(|owner| self.nodes.get(&owner.uid));
        known
            .filter(|owner| owner.waits_for_dependents() || owner.waits_for_orphans())
            .map(|owner| owner.uid.clone())
            .collect()
    }

    fn unlink(&mut self, uid: &str) {
        let Some(node) = self.nodes.get(uid) else { return };
        for owner in &node.owners {
            if let Some(members) = self.dependents.get_mut(&owner.uid) {
                members.remove(uid);
                if members.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}
