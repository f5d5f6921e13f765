//! Lists of a strategic merge: elements are met by merge key (structs) or by value (primitives), then ordered.
//! The patch's order wins; elements only the server has keep their place relative to their old neighbours.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{DIRECTIVE, Rule, merge_map, unknown_directive, without_directives};
use crate::patch::{PatchError, as_go_prints};

pub(super) fn merge(original: Vec<Value>, patch: Vec<Value>, rule: Rule) -> Result<Vec<Value>, PatchError> {
    if patch.iter().chain(&original).any(Value::is_array) {
        let text = "lists of lists are not supported";
        return Err(PatchError::Unprocessable(text.to_owned()));
    }
    let structs = patch.iter().chain(&original).next().is_some_and(Value::is_object);
    let same = patch.iter().chain(&original).all(|value| value.is_object() == structs);
    if !same {
        return Err(PatchError::Unmergeable("invalid list type: elements differ in type".to_owned()));
    }
    let before = original.clone();
    let (merged, order) =
        if structs { merge_structs(original, patch, rule)? } else { merge_primitives(original, patch) };
    Ok(ordered(merged, &order, &before, rule.merge_key))
}

fn merge_primitives(original: Vec<Value>, patch: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let mut seen = std::collections::HashSet::new();
    let all = original.into_iter().chain(patch.iter().cloned());
    (all.filter(|value| seen.insert(value.to_string())).collect(), patch)
}

/// The merged list, and the patch's elements as the order to keep.
fn merge_structs(original: Vec<Value>, patch: Vec<Value>, rule: Rule) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let key =
        rule.merge_key.ok_or_else(|| PatchError::Unmergeable("cannot merge lists without merge key".to_owned()))?;
    let (mut merged, patch) = directives(original, patch, key)?;
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, element) in merged.iter().enumerate() {
        if let Some(value) = element.get(key) {
            places.entry(value.to_string()).or_insert(index);
        }
    }
    for element in &patch {
        let Value::Object(element) = element.clone() else {
            continue;
        };
        let value = element.get(key).ok_or_else(|| no_merge_key(&element, key))?;
        match places.get(&value.to_string()) {
            Some(index) => {
                if let Value::Object(current) = &mut merged[*index] {
                    *current = merge_map(std::mem::take(current), element, rule.place)?;
                }
            }
            None => {
                places.insert(value.to_string(), merged.len());
                merged.extend(without_directives(Value::Object(element)));
            }
        }
    }
    Ok((merged, patch))
}

/// Carries out `$patch: delete` and `$patch: replace` elements and takes them out of the patch.
fn directives(original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut original, mut rest, mut replace) = (original, Vec::new(), false);
    for element in patch {
        let Value::Object(map) = &element else {
            continue;
        };
        match map.get(DIRECTIVE) {
            None => rest.push(element),
            Some(Value::String(directive)) if directive == "delete" => {
                let value = map.get(key).ok_or_else(|| no_merge_key(map, key))?;
                original.retain(|element| element.get(key) != Some(value));
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(PatchError::Unmergeable("merging lists cannot yet be specified in the patch".to_owned()));
            }
            Some(other) => return Err(unknown_directive(other, map)),
        }
    }
    if replace { Ok((rest, Vec::new())) } else { Ok((original, rest)) }
}

fn no_merge_key(map: &Map<String, Value>, key: &str) -> PatchError {
    let map = as_go_prints(&map.clone().into());
    PatchError::Unmergeable(format!("map: {map} does not contain declared merge key: {key}"))
}

/// The elements of the patch must stand in the order that the directive asks for, and be named by it.
pub(super) fn consistent(patch: Option<&[Value]>, order: &[Value], rule: Rule) -> Result<(), PatchError> {
    let Some(patch) = patch else { return Ok(()) };
    let wanted: Vec<String> = order.iter().filter_map(|value| identity(value, rule.merge_key)).collect();
    let mut rest = wanted.iter();
    let special = |value: &&Value| value.get(DIRECTIVE).is_none();
    let fits = patch
        .iter()
        .filter(special)
        .filter_map(|value| identity(value, rule.merge_key))
        .all(|given| rest.any(|name| *name == given));
    if fits {
        return Ok(());
    }
    let text = |list: &[Value]| as_go_prints(&list.to_vec().into());
    Err(PatchError::Unmergeable(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        text(patch),
        text(order)
    )))
}

/// Elements named in `order` take that order; the others are woven in by where they stood `before`.
pub(super) fn ordered(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let wanted = positions(order, key);
    let old = positions(before, key);
    let place = |map: &HashMap<String, usize>, value: &Value| identity(value, key).and_then(|id| map.get(&id).copied());
    let (mut named, mut server): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|value| place(&wanted, value).is_some());
    named.sort_by_key(|value| place(&wanted, value));
    server.sort_by_key(|value| place(&old, value).unwrap_or(usize::MAX));
    let mut result = Vec::with_capacity(named.len() + server.len());
    let (mut named, mut server) = (named.into_iter().peekable(), server.into_iter().peekable());
    while let (Some(left), Some(right)) = (server.peek(), named.peek()) {
        let server_first = match (place(&old, left), place(&old, right)) {
            (Some(left), Some(right)) => left < right,
            _ => false,
        };
        result.extend(if server_first { server.next() } else { named.next() });
    }
    result.extend(named);
    result.extend(server);
    result
}

fn positions(list: &[Value], key: Option<&str>) -> HashMap<String, usize> {
    let mut positions = HashMap::new();
    for (index, value) in list.iter().enumerate() {
        if let Some(id) = identity(value, key) {
            positions.entry(id).or_insert(index);
        }
    }
    positions
}

/// What makes an element itself: its merge key's value, or for primitives its own.
fn identity(value: &Value, key: Option<&str>) -> Option<String> {
    match (value, key) {
        (Value::Object(map), Some(key)) => map.get(key).map(Value::to_string),
        (Value::Object(_), None) => None,
        (value, _) => Some(value.to_string()),
    }
}
