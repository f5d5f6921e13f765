//! Label selectors and groups of pods as plain data that can be compared and hashed, so that equal ones are counted once.

use std::collections::{BTreeMap, BTreeSet};

use amphipod_api::selector::{Labels, requirement};
use k8s_openapi::api::core::v1::PodAffinityTerm;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

/// Whom selectors look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kin {
    pub namespace: String,
    pub labels: Labels,
}

/// All requirements hold; none at all matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Selector(BTreeSet<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl Selector {
    /// `None`: an absent selector matches nothing.
    pub fn of(selector: Option<&LabelSelector>) -> Option<Self> {
        let selector = selector?;
        let mut all = Self::pairs(selector.match_labels.as_ref().unwrap_or(&BTreeMap::new()));
        for expression in selector.match_expressions.iter().flatten() {
            all.demand(&expression.key, &expression.operator, expression.values.clone().unwrap_or_default());
        }
        Some(all)
    }

    /// Every pair must be among the labels.
    pub fn pairs(pairs: &Labels) -> Self {
        let mut all = Self::default();
        pairs.iter().for_each(|(key, value)| all.demand(key, "In", vec![value.clone()]));
        all
    }

    pub fn demand(&mut self, key: &str, operator: &str, values: Vec<String>) {
        self.0.insert(Requirement { key: key.to_owned(), operator: operator.to_owned(), values });
    }

    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|one| requirement(&one.operator, &one.values, labels.get(&one.key)))
    }
}

/// Pods of some namespaces that a selector matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Group {
    pub namespaces: BTreeSet<String>,
    /// Namespaces with such labels too.
    pub by_labels: Option<Selector>,
    pub selector: Option<Selector>,
}

impl Group {
    pub fn own(namespace: &str, selector: Option<Selector>) -> Self {
        Self { namespaces: BTreeSet::from([namespace.to_owned()]), by_labels: None, selector }
    }

    /// The pods that a term of pod affinity means; keys to match or to mismatch are those of the pod that says it.
    pub fn of(term: &PodAffinityTerm, kin: &Kin) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(kin.namespace.clone());
        }
        let mut selector = Selector::of(term.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            take_keys(selector, term.match_label_keys.as_deref(), "In", kin);
            take_keys(selector, term.mismatch_label_keys.as_deref(), "NotIn", kin);
        }
        Self { namespaces, by_labels: Selector::of(term.namespace_selector.as_ref()), selector }
    }

    /// `namespace`: the labels of the pod's own.
    pub fn holds(&self, kin: &Kin, namespace: Option<&Labels>) -> bool {
        let none = Labels::new();
        let by_labels = || self.by_labels.as_ref().is_some_and(|by| by.matches(namespace.unwrap_or(&none)));
        let selected = self.selector.as_ref().is_some_and(|selector| selector.matches(&kin.labels));
        selected && (self.namespaces.contains(&kin.namespace) || by_labels())
    }
}

/// The values of these labels join the selector, where the pod has them.
pub fn take_keys(selector: &mut Selector, keys: Option<&[String]>, operator: &str, kin: &Kin) {
    for key in keys.unwrap_or_default() {
        if let Some(value) = kin.labels.get(key) {
            selector.demand(key, operator, vec![value.clone()]);
        }
    }
}
