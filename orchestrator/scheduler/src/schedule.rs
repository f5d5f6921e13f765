//! Which node a pod gets: pure, over a snapshot. Here every node is looked at; `classes.rs` gives the same answers without
//! doing so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::buckets::Buckets;
use crate::choose::choose;
use crate::filters::{self, Refusal};
use crate::need::Need;
use crate::outlook::Outlook;
use crate::plugins::{Plugin, Plugins};
use crate::snapshot::Snapshot;
use crate::volumes::{self, Wanted};

/// A pod that wants a node, with all that bears on where it may go.
pub struct Asked<'a> {
    pub uid: &'a str,
    pub need: &'a Need,
    pub outlook: &'a Outlook,
    pub wanted: Option<&'a Wanted>,
}

/// No node can run the pod. Displayed, it is the message of the event and of the condition, in upstream's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unschedulable {
    pub nodes: usize,
    /// Why no node at all was looked at.
    pub hopeless: Option<String>,
    /// Reason → number of nodes that gave it.
    pub reasons: BTreeMap<Cow<'static, str>, usize>,
    pub plugins: Plugins,
    /// Nodes that might do if pods left them.
    pub resolvable: Vec<u32>,
    /// What came of trying to push others out.
    pub preemption: Option<String>,
}

impl std::fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        match &self.hopeless {
            Some(hopeless) => write!(f, " {hopeless}.")?,
            None => write!(f, " {}.", histogram(&self.reasons))?,
        }
        self.preemption.iter().try_for_each(|said| write!(f, " preemption: {said}"))
    }
}

/// Counted reasons, sorted as text.
pub fn histogram(reasons: &BTreeMap<Cow<'static, str>, usize>) -> String {
    let mut counted: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    counted.join(", ")
}

impl Unschedulable {
    /// No node needs a look.
    pub fn hopeless(refusal: &Refusal, snapshot: &Snapshot) -> Self {
        Self {
            nodes: snapshot.len(),
            hopeless: Some(refusal.reasons.join(", ")),
            plugins: Plugins::from_iter([refusal.plugin]),
            ..Self::default()
        }
    }

    fn count(&mut self, slot: u32, refusal: Refusal) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        self.plugins.insert(refusal.plugin);
        if refusal.resolvable {
            self.resolvable.push(slot);
        }
    }
}

/// What the first rule that forbids the node says.
pub fn refusal(asked: &Asked, snapshot: &Snapshot, slot: u32) -> Option<Refusal> {
    let by_node = filters::refusal(asked.need, snapshot.at(slot));
    by_node.or_else(|| asked.wanted.and_then(|wanted| volumes::refusal(asked.need, wanted, snapshot, slot))).or_else(
        || {
            let mut key = Vec::new();
            asked.outlook.key(slot, &snapshot.counts, &mut key);
            asked.outlook.refusal(&key, &snapshot.counts)
        },
    )
}

/// As above, with pods on the node that wait for their room there and are no less important; and without them, as
/// they may never come.
pub fn refusal_awaited(asked: &Asked, snapshot: &mut Snapshot, slot: u32) -> Option<Refusal> {
    let before = |uid: &str, priority: i32| uid != asked.uid && priority >= asked.need.priority;
    let expected = snapshot.expected(slot, before);
    if !expected.is_empty() {
        let refused = snapshot.suppose(&expected, |snapshot| refusal(asked, snapshot, slot));
        if refused.is_some() {
            return refused;
        }
    }
    refusal(asked, snapshot, slot)
}

/// The best of these nodes that every rule accepts.
pub fn schedule(asked: &Asked, snapshot: &mut Snapshot, slots: impl IntoIterator<Item = u32>) -> Option<u32> {
    sample(asked, snapshot, slots, usize::MAX)
}

/// The best of the first `enough` nodes that fit.
pub fn sample(
    asked: &Asked,
    snapshot: &mut Snapshot,
    slots: impl IntoIterator<Item = u32>,
    enough: usize,
) -> Option<u32> {
    let mut fit = Buckets::default();
    let mut found = 0;
    for slot in slots {
        if refusal_awaited(asked, snapshot, slot).is_none() {
            fit.put(slot, asked.need, asked.outlook, snapshot);
            found += 1;
        }
        if found == enough {
            break;
        }
    }
    choose(asked.need, asked.outlook, snapshot, fit.offers())
}

/// Why no node accepts the pod; with `only`, others were not asked, for NodeAffinity names these.
pub fn explain(asked: &Asked, snapshot: &mut Snapshot, only: Option<&[u32]>) -> Unschedulable {
    let mut why = Unschedulable { nodes: snapshot.len(), ..Unschedulable::default() };
    let slots: Vec<u32> = match only {
        Some(only) => only.to_vec(),
        None => snapshot.nodes().map(|(slot, _)| slot).collect(),
    };
    for slot in &slots {
        if let Some(refusal) = refusal_awaited(asked, snapshot, *slot) {
            why.count(*slot, refusal);
        }
    }
    if slots.len() < why.nodes {
        why.plugins.insert(Plugin::NodeAffinity);
        why.reasons.insert("node(s) didn't satisfy plugin(s) [NodeAffinity]".into(), why.nodes - slots.len());
    }
    why
}
