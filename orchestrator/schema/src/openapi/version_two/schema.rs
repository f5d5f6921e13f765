//! One schema of version 3 in the words of version 2. Source: apiextensions' ToStructuralOpenAPIV2, kube-openapi's
//! schema conversion and pruning of defaults.

use serde_json::{Map, Value, json};

const KIND: &str = "x-kubernetes-group-version-kind";
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";
/// Where other schemas lie in a schema: alone, and by name.
const NESTED: [&str; 2] = ["items", "additionalProperties"];
const PROPERTIES: &str = "properties";

/// A named schema. One that takes any fields must say nothing of any: kubectl would refuse the others.
pub(super) fn definition(schema: Value) -> Value {
    if schema[OPEN] == true {
        let mut open = json!({ "type": "object" });
        if schema[KIND].is_array() {
            open[KIND] = schema[KIND].clone();
        }
        return open;
    }
    self::schema(schema)
}

fn schema(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    lift_reference(&mut schema);
    schema.remove("default");
    name_union(&mut schema);
    for word in ["allOf", "oneOf", "anyOf", "not"] {
        schema.remove(word);
    }
    if let Some(Value::String(target)) = schema.get_mut("$ref") {
        *target = target.replace("#/components/schemas/", "#/definitions/");
    }
    if schema.remove("nullable").is_some_and(|nullable| nullable == true) {
        ["type", "items", PROPERTIES].iter().for_each(|word| drop(schema.remove(*word)));
    }
    if schema.get(OPEN).is_some_and(|open| *open == true) {
        ["items", PROPERTIES].iter().for_each(|word| drop(schema.remove(*word)));
        drop_type(&mut schema, "object");
    }
    if !schema.contains_key("items") {
        drop_type(&mut schema, "array");
    }
    release_nullable(&mut schema);
    for word in NESTED {
        if let Some(nested) = schema.remove(word) {
            schema.insert(word.to_owned(), self::schema(nested));
        }
    }
    if let Some(Value::Object(properties)) = schema.remove(PROPERTIES)
        && !properties.is_empty()
    {
        let properties = properties.into_iter().map(|(name, property)| (name, self::schema(property)));
        schema.insert(PROPERTIES.to_owned(), Value::Object(properties.collect()));
    }
    Value::Object(schema)
}

/// In version 2 a reference may have neighbours.
fn lift_reference(schema: &mut Map<String, Value>) {
    let target = schema.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1);
    if let Some(Value::String(target)) = target.map(|all| all[0]["$ref"].clone()) {
        schema.insert("$ref".to_owned(), target.into());
    }
}

/// Quantities and ports are told as strings.
fn name_union(schema: &mut Map<String, Value>) {
    let of_types = |one: &Value| one.as_array().is_some_and(|all| all.iter().all(|each| each["type"].is_string()));
    let is_custom = schema.contains_key("x-kubernetes-int-or-string");
    if !is_custom && !schema.contains_key("type") && schema.get("oneOf").is_some_and(of_types) {
        schema.insert("type".to_owned(), "string".into());
    }
}

fn drop_type(schema: &mut Map<String, Value>, kind: &str) {
    if schema.get("type").is_some_and(|given| given == kind) {
        schema.remove("type");
    }
}

/// What may be null need not be there.
fn release_nullable(schema: &mut Map<String, Value>) {
    let is_nullable = |schema: &Value| schema["nullable"] == true;
    let properties = schema.get(PROPERTIES).and_then(Value::as_object).into_iter().flatten();
    let free: Vec<String> =
        properties.filter(|(_, property)| is_nullable(property)).map(|(name, _)| name.clone()).collect();
    let all = schema.get("additionalProperties").is_some_and(is_nullable);
    let Some(Value::Array(required)) = schema.get_mut("required") else { return };
    required.retain(|name| !all && name.as_str().is_none_or(|name| !free.iter().any(|free| free == name)));
    if required.is_empty() {
        schema.remove("required");
    }
}
