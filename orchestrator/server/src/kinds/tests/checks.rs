//! How the files beside put their questions: what a manifest becomes, why it is refused, what may not change, its row.

use expect_test::Expect;
use serde_json::Value;

use super::{NOW, created, json, parse};
use crate::kinds::Problem;

/// What is stored of a manifest, without what every object has.
pub fn becomes(manifest: &str, expect: Expect) {
    let (kind, mut object) = created(manifest);
    let once = object.clone();
    (kind.defaults)(&mut object);
    assert_eq!(once, object, "a second time changes nothing");
    object.as_object_mut().unwrap().retain(|field, _| !matches!(field.as_str(), "kind" | "apiVersion"));
    expect.assert_eq(&serde_yaml_ng::to_string(&object).unwrap());
}

pub fn refused(manifest: &str, expect: Expect) {
    let (kind, object) = created(manifest);
    let problems = [(kind.validate)(&object), (kind.validate_create)(&object)].concat();
    expect.assert_eq(&shown(&problems));
}

/// `change` is a merge patch on the created object.
pub fn refused_update(manifest: &str, change: &str, expect: Expect) {
    let (kind, old) = created(manifest);
    let mut new = old.clone();
    merge(&mut new, &serde_yaml_ng::from_str(change).unwrap());
    (kind.prepare_update)(&mut new, &old);
    (kind.defaults)(&mut new);
    expect.assert_eq(&shown(&(kind.validate_update)(&new, &old)));
}

pub fn row(manifest: &str, expect: Expect) {
    let (kind, object) = parse(manifest);
    let cells = (kind.row)(&object, NOW);
    let shown: Vec<String> = cells.iter().map(|cell| cell.as_str().map_or(cell.to_string(), str::to_owned)).collect();
    expect.assert_eq(&shown.join(" | "));
}

pub fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.field, problem.message)).collect()
}

pub fn merge(into: &mut Value, from: &Value) {
    let Value::Object(fields) = from else { return *into = from.clone() };
    for (field, value) in fields {
        match value {
            Value::Null => drop(json::remove(into, field)),
            _ => {
                json::fill(into, field, serde_json::json!({}));
                merge(into.get_mut(field).unwrap(), value);
            }
        }
    }
}
