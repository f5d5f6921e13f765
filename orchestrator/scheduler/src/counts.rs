//! How many pods that somebody asks about are in each domain of nodes. Each count is made once, when it is first asked
//! for, and mended with every pod that comes or goes; a decision reads it and never looks at pods.
//!
//! ```text
//!  pod placed ─► its kin ─► the counters that match it ─► + 1 at its node ─► + 1 in the node's domain
//!           └──► the terms that it holds itself ─► + weight, for those whom the terms mean
//! ```

pub mod grouping;
mod kin;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use amphipod_api::selector::Labels;

use crate::need::{Group, Kin, Need, Relations};
use crate::snapshot::NodeState;
pub use grouping::{Division, Grouping, NOWHERE};
use kin::Known;

pub type CounterId = u32;
pub type GroupingId = u32;

/// Counts beyond these, that nobody asked for of late, are dropped; they are made again when they are asked for.
const COUNTERS_MAX: usize = 20_000;
/// Kin without pods that are remembered.
const IDLE_KIN_MAX: usize = 4_096;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// Pods that are in every one of these groups; with `living`, those that are being deleted do not count.
    Pods { groups: Vec<Group>, living: bool },
    /// Pods whose required anti-affinity means this group.
    Shunned(Group),
    /// The weights of terms by which pods attract (less: repel) this group.
    Pulled(Group),
}

impl Query {
    fn groups(&self) -> &[Group] {
        match self {
            Self::Pods { groups, .. } => groups,
            Self::Shunned(group) | Self::Pulled(group) => std::slice::from_ref(group),
        }
    }
}

#[derive(Debug)]
pub struct Counter {
    pub query: Query,
    pub grouping: GroupingId,
    on_slot: HashMap<u32, i64>,
    sums: HashMap<u32, i64>,
    /// Sum → domains that have it; none are zero.
    histogram: BTreeMap<i64, u32>,
    asked: u64,
}

impl Counter {
    fn add(&mut self, slot: u32, domain: u32, amount: i64) {
        change(&mut self.on_slot, slot, amount);
        self.shift(domain, amount);
    }

    fn shift(&mut self, domain: u32, amount: i64) {
        if domain == NOWHERE || amount == 0 {
            return;
        }
        let (before, now) = change(&mut self.sums, domain, amount);
        if before != 0
            && let Some(domains) = self.histogram.get_mut(&before)
        {
            *domains -= 1;
            if *domains == 0 {
                self.histogram.remove(&before);
            }
        }
        if now != 0 {
            *self.histogram.entry(now).or_default() += 1;
        }
    }

    pub fn in_domain(&self, domain: u32) -> i64 {
        self.sums.get(&domain).copied().unwrap_or_default()
    }

    /// Nothing is counted in any domain.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

/// Before and after; nothing is kept of nothing.
fn change(map: &mut HashMap<u32, i64>, key: u32, amount: i64) -> (i64, i64) {
    let before = map.get(&key).copied().unwrap_or_default();
    let now = before + amount;
    if now == 0 {
        map.remove(&key);
    } else {
        map.insert(key, now);
    }
    (before, now)
}

#[derive(Default)]
pub struct Counts {
    groupings: Vec<Grouping>,
    grouping_ids: HashMap<Division, GroupingId>,
    counters: Vec<Counter>,
    counter_ids: HashMap<Query, Vec<(GroupingId, CounterId)>>,
    /// Counters that concern pods of one namespace.
    by_namespace: HashMap<String, Vec<CounterId>>,
    /// Counters of groups that choose namespaces by labels.
    anywhere: Vec<CounterId>,
    kin: HashMap<Arc<Kin>, Known>,
    kin_in: HashMap<String, HashSet<Arc<Kin>>>,
    namespaces: HashMap<String, Labels>,
    asked: u64,
    /// More counters than this are too many.
    counters_max: usize,
    /// More kin than this are too many.
    kin_max: usize,
    /// Changes when ids or the way to read counts do, so that whoever keeps either starts anew.
    pub shape: u64,
}

impl Counts {
    pub fn counter(&self, id: CounterId) -> &Counter {
        &self.counters[id as usize]
    }

    pub fn grouping(&self, id: GroupingId) -> &Grouping {
        &self.groupings[id as usize]
    }

    /// The smallest sum of the domains with nodes; zero while there are fewer than `domains_min` of them.
    pub fn least(&self, id: CounterId, domains_min: i32) -> i64 {
        let counter = self.counter(id);
        let existing = self.grouping(counter.grouping).existing;
        if existing < usize::try_from(domains_min).unwrap_or(0) || counter.sums.len() < existing {
            return 0;
        }
        counter.histogram.keys().next().copied().unwrap_or(i64::from(i32::MAX))
    }

    /// The node, or what is said of it, has changed.
    pub fn put_node(&mut self, slot: u32, node: &NodeState) {
        for grouping in &mut self.groupings {
            let was_fine = grouping.is_fine();
            let (before, now) = grouping.put(slot, node);
            self.shape += u64::from(was_fine != grouping.is_fine());
            if before == now {
                continue;
            }
            for id in &grouping.counters {
                let counter = &mut self.counters[*id as usize];
                let amount = counter.on_slot.get(&slot).copied().unwrap_or_default();
                counter.shift(before, -amount);
                counter.shift(now, amount);
            }
        }
    }

    /// A pod comes to a node, or (`-1`) leaves it.
    pub fn place(&mut self, nodes: &[NodeState], (slot, need): (u32, &Need), living: bool, sign: i64) {
        self.count_kin(&need.kin, slot, living, sign);
        if !need.relations.concern_others() {
            return;
        }
        for (query, key, amount) in held(&need.relations) {
            let id = self.register(nodes, query, Division::by(key));
            self.add(id, slot, sign * amount);
        }
    }

    fn add(&mut self, id: CounterId, slot: u32, amount: i64) {
        let counter = &mut self.counters[id as usize];
        let domain = self.groupings[counter.grouping as usize].domain(slot);
        counter.add(slot, domain, amount);
    }

    /// The counter of a query in a division; counted now when it is new.
    pub fn register(&mut self, nodes: &[NodeState], query: Query, division: Division) -> CounterId {
        self.asked += 1;
        let grouping = self.group(nodes, division);
        let known = self.counter_ids.get(&query).into_iter().flatten().find(|(by, _)| *by == grouping);
        if let Some((_, id)) = known {
            self.counters[*id as usize].asked = self.asked;
            return *id;
        }
        let id = self.counters.len() as CounterId;
        self.counter_ids.entry(query.clone()).or_default().push((grouping, id));
        self.groupings[grouping as usize].counters.push(id);
        let (on_slot, sums, histogram) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        self.counters.push(Counter { query, grouping, on_slot, sums, histogram, asked: self.asked });
        self.announce(id);
        id
    }

    fn group(&mut self, nodes: &[NodeState], division: Division) -> GroupingId {
        if let Some(id) = self.grouping_ids.get(&division) {
            return *id;
        }
        let id = self.groupings.len() as GroupingId;
        self.groupings.push(Grouping::new(division.clone(), nodes));
        self.grouping_ids.insert(division, id);
        id
    }

    /// Whether it is time for `forget`.
    pub fn is_full(&self) -> bool {
        self.counters.len() > self.counters_max.max(COUNTERS_MAX)
    }

    /// Drops what nobody asked for of late, and every id with it.
    pub fn forget(&mut self, nodes: &[NodeState]) {
        let recent = self.asked.saturating_sub(COUNTERS_MAX as u64 / 4);
        let old = std::mem::take(&mut self.counters);
        self.counter_ids.clear();
        self.by_namespace.clear();
        self.anywhere.clear();
        self.kin.values_mut().for_each(Known::forget_counters);
        let groupings = std::mem::take(&mut self.groupings);
        self.grouping_ids.clear();
        self.shape += 1;
        for counter in old {
            let is_held = !matches!(counter.query, Query::Pods { .. });
            if (is_held && counter.on_slot.is_empty()) || (!is_held && counter.asked < recent) {
                continue;
            }
            let division = groupings[counter.grouping as usize].division.clone();
            let id = self.register(nodes, counter.query, division);
            if is_held {
                counter.on_slot.iter().for_each(|(slot, amount)| self.add(id, *slot, *amount));
            }
        }
        self.counters_max = self.counters.len() * 2;
    }
}

/// What a placed pod says of others: the query, the topology key, how much it adds.
fn held(relations: &Relations) -> impl Iterator<Item = (Query, &str, i64)> {
    let shunned = relations.apart.iter().map(|term| (Query::Shunned(term.group.clone()), term.key.as_str(), 1));
    // Upstream gives required affinity the weight 1 in the other direction.
    let near = relations.near.iter().map(|term| (Query::Pulled(term.group.clone()), term.key.as_str(), 1));
    let liked = relations.liked.iter();
    let liked = liked.map(|(weight, term)| (Query::Pulled(term.group.clone()), term.key.as_str(), *weight));
    shunned.chain(near).chain(liked)
}
