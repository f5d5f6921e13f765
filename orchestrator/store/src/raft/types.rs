//! The words that openraft and we share, and how they become our own records and back.

use std::fmt;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::{BasicNode, EntryPayload, Membership, Vote};
use serde::{Deserialize, Serialize};

use crate::machine::Command;
use crate::record::{Ballot, Content, Members, Position, Record};

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = BasicNode,
);

pub(crate) type Entry = <Types as openraft::RaftTypeConfig>::Entry;
type Leader = LeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<Leader>;
pub(crate) type StoredMembers = openraft::StoredMembership<Leader, u64, BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<Leader, u64, BasicNode>;
/// Its data is the checkpoint, which is already where it belongs.
pub(crate) type Snapshot = openraft::Snapshot<Leader, u64, BasicNode, ()>;
pub(crate) type RaftVote = Vote<Leader>;

/// What one entry carries. The ticket leads back to those who wait for it in this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch {
    #[serde(skip)]
    pub ticket: u64,
    pub commands: Arc<Vec<Command>>,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.commands.len())
    }
}

pub(crate) fn position(id: &LogId) -> Position {
    Position { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id(position: Position) -> LogId {
    LogId::new(LeaderId { term: position.term, node_id: position.node }, position.index)
}

pub(crate) fn record(entry: &Entry) -> Record {
    let content = match &entry.payload {
        EntryPayload::Blank => Content::Blank,
        EntryPayload::Normal(batch) => Content::Commands(batch.commands.clone()),
        EntryPayload::Membership(membership) => Content::Members(members(membership)),
    };
    Record::Entry(position(&entry.log_id), content)
}

pub(crate) fn entry(at: Position, content: Content) -> Entry {
    let id = log_id(at);
    match content {
        Content::Blank => Entry::new_blank(id),
        Content::Commands(commands) => Entry::new_normal(id, Batch { ticket: 0, commands }),
        Content::Members(members) => Entry::new_membership(id, membership(&members)),
    }
}

pub(crate) fn members(membership: &Membership<u64, BasicNode>) -> Members {
    let addresses = membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
    Members { configs: membership.get_joint_config().clone(), addresses }
}

pub(crate) fn membership(members: &Members) -> Membership<u64, BasicNode> {
    if members.configs.is_empty() {
        return Membership::default();
    }
    let nodes = members.addresses.iter().map(|(id, address)| (*id, BasicNode::new(address)));
    let nodes: std::collections::BTreeMap<u64, BasicNode> = nodes.collect();
    Membership::new(members.configs.clone(), nodes).expect("it was valid when it was written")
}

pub(crate) fn ballot(vote: &RaftVote) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(ballot: Ballot) -> RaftVote {
    Vote { leader_id: LeaderId { term: ballot.term, node_id: ballot.node }, committed: ballot.committed }
}
