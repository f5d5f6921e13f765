//! Walks values beside the table: which paths a value has, and how two values differ. The rules of lists are
//! server-side apply's: maps of structs by keys, sets by value, everything else as a whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{FieldSet, Step};
use crate::structural::{Shape, Structural};
use crate::table::{Container, Field, ListType, Scalar, TypeRef, table};

/// What apply knows of a place.
#[derive(Clone, Copy)]
pub(crate) enum Place<'s> {
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
    /// Said by the schema of a custom kind.
    Custom(&'s Structural),
    /// A custom object, or one embedded in another: its metadata is every object's.
    Resource(&'s Structural),
}

impl<'s> Place<'s> {
    pub(crate) fn root(shape: Shape<'s>) -> Self {
        match shape {
            Shape::Free => Place::Free,
            Shape::Table(ty) => Place::Struct(ty),
            Shape::Custom(schema) => Place::Resource(schema),
        }
    }

    fn custom(schema: &'s Structural) -> Self {
        if schema.embedded { Place::Resource(schema) } else { Place::Custom(schema) }
    }

    /// The schema of a custom place.
    fn schema(self) -> Option<&'s Structural> {
        match self {
            Place::Custom(schema) | Place::Resource(schema) => Some(schema),
            _ => None,
        }
    }

    /// An object here is merged member by member.
    pub(crate) fn is_map(self) -> bool {
        let custom = self.schema().is_some_and(|schema| !schema.map_atomic);
        custom || matches!(self, Place::Struct(_) | Place::Map(_) | Place::Free)
    }

    /// A list here is merged element by element.
    pub(crate) fn is_list(self) -> bool {
        let granular = |schema: &Structural| matches!(schema.list_type, Some(ListType::Set | ListType::Map));
        self.schema().is_some_and(granular) || matches!(self, Place::Keyed(..) | Place::Set)
    }

    /// Children of this place are owned beside what is in them: keys of maps and elements of lists, not fields.
    fn owns_children(self, step: &Step) -> bool {
        match (self, step) {
            (Place::Map(_) | Place::Keyed(..) | Place::Set, _) => true,
            (Place::Custom(schema), Step::Field(name)) => {
                !schema.properties.contains_key(name) && schema.member(name).is_some()
            }
            (Place::Custom(_), _) => true,
            _ => false,
        }
    }

    /// The names of the fields by which elements of a list are met.
    fn keys(self) -> Vec<&'s str> {
        match self {
            Place::Keyed(_, keys) => keys.to_vec(),
            Place::Custom(schema) => schema.list_map_keys.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
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
            (Place::Resource(_), Step::Field(name)) if name == "metadata" => {
                table().by_name(OBJECT_META).map_or(Place::Free, Place::Struct)
            }
            (Place::Custom(schema) | Place::Resource(schema), Step::Field(name)) => {
                schema.member(name).map_or(Place::Free, Place::custom)
            }
            (Place::Custom(schema), Step::Key(_)) => schema.items.as_deref().map_or(Place::Leaf, Place::custom),
            _ => Place::Leaf,
        }
    }

    /// What names an element of a list at this place.
    pub(crate) fn step_of(self, element: &Value) -> Option<Step> {
        match self {
            Place::Keyed(ty, keys) => key_of(element, ty, keys),
            Place::Set => Some(Step::Value(element.to_string())),
            Place::Custom(schema) => match schema.list_type {
                Some(ListType::Set) => Some(Step::Value(element.to_string())),
                Some(ListType::Map) => custom_key(element, schema),
                _ => None,
            },
            _ => None,
        }
    }

    /// The children of a value at this place; `None` when it is owned as a whole.
    pub(crate) fn children(self, value: &Value) -> Option<Vec<(Step, &Value)>> {
        match (self, value) {
            (place, Value::Object(map)) if place.is_map() => {
                Some(map.iter().map(|(key, value)| (Step::Field(key.clone()), value)).collect())
            }
            (Place::Keyed(ty, keys), Value::Array(list)) => {
                list.iter().map(|value| Some((key_of(value, ty, keys)?, value))).collect()
            }
            (Place::Set, Value::Array(list)) => {
                Some(list.iter().map(|value| (Step::Value(value.to_string()), value)).collect())
            }
            (Place::Custom(_), Value::Array(list)) if self.is_list() => {
                list.iter().map(|value| Some((self.step_of(value)?, value))).collect()
            }
            _ => None,
        }
    }
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn custom_key(element: &Value, schema: &Structural) -> Option<Step> {
    let element = element.as_object()?;
    let items = schema.items.as_deref()?;
    let value = |key: &String| {
        let default = || items.properties.get(key)?.default.clone();
        Some((key.clone(), element.get(key).cloned().or_else(default)?))
    };
    let keys: Map<String, Value> = schema.list_map_keys.iter().filter_map(value).collect();
    (!keys.is_empty()).then(|| Step::Key(Value::Object(keys).to_string()))
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
pub fn fields_of<'s>(value: &Value, shape: impl Into<Shape<'s>>) -> FieldSet {
    let (mut set, root) = (FieldSet::default(), Place::root(shape.into()));
    if let Some(children) = root.children(value) {
        own_children(children, root, &mut set);
    }
    set
}

fn own(value: &Value, place: Place<'_>, set: &mut FieldSet) {
    match place.children(value) {
        Some(children) if !children.is_empty() => own_children(children, place, set),
        _ => set.member = true,
    }
}

/// Keys of maps and elements of lists are owned beside what is in them; fields of structs are not.
fn own_children(children: Vec<(Step, &Value)>, place: Place<'_>, set: &mut FieldSet) {
    for (step, value) in children {
        let (below, items) = (place.child(&step), place.owns_children(&step));
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
pub fn compare<'s>(old: &Value, new: &Value, shape: impl Into<Shape<'s>>) -> Comparison {
    let mut comparison = Comparison::default();
    both(old, new, Place::root(shape.into()), &mut Vec::new(), &mut comparison);
    comparison
}

fn both(old: &Value, new: &Value, place: Place<'_>, path: &mut Vec<Step>, into: &mut Comparison) {
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
fn all(value: &Value, place: Place<'_>, path: &mut Vec<Step>, into: &mut FieldSet) {
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
pub fn select<'s>(value: &Value, set: &FieldSet, shape: impl Into<Shape<'s>>) -> Value {
    select_at(value, set, Place::root(shape.into()))
}

fn select_at(value: &Value, set: &FieldSet, place: Place<'_>) -> Value {
    let Some(children) = place.children(value).filter(|_| !set.children.is_empty()) else {
        return value.clone();
    };
    let kept = children.into_iter().filter_map(|(step, child)| {
        let below = set.child(&step)?;
        let mut selected = select_at(child, below, place.child(&step));
        if let (true, Value::Object(map), Value::Object(whole)) = (value.is_array(), &mut selected, child) {
            for key in place.keys() {
                if let Some(value) = whole.get(key) {
                    map.insert(key.to_owned(), value.clone());
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
