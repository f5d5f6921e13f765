//! The smallest strategic merge patch from one status to another.

use serde_json::{Map, Value};

use crate::status::OWNED;

/// Fields of the top level that differ; `null` where one went. `None`: nothing differs. Conditions merge by type, so
/// only those that differ are named, each whole, with `null` for what it lost. Fields that the agent never
/// writes are left alone.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object()?);
    let mut patch = Map::new();
    for (field, value) in after {
        let old = before.get(field);
        if field == "conditions" {
            let changed = conditions(old, value);
            if !changed.is_empty() {
                patch.insert(field.clone(), Value::Array(changed));
            }
        } else if old != Some(value) {
            patch.insert(field.clone(), value.clone());
        }
    }
    for field in ["reason", "message", "podIP", "podIPs"] {
        if before.contains_key(field) && !after.contains_key(field) {
            patch.insert(field.to_owned(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn conditions(before: Option<&Value>, after: &Value) -> Vec<Value> {
    let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let known = before.map(of).unwrap_or_default();
    let mut changed = Vec::new();
    for mut condition in of(after) {
        let old = known.iter().find(|old| old["type"] == condition["type"]);
        let own = OWNED.iter().any(|kind| condition["type"] == *kind);
        if !own || old == Some(&condition) {
            continue;
        }
        for field in ["reason", "message"] {
            if condition.get(field).is_none() && old.is_some_and(|old| old.get(field).is_some()) {
                condition[field] = Value::Null;
            }
        }
        changed.push(condition);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_sent() {
        let before = json!({"phase": "Pending", "hostIP": "1", "reason": "x", "resize": "other's",
            "conditions": [{"type": "Ready", "status": "False", "reason": "No"}, {"type": "PodScheduled", "status": "True"}]});
        let after = json!({"phase": "Running", "hostIP": "1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]});
        let patch = json!({"phase": "Running", "reason": null, "conditions": [{"type": "Ready", "status": "True", "reason": null}]});
        assert_eq!(difference(&before, &after), Some(patch));
        assert_eq!(difference(&after, &after), None);
    }
}
