//! What is to happen to one object of the graph. Pure; `garbage` does it.

use super::graph::{FOREGROUND, Node, ORPHAN};

/// What is known of an object that a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Lives,
    /// It is being deleted in the foreground: its dependents go first.
    Waits,
    /// The API said that it is not there.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Background,
    Foreground,
    Orphan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Rest,
    /// Take this finalizer away: what it waited for has happened.
    Release(&'static str),
    /// Take the references to this object from its dependents, then release it.
    Orphan,
    /// Take the references to owners with these uids away; others keep the object alive.
    Disown(Vec<String>),
    /// `unblock`: first let the owners not wait, for a dependent of this object waits itself (a circle).
    Delete {
        policy: Policy,
        unblock: bool,
    },
}

/// `owners` are as the references of `node`, in order; `dependents` refer to `node`.
pub fn plan(node: &Node, owners: &[Owner], dependents: &[Node]) -> Step {
    if node.waits_for_orphans() {
        return if dependents.is_empty() { Step::Release(ORPHAN) } else { Step::Orphan };
    }
    if node.waits_for_dependents() {
        return if dependents.iter().any(|dependent| blocks(dependent, node)) {
            Step::Rest
        } else {
            Step::Release(FOREGROUND)
        };
    }
    if node.is_terminating || owners.is_empty() {
        return Step::Rest;
    }
    if owners.contains(&Owner::Lives) {
        let useless = node.owners.iter().zip(owners).filter(|(_, owner)| **owner != Owner::Lives);
        let uids: Vec<String> = useless.map(|(reference, _)| reference.uid.clone()).collect();
        return if uids.is_empty() { Step::Rest } else { Step::Disown(uids) };
    }
    if owners.contains(&Owner::Waits) && !dependents.is_empty() {
        let unblock = dependents.iter().any(Node::waits_for_dependents);
        return Step::Delete { policy: Policy::Foreground, unblock };
    }
    let policy = match node {
        _ if node.has(ORPHAN) => Policy::Orphan,
        _ if node.has(FOREGROUND) => Policy::Foreground,
        _ => Policy::Background,
    };
    Step::Delete { policy, unblock: false }
}

fn blocks(dependent: &Node, owner: &Node) -> bool {
    let mut references = dependent.owners.iter().filter(|reference| reference.uid == owner.uid);
    references.any(|reference| reference.block_owner_deletion == Some(true))
}
