//! Values of server-side apply: merging a configuration into an object, and taking away what nobody owns.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::position;
use crate::field_set::{FieldSet, Place, Step};

/// The object with everything that the configuration says. The error is upstream's text.
pub(super) fn merge(live: &Value, config: &Value, place: Place<'_>) -> Result<Value, String> {
    merge_at(live, config, place, &mut String::new())
}

fn merge_at(live: &Value, config: &Value, place: Place<'_>, path: &mut String) -> Result<Value, String> {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if place.is_map() => merge_object(live, config, place, path),
        (live, Value::Array(config)) if place.is_list() => {
            let nothing = Vec::new();
            merge_list(live.as_array().unwrap_or(&nothing), config, place, path)
        }
        _ => Ok(config.clone()),
    }
}

fn merge_object(
    live: &Map<String, Value>,
    config: &Map<String, Value>,
    place: Place<'_>,
    path: &mut String,
) -> Result<Value, String> {
    let mut merged = live.clone();
    for (key, wanted) in config {
        let length = path.len();
        path.push('.');
        path.push_str(key);
        let below = place.child(&Step::Field(key.clone()));
        let value = merge_at(live.get(key).unwrap_or(&Value::Null), wanted, below, path)?;
        path.truncate(length);
        merged.insert(key.clone(), value);
    }
    Ok(Value::Object(merged))
}

/// The configuration's elements keep their order; elements that only the object has stay before the shared
/// element that they stood before.
fn merge_list(live: &[Value], config: &[Value], place: Place<'_>, path: &mut String) -> Result<Value, String> {
    let mut wanted = Vec::with_capacity(config.len());
    let mut named = BTreeSet::new();
    for value in config {
        let step = place.step_of(value).ok_or_else(|| format!("{path}: element without keys"))?;
        if !named.insert(step.clone()) {
            return Err(format!("errors:\n  {path}: duplicate entries for key {}", step.readable()));
        }
        let below = place.child(&step);
        let current = position(live, place, &step).map_or(&Value::Null, |index| &live[index]);
        wanted.push((step, merge_at(current, value, below, path)?));
    }
    let mut wanted = wanted.into_iter().peekable();
    let mut done = BTreeSet::new();
    let mut merged = Vec::new();
    for value in live {
        let Some(step) = place.step_of(value).filter(|step| named.contains(step)) else {
            merged.push(value.clone());
            continue;
        };
        while !done.contains(&step)
            && let Some((next, value)) = wanted.next()
        {
            done.insert(next);
            merged.push(value);
        }
    }
    merged.extend(wanted.map(|(_, value)| value));
    Ok(Value::Array(merged))
}

/// Takes away what the manager owned at its `last` apply and what nobody, itself included, keeps now.
pub(super) fn prune(value: &mut Value, place: Place<'_>, last: &FieldSet, kept: &FieldSet) {
    let nobody = FieldSet::default();
    for (step, owned) in &last.children {
        let keeps = kept.child(step).unwrap_or(&nobody);
        let Some(child) = child_mut(value, place, step) else {
            continue;
        };
        let gone = if keeps.is_empty() && owned.member {
            true
        } else {
            prune(child, place.child(step), owned, keeps);
            keeps.is_empty() && is_empty(child)
        };
        if gone {
            remove(value, place, step);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn child_mut<'v>(value: &'v mut Value, place: Place<'_>, step: &Step) -> Option<&'v mut Value> {
    match (value, step) {
        (Value::Object(map), Step::Field(name)) => map.get_mut(name),
        (Value::Array(list), _) => position(list, place, step).map(|index| &mut list[index]),
        _ => None,
    }
}

fn remove(value: &mut Value, place: Place<'_>, step: &Step) {
    match (value, step) {
        (Value::Object(map), Step::Field(name)) => {
            map.remove(name);
        }
        (Value::Array(list), _) => {
            if let Some(index) = position(list, place, step) {
                list.remove(index);
            }
        }
        _ => {}
    }
}
