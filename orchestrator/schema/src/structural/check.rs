//! Whether an `openAPIV3Schema` may be the schema of a custom kind: structural, without what JSON schema has and
//! Kubernetes does not, with lists and defaults that make sense. Texts are upstream's.

use regex::Regex;
use serde_json::Value;

use super::{Fault, Structural, Type, validate};

/// Where a schema stands: under the root much is asked of `metadata`, in a junctor nothing structural may be said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Faults of a schema; `path` is where it stands in the definition.
pub fn check_schema(schema: &Value, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    invariants(schema, Level::Root, path, &mut faults);
    completeness(schema, schema, path, &mut faults);
    words(schema, path, &mut faults);
    if faults.is_empty() {
        defaults(schema, path, true, &mut faults);
    }
    faults.sort_by(|one, other| (&one.path, &one.message).cmp(&(&other.path, &other.message)));
    faults.dedup();
    faults
}

fn fault(reason: &'static str, path: String, message: String) -> Fault {
    Fault { reason, path, message }
}

fn required(path: String, why: &str) -> Fault {
    fault("FieldValueRequired", path, format!("Required value: {why}"))
}

fn forbidden(path: String, why: &str) -> Fault {
    fault("FieldValueForbidden", path, format!("Forbidden: {why}"))
}

fn invalid(path: String, value: &Value, why: &str) -> Fault {
    let shown = value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
    fault("FieldValueInvalid", path, format!("Invalid value: {shown}: {why}"))
}

fn type_of(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or_default()
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name].as_bool().unwrap_or(false)
}

fn members<'v>(schema: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    schema[name].as_object().into_iter().flatten()
}

fn elements<'v>(schema: &'v Value, name: &str) -> impl Iterator<Item = (usize, &'v Value)> + use<'v> {
    schema[name].as_array().into_iter().flatten().enumerate()
}

fn invariants(schema: &Value, level: Level, path: &str, faults: &mut Vec<Fault>) {
    let (embedded, ty) = (flag(schema, "x-kubernetes-embedded-resource"), type_of(schema));
    let (int_or_string, preserve) =
        (flag(schema, "x-kubernetes-int-or-string"), flag(schema, "x-kubernetes-preserve-unknown-fields"));
    if ty == "array" && schema["items"].is_null() {
        faults.push(required(format!("{path}.items"), "must be specified"));
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], Level::Item, &format!("{path}.items"), faults);
    }
    for (name, member) in members(schema, "properties") {
        invariants(member, Level::Field, &format!("{path}.properties[{name}]"), faults);
    }
    if !schema["additionalProperties"].is_null() {
        let at = format!("{path}.additionalProperties");
        if level == Level::Root {
            faults.push(forbidden(at.clone(), "must not be used at the root"));
        }
        if embedded {
            faults.push(forbidden(at.clone(), "must not be used if x-kubernetes-embedded-resource is set"));
        }
        if schema["additionalProperties"].is_object() {
            invariants(&schema["additionalProperties"], Level::Field, &at, faults);
        }
    }
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if int_or_string && flag(schema, name) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            faults.push(invalid(format!("{path}.{name}"), &true.into(), why));
        }
    }
    validations(schema, level, path, faults);
    let at_type = format!("{path}.type");
    match (embedded, ty) {
        (true, "object") => {}
        (true, "") => faults.push(required(at_type, "must be object if x-kubernetes-embedded-resource is true")),
        (true, _) => {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            faults.push(invalid(at_type, &schema["type"], why));
        }
        (false, "") if !int_or_string && !preserve => {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            faults.push(required(at_type, why));
        }
        (false, other) if level == Level::Root && other != "object" && !other.is_empty() => {
            faults.push(invalid(at_type, &schema["type"], "must be object at the root"));
        }
        _ => {}
    }
    resource_fields(schema, level, path, faults);
    let is_empty = schema["properties"].as_object().is_none_or(serde_json::Map::is_empty);
    if embedded && !preserve && is_empty {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        faults.push(required(format!("{path}.properties"), why));
    }
}

/// `kind`, `apiVersion` and `metadata` mean the same everywhere.
fn resource_fields(schema: &Value, level: Level, path: &str, faults: &mut Vec<Fault>) {
    if level != Level::Root && !flag(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    let properties = &schema["properties"];
    for name in ["kind", "apiVersion"] {
        if let Some(field) = properties.get(name).filter(|field| type_of(field) != "string") {
            let ty = type_of(field).into();
            faults.push(invalid(format!("{path}.properties[{name}].type"), &ty, "must be string"));
        }
    }
    let Some(metadata) = properties.get("metadata") else { return };
    let at = format!("{path}.properties[metadata]");
    if type_of(metadata) != "object" {
        faults.push(invalid(format!("{at}.type"), &type_of(metadata).into(), "must be object"));
    }
    let other = |name: &str| !matches!(name, "type" | "properties" | "default" | "description" | "title");
    let strange_member = members(metadata, "properties").any(|(name, _)| name != "name" && name != "generateName");
    let strange = metadata.as_object().is_some_and(|metadata| metadata.keys().any(|name| other(name)));
    if level == Level::Root && (strange_member || strange) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        faults.push(forbidden(at, why));
    }
}

fn validations(schema: &Value, level: Level, path: &str, faults: &mut Vec<Fault>) {
    let either = serde_json::json!([{ "type": "integer" }, { "type": "string" }]);
    let is_either = |schema: &Value| schema["anyOf"] == either;
    for (index, one) in elements(schema, "anyOf").filter(|_| !is_either(schema)) {
        nested(one, level, &format!("{path}.anyOf[{index}]"), false, faults);
    }
    for (index, one) in elements(schema, "allOf") {
        nested(one, level, &format!("{path}.allOf[{index}]"), index == 0 && is_either(one), faults);
    }
    for (index, one) in elements(schema, "oneOf") {
        nested(one, level, &format!("{path}.oneOf[{index}]"), false, faults);
    }
    if schema["not"].is_object() {
        nested(&schema["not"], level, &format!("{path}.not"), false, faults);
    }
    if let Some(Err(error)) = schema["pattern"].as_str().filter(|text| !text.is_empty()).map(Regex::new) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        faults.push(invalid(format!("{path}.pattern"), &schema["pattern"], &why));
    }
}

/// What may not be said in `allOf`, `anyOf`, `oneOf` and `not`: structure belongs outside.
const UNSTRUCTURAL: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(schema: &Value, level: Level, path: &str, is_either: bool, faults: &mut Vec<Fault>) {
    if !is_either {
        validations(schema, level, path, faults);
    }
    for (name, why) in UNSTRUCTURAL {
        let said = match schema.get(*name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        };
        if said {
            faults.push(forbidden(format!("{path}.{name}"), why));
        }
    }
    if schema["items"].is_object() {
        nested(&schema["items"], level, &format!("{path}.items"), false, faults);
    }
    for (name, member) in members(schema, "properties") {
        nested(member, Level::Field, &format!("{path}.properties[{name}]"), false, faults);
    }
    if schema["properties"].get("metadata").is_some() {
        let why = "must not be specified in a nested context";
        faults.push(forbidden(format!("{path}.properties[metadata]"), why));
    }
}

/// Every field that a junctor speaks of is also specified outside.
fn completeness(schema: &Value, structure: &Value, path: &str, faults: &mut Vec<Fault>) {
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in elements(schema, junctor) {
            specified(one, structure, (&format!("{path}.{junctor}[{index}]"), path), faults);
        }
    }
    if schema["not"].is_object() {
        specified(&schema["not"], structure, (&format!("{path}.not"), path), faults);
    }
    if schema["items"].is_object() {
        completeness(&schema["items"], &structure["items"], &format!("{path}.items"), faults);
    }
    for (name, member) in members(schema, "properties") {
        completeness(member, &structure["properties"][name], &format!("{path}.properties[{name}]"), faults);
    }
    if schema["additionalProperties"].is_object() {
        let at = format!("{path}.additionalProperties");
        completeness(&schema["additionalProperties"], &structure["additionalProperties"], &at, faults);
    }
}

fn specified(nested: &Value, structure: &Value, (path, outside): (&str, &str), faults: &mut Vec<Fault>) {
    for (name, member) in members(nested, "properties") {
        let at = format!("{path}.properties[{name}]");
        let there = format!("{outside}.properties[{name}]");
        match structure["properties"].get(name) {
            Some(structure) => specified(member, structure, (&at, &there), faults),
            None => {
                let why = format!("because it is defined in {at}");
                faults.push(required(there, &why));
            }
        }
    }
    if nested["items"].is_object() {
        let (at, there) = (format!("{path}.items"), format!("{outside}.items"));
        match structure["items"].is_object() {
            true => specified(&nested["items"], &structure["items"], (&at, &there), faults),
            false => faults.push(required(there, &format!("because it is defined in {at}"))),
        }
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in elements(nested, junctor) {
            specified(one, structure, (&format!("{path}.{junctor}[{index}]"), outside), faults);
        }
    }
}

/// Words of JSON schema that custom kinds do not have, and lists that name their keys rightly.
fn words(schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    for (name, why) in [
        ("$ref", "$ref is not supported"),
        ("id", "id is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
    ] {
        let said =
            schema.get(name).is_some_and(|value| !value.is_null() && value != "" && value != &serde_json::json!({}));
        if said {
            faults.push(forbidden(format!("{path}.{name}"), why));
        }
    }
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        faults.push(forbidden(format!("{path}.uniqueItems"), why));
    }
    if schema["type"] == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        faults.push(forbidden(format!("{path}.type"), why));
    } else if !type_of(schema).is_empty() && matches!(Structural::read(schema).ty, Type::Any) {
        let ty = type_of(schema);
        let supported = r#"supported values: "array", "boolean", "integer", "number", "object", "string""#;
        let message = format!("Unsupported value: {ty:?}: {supported}");
        faults.push(fault("FieldValueNotSupported", format!("{path}.type"), message));
    }
    if schema["items"].is_array() {
        faults.push(forbidden(format!("{path}.items"), "items must be a schema object and not an array"));
    }
    let named = schema["properties"].as_object().is_some_and(|properties| !properties.is_empty());
    let additional = !matches!(&schema["additionalProperties"], Value::Null | Value::Bool(true));
    if named && additional {
        let why = "additionalProperties and properties are mutual exclusive";
        faults.push(forbidden(format!("{path}.additionalProperties"), why));
    }
    super::lists::check_list_type(schema, path, faults);
    for (name, member) in members(schema, "properties") {
        words(member, &format!("{path}.properties[{name}]"), faults);
    }
    for name in ["items", "additionalProperties", "not"] {
        if schema[name].is_object() {
            words(&schema[name], &format!("{path}.{name}"), faults);
        }
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in elements(schema, junctor) {
            words(one, &format!("{path}.{junctor}[{index}]"), faults);
        }
    }
}

/// A default is itself a valid, pruned value.
fn defaults(schema: &Value, path: &str, at_root: bool, faults: &mut Vec<Fault>) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let structural = Structural::read(schema);
        let at = format!("{path}.default");
        let mut pruned = serde_json::json!({ "default": default });
        let holder = Structural {
            ty: Type::Object,
            properties: std::iter::once(("default".to_owned(), structural.clone())).collect(),
            ..Structural::default()
        };
        if !holder.prune(&mut pruned).is_empty() {
            faults.push(invalid(at, default, "must be pruned"));
        } else {
            let mut filled = default.clone();
            structural.fill_defaults(&mut filled);
            let found = validate(&filled, &structural, None).into_iter().map(|found| {
                let rest = if found.path.is_empty() { String::new() } else { format!(".{}", found.path) };
                Fault { path: format!("{path}.default{rest}"), ..found }
            });
            faults.extend(found);
        }
    }
    for (name, member) in members(schema, "properties") {
        let at = format!("{path}.properties[{name}]");
        if at_root && name == "metadata" {
            continue;
        }
        defaults(member, &at, false, faults);
    }
    for name in ["items", "additionalProperties"] {
        if schema[name].is_object() {
            defaults(&schema[name], &format!("{path}.{name}"), false, faults);
        }
    }
}
