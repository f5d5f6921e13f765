//! How the pods that are there bear on a pod that comes: PodTopologySpread and InterPodAffinity, read from counts. A node
//! is known by its key, the parts of it that these rules see; nodes with one key are judged once.

use std::sync::Arc;

use crate::counts::grouping::Policy;
use crate::counts::{CounterId, Counts, Division, GroupingId, NOWHERE, Query};
use crate::filters::Refusal;
use crate::need::relations::HOSTNAME;
use crate::need::{Group, Need, Spread, Term};
use crate::plugins::Plugin;
use crate::snapshot::Snapshot;

/// The node is in no domain.
pub const NONE: i64 = i64::MIN;

/// One part of a key: where domains are single nodes the count itself, so that many nodes share a key, else the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Count(CounterId),
    Domain(GroupingId),
}

/// Where a count is read.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    counter: CounterId,
    part: usize,
}

#[derive(Debug)]
struct Even {
    at: Source,
    max_skew: i64,
    min_domains: i32,
    /// Whether the pod itself will count.
    own: i64,
}

/// A soft constraint.
#[derive(Debug)]
pub struct Evenish {
    pub at: Source,
    pub max_skew: i64,
    /// Every node is a domain of its own, whatever its other labels.
    pub by_node: bool,
}

#[derive(Debug, Default)]
pub struct Outlook {
    parts: Vec<Part>,
    even: Vec<Even>,
    pub evenish: Vec<Evenish>,
    /// Nodes without every key of `evenish` are not scored.
    pub all_keys: bool,
    near: Vec<Source>,
    /// The pod may be the first of those that it must be near to.
    near_itself: bool,
    apart: Vec<Source>,
    /// Placed pods do not want it.
    shunned: Vec<Source>,
    /// Weights by which it is drawn to nodes.
    pub pulls: Vec<(Source, i64)>,
}

impl Outlook {
    pub fn of(need: &Need, snapshot: &mut Snapshot) -> Self {
        let mut outlook = Self::default();
        let relations = &need.relations;
        outlook.take_spread(need, snapshot);
        let groups: Vec<Group> = relations.near.iter().map(|term| term.group.clone()).collect();
        for term in &relations.near {
            let query = Query::Pods { groups: groups.clone(), living: false };
            let source = outlook.source(snapshot, query, Division::by(&term.key));
            outlook.near.push(source);
        }
        outlook.near_itself = groups.iter().all(|group| snapshot.counts.holds(group, &need.kin));
        for term in &relations.apart {
            let source = outlook.pods_of(snapshot, term);
            outlook.apart.push(source);
        }
        for (weight, term) in &relations.liked {
            let source = outlook.pods_of(snapshot, term);
            outlook.pulls.push((source, *weight));
        }
        for id in snapshot.counts.meaning(&need.kin).to_vec() {
            let source = outlook.read(&snapshot.counts, id);
            match snapshot.counts.counter(id).query {
                Query::Pulled(_) => outlook.pulls.push((source, 1)),
                _ => outlook.shunned.push(source),
            }
        }
        outlook
    }

    fn take_spread(&mut self, need: &Need, snapshot: &mut Snapshot) {
        let relations = &need.relations;
        for spread in &relations.even {
            let division = division(spread, need, &relations.even);
            let at = self.source(snapshot, spread_query(spread), division);
            let own = i64::from(snapshot.counts.holds(&spread.group, &need.kin));
            let (max_skew, min_domains) = (i64::from(spread.max_skew), spread.min_domains);
            self.even.push(Even { at, max_skew, min_domains, own });
        }
        self.all_keys = !relations.by_default;
        let all: &[Spread] = if self.all_keys { &relations.evenish } else { &[] };
        for spread in &relations.evenish {
            let by_node = spread.key == HOSTNAME;
            let mut division = division(spread, need, all);
            if by_node {
                division.policy = None;
            }
            let at = self.source(snapshot, spread_query(spread), division);
            self.evenish.push(Evenish { at, max_skew: i64::from(spread.max_skew), by_node });
        }
    }

    fn pods_of(&mut self, snapshot: &mut Snapshot, term: &Term) -> Source {
        let query = Query::Pods { groups: vec![term.group.clone()], living: false };
        self.source(snapshot, query, Division::by(&term.key))
    }

    fn source(&mut self, snapshot: &mut Snapshot, query: Query, division: Division) -> Source {
        let counter = snapshot.counter(query, division);
        self.read(&snapshot.counts, counter)
    }

    fn read(&mut self, counts: &Counts, counter: CounterId) -> Source {
        let grouping = counts.counter(counter).grouping;
        let fine = counts.grouping(grouping).is_fine();
        let part = if fine { Part::Count(counter) } else { Part::Domain(grouping) };
        let known = self.parts.iter().position(|known| *known == part);
        let at = known.unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        });
        Source { counter, part: at }
    }

    /// Adds the node's key.
    pub fn key(&self, slot: u32, counts: &Counts, key: &mut Vec<i64>) {
        key.extend(self.parts.iter().map(|part| match part {
            Part::Count(id) => {
                let counter = counts.counter(*id);
                match counts.grouping(counter.grouping).domain(slot) {
                    NOWHERE => NONE,
                    domain => counter.in_domain(domain),
                }
            }
            Part::Domain(id) => match counts.grouping(*id).domain(slot) {
                NOWHERE => NONE,
                domain => i64::from(domain),
            },
        }));
    }

    /// What is counted for nodes of this key; `None` when they are in no domain.
    pub fn count(&self, source: Source, key: &[i64], counts: &Counts) -> Option<i64> {
        match (key[source.part], self.parts[source.part]) {
            (NONE, _) => None,
            (count, Part::Count(_)) => Some(count),
            (domain, Part::Domain(_)) => Some(counts.counter(source.counter).in_domain(domain as u32)),
        }
    }

    /// The domain that nodes of this key are in; `None` where each node is one.
    pub fn domain(&self, source: Source, key: &[i64]) -> Option<i64> {
        matches!(self.parts[source.part], Part::Domain(_)).then(|| key[source.part])
    }

    pub fn is_nowhere(&self, source: Source, key: &[i64]) -> bool {
        key[source.part] == NONE
    }

    pub fn refusal(&self, key: &[i64], counts: &Counts) -> Option<Refusal> {
        self.too_uneven(key, counts).or_else(|| self.unwelcome(key, counts))
    }

    fn too_uneven(&self, key: &[i64], counts: &Counts) -> Option<Refusal> {
        self.even.iter().find_map(|even| {
            let Some(count) = self.count(even.at, key, counts) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Some(Refusal::for_good(Plugin::PodTopologySpread, reason));
            };
            let least = counts.least(even.at.counter, even.min_domains);
            let reason = "node(s) didn't match pod topology spread constraints";
            let skewed = count + even.own - least > even.max_skew;
            skewed.then(|| Refusal::for_now(Plugin::PodTopologySpread, reason))
        })
    }

    fn unwelcome(&self, key: &[i64], counts: &Counts) -> Option<Refusal> {
        if !self.is_near(key, counts) {
            return Some(Refusal::for_good(Plugin::InterPodAffinity, "node(s) didn't match pod affinity rules"));
        }
        let any = |sources: &[Source]| {
            sources.iter().any(|source| self.count(*source, key, counts).is_some_and(|count| count > 0))
        };
        if any(&self.apart) {
            return Some(Refusal::for_now(Plugin::InterPodAffinity, "node(s) didn't match pod anti-affinity rules"));
        }
        let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
        any(&self.shunned).then(|| Refusal::for_now(Plugin::InterPodAffinity, reason))
    }

    fn is_near(&self, key: &[i64], counts: &Counts) -> bool {
        let found: Option<Vec<i64>> = self.near.iter().map(|source| self.count(*source, key, counts)).collect();
        let Some(found) = found else { return false };
        let nobody = || self.near.iter().all(|source| counts.counter(source.counter).is_empty());
        found.iter().all(|count| *count > 0) || (self.near_itself && nobody())
    }
}

fn spread_query(spread: &Spread) -> Query {
    Query::Pods { groups: vec![spread.group.clone()], living: true }
}

/// Nodes count that have the keys of all these constraints.
fn division(spread: &Spread, need: &Need, all: &[Spread]) -> Division {
    let mut also: Vec<String> = all.iter().map(|other| other.key.clone()).filter(|key| *key != spread.key).collect();
    also.sort();
    also.dedup();
    Division { key: spread.key.clone(), also, policy: Policy::of(spread, need) }
}

/// What of a pod's own labels makes a difference to its outlook, besides what its class says.
pub fn marks(need: &Need, counts: &Counts) -> Vec<bool> {
    let relations = &need.relations;
    let groups = relations.even.iter().map(|spread| &spread.group);
    groups.chain(relations.near.iter().map(|term| &term.group)).map(|group| counts.holds(group, &need.kin)).collect()
}

/// By which counts placed pods mean it.
pub fn meaning(need: &Need, counts: &mut Counts) -> Arc<[CounterId]> {
    counts.meaning(&need.kin).into()
}
