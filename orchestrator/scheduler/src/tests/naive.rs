//! The property that classes, buckets and counts decide as a plain recount over all pods does: the same nodes are found
//! to fit, and the node that is taken is one of the best of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Cluster, labelled, merge, node, pod};
use crate::buckets::Buckets;
use crate::choose::totals;
use crate::filters;
use crate::need::{Group, Need, Selector, Spread, Term};
use crate::outlook::Outlook;
use crate::snapshot::Facts;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Nodes and placed pods as they are, nothing else.
#[derive(Default)]
struct Plain {
    nodes: BTreeMap<String, Node>,
    /// uid → node, what it asks, whether it is being deleted.
    pods: BTreeMap<String, (String, Arc<Need>, bool)>,
}

impl Plain {
    fn label(&self, node: &str, key: &str) -> Option<&String> {
        self.nodes.get(node)?.metadata.labels.as_ref()?.get(key)
    }

    fn pods_in(&self, key: &str, value: &str) -> impl Iterator<Item = &(String, Arc<Need>, bool)> {
        self.pods.values().filter(move |(node, _, _)| self.label(node, key).is_some_and(|found| found == value))
    }

    fn holds(group: &Group, need: &Need) -> bool {
        group.holds(&need.kin, None)
    }

    /// Whether the pods around let it on the node; the node itself is not asked.
    fn lets(&self, need: &Need, node: &str) -> bool {
        let relations = &need.relations;
        relations.even.iter().all(|spread| self.is_even(spread, need, node))
            && self.is_near(&relations.near, need, node)
            && relations.apart.iter().all(|term| !self.any(term, node, |other| Self::holds(&term.group, other)))
            && !self.is_shunned(need, node)
    }

    fn any(&self, term: &Term, node: &str, is_it: impl Fn(&Need) -> bool) -> bool {
        let Some(value) = self.label(node, &term.key) else { return false };
        self.pods_in(&term.key, value).any(|(_, other, _)| is_it(other))
    }

    fn is_near(&self, near: &[Term], need: &Need, node: &str) -> bool {
        let all = |other: &Need| near.iter().all(|term| Self::holds(&term.group, other));
        let has_keys = near.iter().all(|term| self.label(node, &term.key).is_some());
        let nobody = !self
            .pods
            .values()
            .any(|(at, other, _)| all(other) && near.iter().any(|term| self.label(at, &term.key).is_some()));
        has_keys && (near.iter().all(|term| self.any(term, node, all)) || (nobody && all(need)))
    }

    fn is_shunned(&self, need: &Need, node: &str) -> bool {
        self.pods.values().any(|(at, other, _)| {
            other.relations.apart.iter().any(|term| {
                let (here, there) = (self.label(node, &term.key), self.label(at, &term.key));
                Self::holds(&term.group, need) && here.is_some() && here == there
            })
        })
    }

    fn is_even(&self, spread: &Spread, need: &Need, node: &str) -> bool {
        let counts_for = |name: &str| need.relations.even.iter().all(|other| self.label(name, &other.key).is_some());
        let mut sums: HashMap<&String, i64> = HashMap::new();
        for name in self.nodes.keys().filter(|name| counts_for(name)) {
            let here = self
                .pods
                .values()
                .filter(|(at, other, ending)| at == name && !ending && Self::holds(&spread.group, other));
            *sums.entry(self.label(name, &spread.key).unwrap()).or_default() += here.count() as i64;
        }
        if !counts_for(node) {
            return false;
        }
        let enough = sums.len() >= usize::try_from(spread.min_domains).unwrap();
        let least = if enough { sums.values().min().copied().unwrap() } else { 0 };
        let own = i64::from(Self::holds(&spread.group, need));
        sums[self.label(node, &spread.key).unwrap()] + own - least <= i64::from(spread.max_skew)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Node(u8, u8),
    NodeGone(u8),
    Pod(u8, u8),
    Ending(u8),
    PodGone(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..6u8, 0..5u8).prop_map(|(name, shape)| Step::Node(name, shape)),
        1 => (0..6u8).prop_map(Step::NodeGone),
        6 => (0..20u8, 0..8u8).prop_map(|(uid, kind)| Step::Pod(uid, kind)),
        1 => (0..20u8).prop_map(Step::Ending),
        2 => (0..20u8).prop_map(Step::PodGone),
    ]
}

fn shaped(name: u8, shape: u8) -> Node {
    let extra = match shape {
        0 => json!({"spec": {"unschedulable": true}}),
        1 => json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}),
        2 => json!({"metadata": {"labels": {ZONE: "elsewhere"}}, "status": {"allocatable": {"cpu": "8"}}}),
        3 => {
            json!({"metadata": {"labels": null}, "status": {"images": [{"names": ["app:v1"], "sizeBytes": 900_000_000}]}})
        }
        _ => json!({}),
    };
    node(&format!("{}{name}", ["a", "b"][usize::from(name % 2)]), extra)
}

fn needs() -> Vec<Arc<Need>> {
    let term = |app: &str, key: &str| json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    let affinity = |kind: &str, terms: Value| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    let spread = |key: &str, app: &str, when: &str, domains: i32| {
        json!({"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": when, "minDomains": domains,
            "labelSelector": {"matchLabels": {"app": app}}})
    };
    let liked = |weight: i32, app: &str| json!({"weight": weight, "podAffinityTerm": term(app, ZONE)});
    let kinds = [
        (
            "plain",
            json!({"containers": [{"name": "c", "image": "app:v1", "resources": {"requests": {"cpu": "300m"}}}]}),
        ),
        ("web", json!({"topologySpreadConstraints": [spread(ZONE, "web", "DoNotSchedule", 2)]})),
        (
            "host",
            json!({"topologySpreadConstraints":
            [spread(HOST, "host", "DoNotSchedule", 1), spread(ZONE, "web", "DoNotSchedule", 1)]}),
        ),
        ("alone", affinity("podAntiAffinity", json!([term("alone", HOST), term("web", HOST)]))),
        ("pair", affinity("podAffinity", json!([term("pair", ZONE)]))),
        ("guest", affinity("podAffinity", json!([term("web", HOST)]))),
        (
            "fond",
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [liked(7, "web")]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [liked(3, "plain")]}}}),
        ),
    ];
    let mut needs: Vec<_> = kinds
        .into_iter()
        .map(|(app, mut spec)| {
            merge(&mut spec, json!({"priority": 0}));
            Arc::new(Need::of(&pod(labelled(json!({ "app": app }), spec))))
        })
        .collect();
    let siblings = Selector::pairs(&[("app".to_owned(), "plain".to_owned())].into());
    needs.push(Arc::new(Need::with_siblings(&pod(labelled(json!({"app": "plain"}), json!({}))), Some(siblings))));
    needs
}

fn compare(cluster: &mut Cluster, plain: &Plain, need: &Need) -> Result<(), TestCaseError> {
    let outlook = Outlook::of(need, &mut cluster.snapshot);
    let snapshot = &cluster.snapshot;
    let mut fit = Buckets::default();
    let mut expected = BTreeSet::new();
    for (slot, node) in snapshot.nodes() {
        if filters::refusal(need, node).is_none() && plain.lets(need, &node.name) {
            expected.insert(node.name.clone());
            fit.put(slot, need, &outlook, snapshot);
        }
        let mut key = Vec::new();
        outlook.key(slot, &snapshot.counts, &mut key);
        let lets = outlook.refusal(&key, &snapshot.counts).is_none();
        prop_assert_eq!(lets, plain.lets(need, &node.name), "{} on {}", need.kin.labels["app"], node.name);
    }
    let offers: Vec<_> = fit.offers().collect();
    let best = totals(need, &outlook, snapshot, &offers).into_iter().zip(&offers).map(|(total, _)| total).max();
    let totals: HashMap<u32, i64> =
        totals(need, &outlook, snapshot, &offers).into_iter().zip(&offers).map(|(total, o)| (o.slot, total)).collect();
    match cluster.classes.schedule("incoming", need, &mut cluster.snapshot) {
        Ok(slot) => {
            prop_assert!(expected.contains(&cluster.snapshot.at(slot).name));
            prop_assert_eq!(totals.get(&slot).copied(), best);
        }
        Err(_) => prop_assert!(expected.is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn counts_and_classes_decide_as_a_recount_does(steps in prop::collection::vec(step(), 1..60)) {
        let (mut cluster, mut plain, needs) = (Cluster::default(), Plain::default(), needs());
        for step in steps {
            match step {
                Step::Node(name, shape) => {
                    let node = shaped(name, shape);
                    cluster.snapshot.put_node(&node);
                    plain.nodes.insert(node.metadata.name.clone().unwrap(), node);
                }
                Step::NodeGone(name) => {
                    let name = shaped(name, 4).metadata.name.unwrap();
                    cluster.snapshot.remove_node(&name);
                    plain.nodes.remove(&name);
                }
                Step::Pod(uid, kind) => {
                    let (uid, need) = (uid.to_string(), &needs[usize::from(kind)]);
                    if let Ok(slot) = cluster.classes.schedule("incoming", need, &mut cluster.snapshot) {
                        let name = cluster.snapshot.at(slot).name.clone();
                        cluster.snapshot.put_pod(&name, need.clone(), Facts { uid: uid.clone(), ..Facts::default() });
                        plain.pods.insert(uid, (name, need.clone(), false));
                    }
                }
                Step::Ending(uid) => {
                    if let Some((_, _, ending)) = plain.pods.get_mut(&uid.to_string()) {
                        *ending = true;
                        let facts = Facts { uid: uid.to_string(), terminating: true, ..Facts::default() };
                        cluster.snapshot.update_facts(facts);
                    }
                }
                Step::PodGone(uid) => {
                    let was = plain.pods.remove(&uid.to_string()).is_some();
                    prop_assert_eq!(cluster.snapshot.remove_pod(&uid.to_string()).is_some(), was);
                }
            }
            for need in &needs {
                compare(&mut cluster, &plain, need)?;
            }
        }
    }
}
