//! Walks values beside the table: which paths a value has, and how two values differ. The rules of lists are
//! server-side apply's: maps of structs by keys, sets by value, everything else as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{FieldSet, Step};
use crate::table::{Container, Field, ListType, Scalar, TypeRef};

/// What apply knows of a place.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Owned as a whole.
    Leaf,
    Struct(TypeRef),
    /// A map; of structs, or of leaves.
    Map(Option<TypeRef>),
    /// A list of structs, met by these keys.
    Keyed(TypeRef, &'static [&'static str]),
    /// A list of distinct leaves.
    Set,
    /// No schema: objects are granular, lists atomic.
    Free,
}

impl Place {
    pub(crate) fn root(ty: Option<TypeRef>) -> Self {
        ty.map_or(Place::Free, Place::Struct)
    }

    fn of(field: &'static Field) -> Self {
        let atomic = field.list_type == ListType::Atomic;
        match (field.container, field.object()) {
            (Container::One, Some(ty)) if !atomic && !ty.atomic() => Place::Struct(ty),
            (Container::One, None) if field.scalar() == Some(Scalar::Raw) && field.name != "cells" => Place::Free,
            (Container::One, _) => Place::Leaf,
            (Container::Map, _) if atomic => Place::Leaf,
            (Container::Map, ty) => Place::Map(ty),
            (Container::List, Some(ty)) if field.list_type == ListType::Map => Place::Keyed(ty, &field.list_map_keys),
            (Container::List, None) if field.list_type == ListType::Set => Place::Set,
            (Container::List, _) => Place::Leaf,
        }
    }

    pub(crate) fn child(self, step: &Step) -> Self {
        match (self, step) {
            (Place::Struct(ty), Step::Field(name)) => ty.field(name).map_or(Place::Leaf, Place::of),
            (Place::Map(Some(ty)) | Place::Keyed(ty, _), _) if !ty.atomic() => Place::Struct(ty),
            (Place::Free, Step::Field(_)) => Place::Free,
            _ => Place::Leaf,
        }
    }

    /// What names an element of a list at this place.
    pub(crate) fn step_of(self, element: &Value) -> Option<Step> {
        match self {
            Place::Keyed(ty, keys) => key_of(element, ty, keys),
            Place::Set => Some(Step::Value(element.to_string())),
            _ => None,
        }
    }

    /// The children of a value at this place; `None` when it is owned as a whole.
    pub(crate) fn children(self, value: &Value) -> Option<Vec<(Step, &Value)>> {
        match (self, value) {
            (Place::Struct(_) | Place::Map(_) | Place::Free, Value::Object(map)) => {
                Some(map.iter().map(|(key, value)| (Step::Field(key.clone()), value)).collect())
            }
            (Place::Keyed(ty, keys), Value::Array(list)) => {
                list.iter().map(|value| Some((key_of(value, ty, keys)?, value))).collect()
            }
            (Place::Set, Value::Array(list)) => {
                Some(list.iter().map(|value| (Step::Value(value.to_string()), value)).collect())
            }
            _ => None,
        }
    }
}

/// `{"containerPort":80,"protocol":"TCP"}`: a missing key counts with its default.
fn key_of(element: &Value, ty: TypeRef, keys: &[&str]) -> Option<Step> {
    let element = element.as_object()?;
    let mut map = Map::new();
    for key in keys {
        let value = element.get(*key).or_else(|| ty.field(key)?.default.as_ref());
        if let Some(value) = value {
            map.insert((*key).to_owned(), value.clone());
        }
    }
    Some(Step::Key(Value::Object(map).to_string()))
}

/// The paths that a value gives, as an applied configuration owns them.
pub fn fields_of(value: &Value, ty: Option<TypeRef>) -> FieldSet {
    let mut set = FieldSet::default();
    if let Some(children) = Place::root(ty).children(value) {
        own_children(children, Place::root(ty), &mut set);
    }
    set
}

fn own(value: &Value, place: Place, set: &mut FieldSet) {
    match place.children(value) {
        Some(children) if !children.is_empty() => own_children(children, place, set),
        _ => set.member = true,
    }
}

/// Keys of maps and elements of lists are owned beside what is in them; fields of structs are not.
fn own_children(children: Vec<(Step, &Value)>, place: Place, set: &mut FieldSet) {
    let items = matches!(place, Place::Map(_) | Place::Keyed(..) | Place::Set);
    for (step, value) in children {
        let below = place.child(&step);
        let child = set.children.entry(step).or_default();
        own(value, below, child);
        child.member |= items;
    }
}

/// How one value became another.
#[derive(Debug, Default)]
pub struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Every path that `new` adds, changes or lacks. A path that is added is named itself and with all below it.
pub fn compare(old: &Value, new: &Value, ty: Option<TypeRef>) -> Comparison {
    let mut comparison = Comparison::default();
    both(old, new, Place::root(ty), &mut Vec::new(), &mut comparison);
    comparison
}

fn both(old: &Value, new: &Value, place: Place, path: &mut Vec<Step>, into: &mut Comparison) {
    if old == new {
        return;
    }
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let null_as_empty = |value: &Value| {
        if value.is_null() { Some(Vec::new()) } else { None }
    };
    let children = |value| place.children(value).or_else(|| null_as_empty(value));
    let (Some(before), Some(after)) = (children(old), children(new)) else {
        into.modified.insert(path);
        return;
    };
    if empty(old) && empty(new) {
        into.modified.insert(path);
        return;
    }
    let before: BTreeMap<Step, &Value> = before.into_iter().collect();
    let after: BTreeMap<Step, &Value> = after.into_iter().collect();
    for (step, new) in &after {
        path.push(step.clone());
        match before.get(step) {
            Some(old) => both(old, new, place.child(step), path, into),
            None => all(new, place.child(step), path, &mut into.added),
        }
        path.pop();
    }
    for (step, old) in before.iter().filter(|(step, _)| !after.contains_key(*step)) {
        path.push(step.clone());
        all(old, place.child(step), path, &mut into.removed);
        path.pop();
    }
}

/// A value that stands on one side only: itself and everything in it.
fn all(value: &Value, place: Place, path: &mut Vec<Step>, into: &mut FieldSet) {
    into.insert(path);
    for (step, value) in place.children(value).unwrap_or_default() {
        let below = place.child(&step);
        path.push(step);
        all(value, below, path, into);
        path.pop();
    }
}

/// The part of a value that a set of paths owns, with the keys of its list elements: what
/// `kubectl apply view-last-applied` and clients that extract their own fields want to see.
pub fn select(value: &Value, set: &FieldSet, ty: Option<TypeRef>) -> Value {
    select_at(value, set, Place::root(ty))
}

fn select_at(value: &Value, set: &FieldSet, place: Place) -> Value {
    let Some(children) = place.children(value).filter(|_| !set.children.is_empty()) else {
        return value.clone();
    };
    let kept = children.into_iter().filter_map(|(step, child)| {
        let below = set.child(&step)?;
        let mut selected = select_at(child, below, place.child(&step));
        if let (Place::Keyed(_, keys), Value::Object(map), Value::Object(whole)) = (place, &mut selected, child) {
            for key in keys {
                if let Some(value) = whole.get(*key) {
                    map.insert((*key).to_owned(), value.clone());
                }
            }
        }
        Some((step, selected))
    });
    if value.is_array() {
        return Value::Array(kept.map(|(_, value)| value).collect());
    }
    let named = kept.filter_map(|(step, value)| match step {
        Step::Field(name) => Some((name, value)),
        _ => None,
    });
    Value::Object(named.collect())
}
