//! Sets of field paths, the FieldsV1 of managedFields: union, difference, and their JSON (`f:`, `k:`, `v:`, `i:`, `.`).
//! `managed_fields` keeps them for plain writes, `apply` merges by them.

mod walk;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub(crate) use walk::Place;
pub use walk::{Comparison, compare, fields_of, select};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field of a struct or a key of a map.
    Field(String),
    /// An element of a list by its keys: canonical JSON of the object of keys.
    Key(String),
    /// An element of a set: canonical JSON.
    Value(String),
    Index(usize),
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        Some(match tag {
            "f" => Step::Field(rest.to_owned()),
            "k" => Step::Key(json()?.to_string()),
            "v" => Step::Value(json()?.to_string()),
            "i" => Step::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn text(&self) -> String {
        match self {
            Step::Field(name) => format!("f:{name}"),
            Step::Key(keys) => format!("k:{keys}"),
            Step::Value(value) => format!("v:{value}"),
            Step::Index(index) => format!("i:{index}"),
        }
    }

    /// As conflicts name it: `.spec`, `[name="c"]`, `["x"]`, `[0]`.
    pub(crate) fn readable(&self) -> String {
        match self {
            Step::Field(name) => format!(".{name}"),
            Step::Value(value) => format!("[={value}]"),
            Step::Index(index) => format!("[{index}]"),
            Step::Key(keys) => {
                let map: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
        }
    }
}

/// A set of paths as a tree: `member` says whether the path that ends here is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub member: bool,
    pub children: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// From `fieldsV1`; steps that nobody can read are skipped.
    pub fn from_json(value: &Value) -> Self {
        let mut set = FieldSet::default();
        let Value::Object(map) = value else {
            return set;
        };
        for (text, below) in map {
            if text == "." {
                set.member = true;
            } else if let Some(step) = Step::parse(text) {
                let mut child = FieldSet::from_json(below);
                child.member |= child.children.is_empty();
                set.children.insert(step, child);
            }
        }
        set
    }

    /// To `fieldsV1`: a member without children is `{}`, one with children says so with `.`.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (step, child) in &self.children {
            let mut below = child.to_json();
            if let (true, false, Value::Object(below)) = (child.member, child.children.is_empty(), &mut below) {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.text(), below);
        }
        Value::Object(map)
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    pub fn child(&self, step: &Step) -> Option<&FieldSet> {
        self.children.get(step)
    }

    pub fn insert(&mut self, path: &[Step]) {
        match path.split_first() {
            None => self.member = true,
            Some((step, rest)) => self.children.entry(step.clone()).or_default().insert(rest),
        }
    }

    pub fn contains(&self, path: &[Step]) -> bool {
        match path.split_first() {
            None => self.member,
            Some((step, rest)) => self.children.get(step).is_some_and(|child| child.contains(rest)),
        }
    }

    /// Takes a path and everything below it away.
    pub fn remove_below(&mut self, path: &[Step]) {
        match path {
            [] => *self = FieldSet::default(),
            [last] => {
                self.children.remove(last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(first) {
                    child.remove_below(rest);
                    if child.is_empty() {
                        self.children.remove(first);
                    }
                }
            }
        }
    }

    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut set = self.clone();
        set.member |= other.member;
        for (step, child) in &other.children {
            let merged = set.children.get(step).map_or_else(|| child.clone(), |own| own.union(child));
            set.children.insert(step.clone(), merged);
        }
        set
    }

    /// The paths of this set that are not in the other.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        self.filter(other, &|own, theirs| own && !theirs)
    }

    /// The paths that are in both.
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.filter(other, &|own, theirs| own && theirs)
    }

    fn filter(&self, other: &FieldSet, keep: &dyn Fn(bool, bool) -> bool) -> FieldSet {
        let nothing = FieldSet::default();
        let children = self.children.iter().filter_map(|(step, child)| {
            let kept = child.filter(other.children.get(step).unwrap_or(&nothing), keep);
            (!kept.is_empty()).then(|| (step.clone(), kept))
        });
        FieldSet { member: keep(self.member, other.member), children: children.collect() }
    }

    /// Every path, readable, in order.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.member && !prefix.is_empty() {
            paths.push(prefix.to_owned());
        }
        for (step, child) in &self.children {
            child.collect(&format!("{prefix}{}", step.readable()), paths);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back() {
        let text = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:args": {}, "i:0": {}}}, "f:replicas": {}},
        });
        let set = FieldSet::from_json(&text);
        assert_eq!(set.to_json(), text);
        assert_eq!(
            set.paths().join(" "),
            ".metadata.finalizers .metadata.finalizers[=\"x\"] .metadata.labels .metadata.labels.app \
             .spec.containers[name=\"c\"] .spec.containers[name=\"c\"].args .spec.containers[name=\"c\"][0] .spec.replicas"
        );
    }

    fn sets() -> impl Strategy<Value = FieldSet> {
        let path = proptest::collection::vec("[a-c]".prop_map(Step::Field), 1..4);
        proptest::collection::vec(path, 0..8).prop_map(|paths| {
            let mut set = FieldSet::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #[test]
        fn sets_are_sets(left in sets(), right in sets()) {
            prop_assert_eq!(FieldSet::from_json(&left.to_json()), left.clone());
            let both = left.intersection(&right);
            let only = left.difference(&right);
            prop_assert_eq!(both.union(&only), left.clone());
            prop_assert!(only.intersection(&right).is_empty());
            prop_assert_eq!(left.union(&right), right.union(&left));
        }
    }
}
