//! What a pod asks of the pods around it: affinity, anti-affinity and even spread.

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodSpec, TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use serde::Serialize;

use super::selector::{Group, Kin, Selector, take_keys};

pub const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// How upstream spreads pods of one owner or Service that say nothing themselves: topology key, skew.
const BY_DEFAULT: [(&str, i32); 2] = [(HOSTNAME, 3), (ZONE, 5)];

/// Pods, and the label of nodes by which being together is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Term {
    pub group: Group,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Spread {
    pub group: Group,
    pub key: String,
    pub max_skew: i32,
    pub min_domains: i32,
    /// Whether nodes that the pod's node affinity, or their taints, keep it from do not count.
    pub honors_affinity: bool,
    pub honors_taints: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Relations {
    /// `DoNotSchedule`.
    pub even: Vec<Spread>,
    /// `ScheduleAnyway`.
    pub evenish: Vec<Spread>,
    /// `evenish` is upstream's default: nodes need not have every key.
    pub by_default: bool,
    pub near: Vec<Term>,
    pub apart: Vec<Term>,
    /// Preferred, with weights; those of anti-affinity are negative.
    pub liked: Vec<(i64, Term)>,
}

impl Relations {
    /// `siblings`: pods of the same owner and Services, spread when the pod itself says nothing of it.
    pub fn of(spec: &PodSpec, kin: &Kin, siblings: Option<Selector>) -> Self {
        let mut relations = Self::default();
        if let Some(affinity) = &spec.affinity {
            relations.take_affinity(affinity, kin);
        }
        let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
        for constraint in constraints {
            let kept = match constraint.when_unsatisfiable.as_str() {
                "ScheduleAnyway" => &mut relations.evenish,
                _ => &mut relations.even,
            };
            kept.push(Spread::of(constraint, kin));
        }
        if let Some(siblings) = siblings.filter(|siblings| constraints.is_empty() && !siblings.is_empty()) {
            let group = Group::own(&kin.namespace, Some(siblings));
            relations.by_default = true;
            relations.evenish = BY_DEFAULT.map(|(key, skew)| Spread::by_default(group.clone(), key, skew)).into();
        }
        relations
    }

    fn take_affinity(&mut self, affinity: &Affinity, kin: &Kin) {
        let term = |term: &PodAffinityTerm| Term { group: Group::of(term, kin), key: term.topology_key.clone() };
        let liked = |sign: i64, terms: &Option<Vec<WeightedPodAffinityTerm>>| -> Vec<(i64, Term)> {
            let terms = terms.iter().flatten();
            terms.map(|liked| (sign * i64::from(liked.weight), term(&liked.pod_affinity_term))).collect()
        };
        if let Some(near) = &affinity.pod_affinity {
            self.near = near.required_during_scheduling_ignored_during_execution.iter().flatten().map(term).collect();
            self.liked.extend(liked(1, &near.preferred_during_scheduling_ignored_during_execution));
        }
        if let Some(apart) = &affinity.pod_anti_affinity {
            self.apart = apart.required_during_scheduling_ignored_during_execution.iter().flatten().map(term).collect();
            self.liked.extend(liked(-1, &apart.preferred_during_scheduling_ignored_during_execution));
        }
    }

    /// Whether others must heed what this pod says of them.
    pub fn concern_others(&self) -> bool {
        !(self.near.is_empty() && self.apart.is_empty() && self.liked.is_empty())
    }
}

impl Spread {
    fn of(constraint: &TopologySpreadConstraint, kin: &Kin) -> Self {
        let mut selector = Selector::of(constraint.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            take_keys(selector, constraint.match_label_keys.as_deref(), "In", kin);
        }
        Self {
            group: Group::own(&kin.namespace, selector),
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew,
            min_domains: constraint.min_domains.unwrap_or(1),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    fn by_default(group: Group, key: &str, max_skew: i32) -> Self {
        Self { group, key: key.to_owned(), max_skew, min_domains: 1, honors_affinity: true, honors_taints: false }
    }
}
