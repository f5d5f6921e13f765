//! Strategic merge. The patch is walked beside the object; the table says which lists are merged and by which
//! key. `lists` merges and orders them.

mod lists;

use serde_json::{Map, Value};

use super::{PatchError, as_go_prints};
use crate::table::{Container, TypeRef};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// What the table knows of a place.
#[derive(Clone, Copy)]
enum Place {
    Struct(TypeRef),
    /// A map of such structs.
    Map(TypeRef),
    Any,
}

/// How the value of one key is merged. For a list, `place` is that of its elements.
#[derive(Clone, Copy)]
struct Rule {
    place: Place,
    merge_list: bool,
    merge_key: Option<&'static str>,
}

impl Place {
    fn rule(self, key: &str) -> Result<Rule, PatchError> {
        let plain = |place| Rule { place, merge_list: false, merge_key: None };
        let ty = match self {
            Place::Struct(ty) => ty,
            Place::Map(ty) => return Ok(plain(Place::Struct(ty))),
            Place::Any => return Ok(plain(Place::Any)),
        };
        let field = ty.field(key).ok_or_else(|| {
            PatchError::Unmergeable(format!(
                "unable to find api field in struct {} for the json field \"{key}\"",
                ty.short_name()
            ))
        })?;
        Ok(Rule {
            place: match (field.container, field.object()) {
                (Container::Map, Some(ty)) => Place::Map(ty),
                (_, Some(ty)) => Place::Struct(ty),
                _ => Place::Any,
            },
            merge_list: field.patch_merge && field.container == Container::List,
            merge_key: field.patch_merge_key,
        })
    }
}

pub(super) fn apply(object: &Value, patch: Value, ty: TypeRef) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(patch)) = (object.clone(), patch) else {
        return Err(PatchError::BadRequest("invalid JSON document".to_owned()));
    };
    merge_map(original, patch, Place::Struct(ty)).map(Value::Object)
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    place: Place,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => return Ok(patch),
            Some("delete") => return Ok(Map::new()),
            Some("merge") => {}
            _ => return Err(unknown_directive(&directive, &patch)),
        }
    }
    retain_keys(&mut original, &mut patch)?;
    set_element_order(&mut original, &mut patch, place)?;
    for (key, value) in patch {
        if value.is_null() {
            original.remove(&key);
        } else if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from_primitives(&mut original, list, value)?;
        } else {
            merge_key(&mut original, key, value, place)?;
        }
    }
    Ok(original)
}

fn merge_key(original: &mut Map<String, Value>, key: String, value: Value, place: Place) -> Result<(), PatchError> {
    match (original.get_mut(&key), value) {
        (Some(Value::Object(current)), Value::Object(patch)) => {
            let rule = place.rule(&key)?;
            *current = merge_map(std::mem::take(current), patch, rule.place)?;
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            let rule = place.rule(&key)?;
            *current = merge_list(std::mem::take(current), patch, rule)?;
        }
        (_, value) => {
            let value = without_directives(value);
            original.insert(key, value.unwrap_or(Value::Null));
        }
    }
    Ok(())
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, rule: Rule) -> Result<Vec<Value>, PatchError> {
    if rule.merge_list { lists::merge(original, patch, rule) } else { Ok(patch) }
}

/// Of a union only the keys of the list stay: a new volume source ousts the old one.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(retain) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let wrong = || PatchError::BadRequest("invalid patch format of retainKeys".to_owned());
    let retain = retain.as_array().ok_or_else(wrong)?;
    let retained = |key: &str| retain.iter().any(|kept| kept.as_str() == Some(key));
    let field_of = |key: &str| {
        let key = key.strip_prefix(DELETE_FROM).or_else(|| key.strip_prefix(ELEMENT_ORDER)).unwrap_or(key);
        key.to_owned()
    };
    if patch.iter().any(|(key, value)| !value.is_null() && !retained(&field_of(key))) {
        let text = "patch content doesn't match retainKeys list";
        return Err(PatchError::Unprocessable(text.to_owned()));
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

fn set_element_order(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place,
) -> Result<(), PatchError> {
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in orders {
        let wrong = || PatchError::BadRequest("invalid patch format of setElementOrder list".to_owned());
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(wrong());
        };
        let field = directive[ELEMENT_ORDER.len()..].to_owned();
        let rule = place.rule(&field)?;
        let given = match patch.remove(&field) {
            None => None,
            Some(Value::Array(list)) => Some(list),
            Some(other) => {
                // Deleted or of another type: nothing to order.
                patch.insert(field, other);
                continue;
            }
        };
        lists::consistent(given.as_deref(), &order, rule)?;
        let current = match original.get(&field) {
            Some(Value::Array(list)) => Some(list.clone()),
            _ => None,
        };
        let before = current.clone().unwrap_or_default();
        let merged = match (current, given) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(given)) => given.into_iter().filter_map(without_directives).collect(),
            (Some(current), Some(given)) => merge_list(current, given, rule)?,
        };
        let ordered = lists::ordered(merged, &order, &before, rule.merge_key);
        original.insert(field, Value::Array(ordered));
    }
    Ok(())
}

fn delete_from_primitives(original: &mut Map<String, Value>, field: &str, gone: Value) -> Result<(), PatchError> {
    let Value::Array(gone) = gone else {
        return Err(PatchError::BadRequest("invalid patch format of primitive list".to_owned()));
    };
    if let Some(Value::Array(list)) = original.get_mut(field) {
        list.retain(|value| !gone.contains(value));
    }
    Ok(())
}

/// A value that is new to the object: its directives have nothing to steer and its nulls nothing to delete.
/// `None` for what asks to be deleted.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
                return None;
            }
            let kept = map.into_iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect()))
        }
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(without_directives).collect())),
        value => Some(value),
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(ELEMENT_ORDER)
}

fn unknown_directive(directive: &Value, map: &Map<String, Value>) -> PatchError {
    let (directive, map) = (as_go_prints(directive), as_go_prints(&map.clone().into()));
    PatchError::Unmergeable(format!("unknown patch type: {directive} in map: {map}"))
}
