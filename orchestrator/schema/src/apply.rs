//! Server-side apply: merge a configuration into the live object, prune what its manager gave up, and find
//! conflicts. `field_set` has the sets, `managed_fields` the entries, `merge` the values.

mod last_applied;
mod merge;

use serde_json::Value;

use crate::field_set::{FieldSet, Place, Step, compare, fields_of};
use crate::managed_fields::{self, Entry, Manager, Operation, changes, lose, nothing, read, tracked};
use crate::structural::Shape;

/// The manager of everything in an object that was written before anybody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Whether to take fields that others own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

/// The one applier that takes over what client-side apply left in an annotation.
const KUBECTL: &str = "kubectl";

/// The object to store (defaults and admission still to come) and its managedFields.
#[derive(Debug, PartialEq)]
pub struct Applied {
    pub value: Value,
    pub managed_fields: Value,
}

/// One field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As upstream prints it: `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`
    pub field: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// No configuration that can be applied: 400.
    #[error("{0}")]
    BadRequest(String),
    /// 409 Conflict; each becomes a cause `FieldManagerConflict` with message `conflict with …` and its field.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
}

/// Applies `config`, which `check` or `parse` has normalised, to `live` (`None` creates).
/// `live_entries` is the live object's managedFields; those inside `live` are not looked at.
/// When nothing changes, the value and the entries come back as they were, times included.
pub fn apply<'s>(
    live: Option<&Value>,
    config: &Value,
    live_entries: &Value,
    (manager, force): (Manager<'_>, Force),
    shape: impl Into<Shape<'s>>,
) -> Result<Applied, ApplyError> {
    let claims = config.pointer("/metadata/managedFields");
    if claims.is_some_and(|claims| !claims.as_array().is_some_and(Vec::is_empty)) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let ty = shape.into();
    let zero = nothing(ty);
    let before = live.unwrap_or(&zero);
    let merged = merge::merge(before, config, Place::root(ty)).map_err(ApplyError::BadRequest)?;
    let mut entries = known_entries(live, live_entries, manager, ty);
    let last = entries
        .iter()
        .position(|entry| entry.is_by(manager, Operation::Apply))
        .map(|index| entries.remove(index))
        // Whoever only says what is already so has written nothing, and has no time.
        .unwrap_or_else(|| Entry { time: String::new(), ..Entry::new(manager, Operation::Apply) });
    let fields = tracked(fields_of(config, ty), manager.subresource, ty);
    let kept = entries.iter().fold(fields.clone(), |kept, entry| kept.union(&entry.fields));
    let mut value = merged;
    merge::prune(&mut value, Place::root(ty), &last.fields, &kept);

    let comparison = compare(before, &value, ty);
    let changed = tracked(comparison.added.union(&comparison.modified), manager.subresource, ty);
    let removed = tracked(comparison.removed, manager.subresource, ty);
    if force == Force::No {
        // What client-side apply wrote and nobody changed since is kubectl's own to take.
        let own = live.filter(|_| manager.name == KUBECTL).map(|live| last_applied::unchanged(live, manager, ty));
        let conflicts = conflicts(&entries, &changed.difference(&own.unwrap_or_default()));
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    lose(&mut entries, &changed, &removed);
    let time = if value == *before { last.time.clone() } else { manager.time.to_owned() };
    entries.push(Entry { fields, time, api_version: manager.api_version.to_owned(), ..last });
    if manager.name == KUBECTL {
        last_applied::renew(&mut value, config);
    }
    Ok(Applied { value, managed_fields: managed_fields::write(entries) })
}

/// Objects from before managedFields get one entry for all that they have.
fn known_entries(live: Option<&Value>, entries: &Value, manager: Manager<'_>, ty: Shape<'_>) -> Vec<Entry> {
    let mut entries = read(entries);
    if let (Some(live), true) = (live, entries.is_empty()) {
        let all = changes(None, live, "", ty);
        let before = Manager { name: BEFORE_FIRST_APPLY, subresource: "", ..manager };
        let fields = all.added.union(&all.modified);
        entries.push(Entry { fields, ..Entry::new(before, Operation::Update) });
    }
    entries
}

fn conflicts(entries: &[Entry], changed: &FieldSet) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for entry in entries {
        let mut manager = format!("{:?}", entry.manager);
        if !entry.subresource.is_empty() {
            manager.push_str(&format!(" with subresource {:?}", entry.subresource));
        }
        if entry.operation == Operation::Update {
            manager.push_str(&format!(" using {}", entry.api_version));
        }
        let paths = entry.fields.intersection(changed).paths();
        conflicts.extend(paths.into_iter().map(|field| Conflict { manager: manager.clone(), field }));
    }
    conflicts
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|conflict| conflict.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let own = conflicts.iter().filter(|conflict| conflict.manager == manager);
        lines.extend(own.map(|conflict| format!("- {}", conflict.field)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Where a list element of that step stands.
fn position(list: &[Value], place: Place<'_>, step: &Step) -> Option<usize> {
    list.iter().position(|value| place.step_of(value).as_ref() == Some(step))
}

#[cfg(test)]
mod tests;
