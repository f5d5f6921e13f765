//! Whether a value keeps to its schema, in the texts of upstream's validator. Parts of an object that an update left as
//! they were are not judged again, so that a schema may become stricter than what is stored.

use serde_json::Value;

use super::{Checks, Fault, Structural, Type, child, formats};
use crate::table::ListType;

/// Every fault of a value. `old` is what stood there before, on an update.
pub fn validate(value: &Value, schema: &Structural, old: Option<&Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    node(value, schema, (old, ""), &mut faults);
    faults
}

fn node(value: &Value, schema: &Structural, (old, path): (Option<&Value>, &str), faults: &mut Vec<Fault>) {
    if old == Some(value) || (value.is_null() && schema.nullable) {
        return;
    }
    if !has_type(value, schema) {
        return faults.push(wrong_type(value, schema, path));
    }
    checks(value, &schema.checks, path, faults);
    match value {
        Value::Object(members) => {
            for name in schema.checks.required.iter().filter(|name| !members.contains_key(*name)) {
                let message = "Required value".to_owned();
                faults.push(Fault { reason: "FieldValueRequired", path: child(path, name), message });
            }
            for (name, member) in members {
                if let Some(below) = schema.member(name) {
                    let before = old.and_then(|old| old.get(name));
                    node(member, below, (before, &child(path, name)), faults);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                let before = old.and_then(|old| correlated(item, old, schema));
                node(item, items, (before, &format!("{path}[{index}]")), faults);
            }
        }
        _ => {}
    }
}

/// The same element of the old list, where lists have keys.
pub(super) fn correlated<'v>(item: &Value, old: &'v Value, schema: &Structural) -> Option<&'v Value> {
    let old = old.as_array().filter(|_| schema.list_type == Some(ListType::Map))?;
    old.iter().find(|before| schema.list_map_keys.iter().all(|key| before.get(key) == item.get(key)))
}

fn has_type(value: &Value, schema: &Structural) -> bool {
    if schema.int_or_string {
        return value.is_string() || is_integer(value);
    }
    match schema.ty {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn wrong_type(value: &Value, schema: &Structural, path: &str) -> Fault {
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if schema.int_or_string { "integer,string" } else { schema.ty.name() };
    let message = format!("Invalid value: \"{given}\": {path} in body must be of type {wanted}: \"{given}\"");
    Fault { reason: "FieldValueTypeInvalid", path: path.to_owned(), message }
}

fn checks(value: &Value, checks: &Checks, path: &str, faults: &mut Vec<Fault>) {
    if let Some(choices) = checks.choices.as_ref().filter(|choices| !choices.contains(value)) {
        let choices: Vec<String> = choices.iter().map(|choice| format!("{:?}", plain(choice))).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value), choices.join(", "));
        faults.push(Fault { reason: "FieldValueNotSupported", path: path.to_owned(), message });
    }
    match value {
        Value::String(text) => of_text(value, text, checks, path, faults),
        Value::Number(_) => of_number(value, checks, path, faults),
        Value::Array(list) => of_list(value, list, checks, path, faults),
        Value::Object(members) => {
            let count = members.len() as u64;
            if let Some(min) = checks.min_properties.filter(|min| count < *min) {
                faults.push(invalid(&count.into(), path, &format!("should have at least {min} properties")));
            }
            if let Some(max) = checks.max_properties.filter(|max| count > *max) {
                faults.push(too_many(count, max, path));
            }
        }
        _ => {}
    }
    junctors(value, checks, path, faults);
}

fn of_text(value: &Value, text: &str, checks: &Checks, path: &str, faults: &mut Vec<Fault>) {
    let length = text.chars().count() as u64;
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        let message = format!("Too long: may not be more than {max} bytes");
        faults.push(Fault { reason: "FieldValueTooLong", path: path.to_owned(), message });
    }
    if let Some(min) = checks.min_length.filter(|min| length < *min) {
        faults.push(invalid(value, path, &format!("should be at least {min} chars long")));
    }
    if let Some((source, pattern)) = &checks.pattern
        && !pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    {
        faults.push(invalid(value, path, &format!("should match '{source}'")));
    }
    if formats::KNOWN.contains(&checks.format.as_str()) && !formats::fits(&checks.format, text) {
        faults.push(invalid(value, path, &format!("must be of type {}: {text:?}", checks.format)));
    }
}

fn of_number(value: &Value, checks: &Checks, path: &str, faults: &mut Vec<Fault>) {
    let Some(number) = value.as_f64() else { return };
    if let Some(min) = checks.minimum
        && (number < min || (checks.exclusive_minimum && number <= min))
    {
        let or_equal = if checks.exclusive_minimum { "" } else { " or equal to" };
        faults.push(invalid(value, path, &format!("should be greater than{or_equal} {min}")));
    }
    if let Some(max) = checks.maximum
        && (number > max || (checks.exclusive_maximum && number >= max))
    {
        let or_equal = if checks.exclusive_maximum { "" } else { " or equal to" };
        faults.push(invalid(value, path, &format!("should be less than{or_equal} {max}")));
    }
    if let Some(factor) = checks.multiple_of
        && (number / factor).fract() != 0.0
    {
        faults.push(invalid(value, path, &format!("should be a multiple of {factor}")));
    }
    let range = match checks.format.as_str() {
        "int32" => f64::from(i32::MIN)..=f64::from(i32::MAX),
        "float" => f64::from(f32::MIN)..=f64::from(f32::MAX),
        _ => return,
    };
    if !range.contains(&number) {
        faults.push(invalid(value, path, &format!("must be of type {}: {value}", checks.format)));
    }
}

fn of_list(value: &Value, list: &[Value], checks: &Checks, path: &str, faults: &mut Vec<Fault>) {
    let count = list.len() as u64;
    if let Some(min) = checks.min_items.filter(|min| count < *min) {
        faults.push(invalid(&count.into(), path, &format!("should have at least {min} items")));
    }
    if let Some(max) = checks.max_items.filter(|max| count > *max) {
        faults.push(too_many(count, max, path));
    }
    if checks.unique_items && list.iter().enumerate().any(|(at, item)| list[..at].contains(item)) {
        faults.push(invalid(value, path, "shouldn't contain duplicates"));
    }
}

fn junctors(value: &Value, checks: &Checks, path: &str, faults: &mut Vec<Fault>) {
    let verdict = |schema: &Structural| {
        let mut faults = Vec::new();
        node(value, schema, (None, path), &mut faults);
        faults
    };
    let says = |text: &str| {
        let message = format!("Invalid value: \"\": \"{path}\" {text}");
        Fault { reason: "FieldValueInvalid", path: path.to_owned(), message }
    };
    if !checks.any_of.is_empty() {
        let verdicts: Vec<_> = checks.any_of.iter().map(verdict).collect();
        if !verdicts.iter().any(Vec::is_empty) {
            faults.push(says("must validate at least one schema (anyOf)"));
            faults.extend(best(verdicts));
        }
    }
    if !checks.one_of.is_empty() {
        let verdicts: Vec<_> = checks.one_of.iter().map(verdict).collect();
        match verdicts.iter().filter(|faults| faults.is_empty()).count() {
            1 => {}
            0 => {
                faults.push(says("must validate one and only one schema (oneOf). Found none valid"));
                faults.extend(best(verdicts));
            }
            many => {
                let text = format!("must validate one and only one schema (oneOf). Found {many} valid alternatives");
                faults.push(says(&text));
            }
        }
    }
    let failed: Vec<Fault> = checks.all_of.iter().flat_map(verdict).collect();
    if !failed.is_empty() {
        let valid = checks.all_of.iter().filter(|schema| verdict(schema).is_empty()).count();
        let none = if valid == 0 { ". None validated" } else { "" };
        faults.push(says(&format!("must validate all the schemas (allOf){none}")));
        faults.extend(failed);
    }
    if checks.not.as_ref().is_some_and(|schema| verdict(schema).is_empty()) {
        faults.push(says("must not validate the schema (not)"));
    }
}

/// Of alternatives that all fail, the one that came nearest is explained.
fn best(verdicts: Vec<Vec<Fault>>) -> Vec<Fault> {
    verdicts.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn invalid(value: &Value, path: &str, text: &str) -> Fault {
    let message = format!("Invalid value: {}: {path} in body {text}", shown(value));
    Fault { reason: "FieldValueInvalid", path: path.to_owned(), message }
}

fn too_many(count: u64, max: u64, path: &str) -> Fault {
    let items = if max == 1 { "item" } else { "items" };
    let message = format!("Too many: {count}: must have at most {max} {items}");
    Fault { reason: "FieldValueTooMany", path: path.to_owned(), message }
}

/// As Go prints it: texts quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
