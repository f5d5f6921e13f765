//! Who wrote which field: the managedFields of an object after a create, update or patch. `apply` does the same
//! for server-side apply. Time and names come from the caller; nothing here reads a clock.

use serde_json::{Map, Value, json};

use crate::field_set::{Comparison, FieldSet, Step, compare};
use crate::shape::prune_empty;
use crate::structural::Shape;

/// Beyond so many Update entries the oldest are merged into one.
pub const UPDATE_MANAGERS_MAX: usize = 10;
/// The manager of what the oldest wrote.
const ANCIENT: &str = "ancient-changes";

/// Who writes, and by which road.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// `fieldManager`, or the first word of the User-Agent.
    pub name: &'a str,
    /// Of the object as it was sent: `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339 in seconds.
    pub time: &'a str,
}

/// One entry, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub manager: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
    /// Empty for `before-first-apply` and entries without one.
    pub time: String,
    pub fields: FieldSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Apply,
    Update,
}

impl Entry {
    pub(crate) fn new(manager: Manager<'_>, operation: Operation) -> Self {
        Entry {
            manager: manager.name.to_owned(),
            operation,
            api_version: manager.api_version.to_owned(),
            subresource: manager.subresource.to_owned(),
            time: manager.time.to_owned(),
            fields: FieldSet::default(),
        }
    }

    pub(crate) fn is_by(&self, manager: Manager<'_>, operation: Operation) -> bool {
        // The version is part of an Update's identity; an applier has one entry whatever version it used.
        self.operation == operation
            && self.manager == manager.name
            && self.subresource == manager.subresource
            && (operation == Operation::Apply || self.api_version == manager.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
            return None;
        }
        Some(Entry {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::from_json(value.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn to_json(&self) -> Value {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        let mut entry = Map::from_iter([
            ("manager".to_owned(), json!(self.manager)),
            ("operation".to_owned(), json!(operation)),
            ("apiVersion".to_owned(), json!(self.api_version)),
            ("fieldsType".to_owned(), json!("FieldsV1")),
            ("fieldsV1".to_owned(), self.fields.to_json()),
        ]);
        for (name, text) in [("time", &self.time), ("subresource", &self.subresource)] {
            if !text.is_empty() {
                entry.insert(name.to_owned(), json!(text));
            }
        }
        Value::Object(entry)
    }
}

/// Reads `metadata.managedFields`. A list in which an entry makes no sense counts as none, as upstream has it; so does
/// the lone empty entry by which clients ask to clear the list.
pub fn read(entries: &Value) -> Vec<Entry> {
    let list = entries.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(Entry::read).collect::<Option<_>>().unwrap_or_default()
}

/// Writes `metadata.managedFields` in upstream's order: appliers first, then by time, then by name.
pub fn write(mut entries: Vec<Entry>) -> Value {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| {
            (
                entry.operation == Operation::Update,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    Value::Array(entries.iter().map(Entry::to_json).collect())
}

/// Which entries count when an object is written: a client may send its own (`incoming`), an empty list means
/// that it does not know of them, one empty entry asks to clear them. Subresources never set them.
pub fn entries_in_force(incoming: &Value, live: &Value, subresource: &str) -> Value {
    if !subresource.is_empty() {
        return live.clone();
    }
    match incoming.as_array().map(Vec::as_slice) {
        Some([Value::Object(only)]) if only.is_empty() => Value::Array(Vec::new()),
        Some(list) if !list.is_empty() && list.iter().all(|entry| Entry::read(entry).is_some()) => incoming.clone(),
        _ => live.clone(),
    }
}

/// The entries after a plain write: the writer owns what it changed, everybody loses what changed or went.
/// `old` is `None` for a create. An object that did not change keeps its entries and their times; one that has none
/// gets none before somebody applies to it.
/// Where nothing is known of the object its lists count as atomic.
pub fn track_update<'s>(
    old: Option<&Value>,
    new: &Value,
    old_entries: &Value,
    manager: Manager<'_>,
    shape: impl Into<Shape<'s>>,
) -> Value {
    let ty = shape.into();
    let comparison = changes(old, new, manager.subresource, ty);
    let mut entries = read(old_entries);
    if old.is_some() && (entries.is_empty() || comparison.is_same()) {
        return old_entries.clone();
    }
    let changed = comparison.added.union(&comparison.modified);
    let own = match entries.iter().position(|entry| entry.is_by(manager, Operation::Update)) {
        Some(index) => entries.swap_remove(index),
        None => Entry::new(manager, Operation::Update),
    };
    lose(&mut entries, &changed, &comparison.removed);
    let fields = own.fields.difference(&comparison.removed).union(&changed);
    // An entry that only lost fields keeps its time; one that wrote gets the write's.
    let time = if changed.is_empty() { own.time.clone() } else { manager.time.to_owned() };
    entries.push(Entry { fields, time, ..own });
    cap(&mut entries);
    write(entries)
}

/// Others lose what somebody else changed, and everybody what is gone.
pub(crate) fn lose(entries: &mut [Entry], changed: &FieldSet, removed: &FieldSet) {
    for entry in entries {
        entry.fields = entry.fields.difference(changed).difference(removed);
    }
}

pub(crate) fn changes(old: Option<&Value>, new: &Value, subresource: &str, ty: Shape<'_>) -> Comparison {
    let comparison = match old {
        Some(old) => compare(old, new, ty),
        None => compare(&nothing(ty), new, ty),
    };
    Comparison {
        added: tracked(comparison.added, subresource, ty),
        modified: tracked(comparison.modified, subresource, ty),
        removed: tracked(comparison.removed, subresource, ty),
    }
}

/// What an object is before it is created: Go's zero object, in which structs that are no pointers stand.
pub(crate) fn nothing(shape: Shape<'_>) -> Value {
    let mut zero = json!({});
    if let Shape::Table(ty) = shape {
        prune_empty(&mut zero, ty);
    }
    zero
}

/// Fields that the system owns are never tracked, nor what this road cannot write.
pub(crate) fn tracked(mut set: FieldSet, subresource: &str, ty: Shape<'_>) -> FieldSet {
    const SYSTEM: [&str; 8] =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let step = |name: &str| Step::Field(name.to_owned());
    for name in ["apiVersion", "kind"] {
        set.remove_below(&[step(name)]);
    }
    for name in SYSTEM {
        set.remove_below(&[step("metadata"), step(name)]);
    }
    if let Some(metadata) = set.children.get_mut(&step("metadata")) {
        metadata.member = false;
    }
    let has_both = match ty {
        Shape::Free => true,
        Shape::Table(ty) => ty.field("spec").is_some() && ty.field("status").is_some(),
        Shape::Custom(schema) => schema.status_apart,
    };
    if has_both {
        match subresource {
            "" => set.remove_below(&[step("status")]),
            "status" => set.remove_below(&[step("spec")]),
            _ => {}
        }
    }
    set.children.retain(|_, child| !child.is_empty());
    set
}

/// Merges the oldest Update entries of each version, whatever their subresource, until few enough are left. A version's
/// first entry waits for a second one to be merged with.
fn cap(entries: &mut Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let (mut updates, applies): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(entries).into_iter().partition(|entry| entry.operation == Operation::Update);
    *entries = applies;
    let mut surplus = updates.len().saturating_sub(UPDATE_MANAGERS_MAX);
    if surplus > 0 {
        updates.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
    }
    let mut kept: Vec<Entry> = Vec::with_capacity(updates.len());
    for update in updates {
        let first = kept.iter_mut().find(|entry| surplus > 0 && entry.api_version == update.api_version);
        let Some(bucket) = first else {
            kept.push(update);
            continue;
        };
        surplus -= 1;
        bucket.manager = ANCIENT.to_owned();
        bucket.subresource = String::new();
        bucket.fields = bucket.fields.union(&update.fields);
        bucket.time = update.time;
    }
    entries.append(&mut kept);
}

#[cfg(test)]
mod tests;
