//! The Node authorizer: a node reads only what the pods bound to it use, and writes only what is its own. Which pods use
//! what is `nodes/graph.rs`, kept true by `nodes/feed.rs`; what a node may write is admission's (`node_restriction.rs`).
//!
//! ```text
//!  node ◄─ pod ◄─ secret, config map, service account, claim ◄─ volume ◄─ secret
//!  node ◄─ volume attachment, resource slice
//! ```

pub mod feed;
pub mod graph;

use k8s_openapi::api::rbac::v1::PolicyRule;
use parking_lot::Mutex;

use super::rule;
use crate::seams::{Attributes, Identity};

pub use feed::Feed;
use graph::{Thing, What};

const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

/// The node that an identity is, if it is one: `Some("")` for a node without a name.
pub fn node_name(identity: &Identity) -> Option<&str> {
    let name = identity.user.strip_prefix(USER_PREFIX)?;
    identity.groups.iter().any(|group| group == GROUP).then_some(name)
}

/// What a node may do: `Err` is the reason why not, empty when there is nothing to say.
pub type Verdict = Result<(), String>;

pub struct Nodes {
    feed: Mutex<Feed>,
    /// For everything that is not told apart here.
    rules: Vec<PolicyRule>,
}

impl Nodes {
    pub fn new(feed: Feed, rules: Vec<PolicyRule>) -> Self {
        Self { feed: Mutex::new(feed), rules }
    }

    /// Takes in what happened meanwhile, so that a node's question finds little left to take in. Call it now and then.
    pub fn catch_up(&self) {
        self.feed.lock().catch_up();
    }

    pub fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Verdict {
        let Some(node) = node_name(identity) else { return Err(String::new()) };
        if node.is_empty() {
            return Err(format!("unknown node for user {:?}", identity.user));
        }
        let decide = Decide { nodes: self, node, asked: attributes };
        if attributes.path.is_some() {
            return decide.by_rules();
        }
        match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("", "secrets") => decide.read(What::Secret),
            ("", "configmaps") => decide.read(What::ConfigMap),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => decide.claim_status(),
            ("", "persistentvolumeclaims") => decide.get(What::Claim),
            ("", "persistentvolumes") => decide.get(What::Volume),
            ("resource.k8s.io", "resourceclaims") => decide.get(What::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => decide.get(What::Attachment),
            ("", "serviceaccounts") => decide.token(),
            ("coordination.k8s.io", "leases") => decide.lease(),
            ("storage.k8s.io", "csinodes") => decide.csi_node(),
            ("resource.k8s.io", "resourceslices") => decide.slice(),
            ("", "nodes") => decide.node(),
            ("", "pods") => decide.pod(),
            _ => decide.by_rules(),
        }
    }
}

/// One question of one node.
struct Decide<'a> {
    nodes: &'a Nodes,
    node: &'a str,
    asked: &'a Attributes,
}

impl Decide<'_> {
    fn by_rules(&self) -> Verdict {
        let allows = self.nodes.rules.iter().any(|rule| rule::matches(rule, self.asked));
        if allows { Ok(()) } else { Err(String::new()) }
    }

    fn verb(&self) -> &str {
        &self.asked.verb
    }

    fn related(&self, what: What) -> Verdict {
        if self.asked.name.is_empty() {
            return refuse("No Object name found");
        }
        let thing = Thing::new(what, &self.asked.namespace, &self.asked.name);
        let mut feed = self.nodes.feed.lock();
        // What the node was told of, it may ask for at once: nothing that was published before is left out.
        feed.catch_up();
        if feed.graph().relates(self.node, &thing) {
            return Ok(());
        }
        refuse(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, what: What) -> Verdict {
        if self.verb() != "get" {
            return refuse("can only get individual resources of this type");
        }
        if !self.asked.subresource.is_empty() {
            return refuse("cannot get subresource");
        }
        self.related(what)
    }

    fn read(&self, what: What) -> Verdict {
        if !matches!(self.verb(), "get" | "list" | "watch") {
            return refuse("can only read resources of this type");
        }
        if !self.asked.subresource.is_empty() {
            return refuse("cannot read subresource");
        }
        if self.asked.namespace.is_empty() {
            return refuse("can only read namespaced object of this type");
        }
        self.related(what)
    }

    fn claim_status(&self) -> Verdict {
        if !matches!(self.verb(), "update" | "patch") {
            return refuse("can only get/update/patch this type");
        }
        self.related(What::Claim)
    }

    fn token(&self) -> Verdict {
        if self.verb() != "create" || self.asked.name.is_empty() {
            return refuse("can only create tokens for individual service accounts");
        }
        if self.asked.subresource != "token" {
            return refuse("can only create token subresource of serviceaccount");
        }
        self.related(What::ServiceAccount)
    }

    fn lease(&self) -> Verdict {
        if !matches!(self.verb(), "get" | "create" | "update" | "patch" | "delete") {
            return refuse("can only get, create, update, patch, or delete a node lease");
        }
        if self.asked.namespace != LEASES {
            return refuse(format!("can only access leases in the {LEASES:?} system namespace"));
        }
        if self.verb() != "create" && self.asked.name != self.node {
            return refuse("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    fn csi_node(&self) -> Verdict {
        if !matches!(self.verb(), "get" | "create" | "update" | "patch" | "delete") {
            return refuse("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.asked.subresource.is_empty() {
            return refuse("cannot authorize CSINode subresources");
        }
        if self.verb() != "create" && self.asked.name != self.node {
            return refuse("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    fn slice(&self) -> Verdict {
        if !self.asked.subresource.is_empty() {
            return refuse("cannot authorize ResourceSlice subresources");
        }
        match self.verb() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(What::Slice),
            "watch" | "list" | "deletecollection" if self.selects("nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => {
                refuse("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => refuse(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn node(&self) -> Verdict {
        let node = self.node;
        match (self.asked.subresource.as_str(), self.verb()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") => match self.asked.name.as_str() {
                name if name == node => Ok(()),
                "" => refuse(format!("node '{node}' cannot read all nodes, only its own Node object")),
                other => refuse(format!("node '{node}' cannot read '{other}', only its own Node object")),
            },
            _ => refuse(""),
        }
    }

    fn pod(&self) -> Verdict {
        match (self.asked.subresource.as_str(), self.verb()) {
            ("", "get") => self.get(What::Pod),
            ("", "list" | "watch") if self.selects("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !self.asked.name.is_empty() => self.related(What::Pod),
            ("", "list" | "watch") => refuse("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => refuse(""),
        }
    }

    fn selects(&self, field: &str) -> bool {
        self.asked.field_selector.iter().any(|(known, value)| known == field && value == self.node)
    }
}

fn refuse(why: impl Into<String>) -> Verdict {
    Err(why.into())
}

#[cfg(test)]
mod tests;
