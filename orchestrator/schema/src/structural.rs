//! The schema of a custom kind, read once from `openAPIV3Schema`: what an object may have (`structural/prune.rs`), gets
//! (`structural/defaults.rs`) and must keep to (`structural/validate.rs`), and how server-side apply merges it.
//! Whether a schema may be one at all is decided in `structural/check.rs`.

mod check;
mod defaults;
mod formats;
mod lists;
mod prune;
mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::table::{ListType, TypeRef};

pub use check::check_schema;
pub use lists::check_lists;
pub use validate::validate;

/// What is wrong with a value or a schema, at which path; the caller knows how its own world calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kubernetes' cause: `FieldValueRequired`, `FieldValueInvalid`, …
    pub reason: &'static str,
    /// `spec.replicas`, `spec.list[0].name`, `spec.map[key]`; empty for the root.
    pub path: String,
    /// All behind the path: `Required value: …`, `Invalid value: 3: …`.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// None given.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn of(name: &str) -> Self {
        match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => Self::Any,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What is known of an object's type: nothing, an entry of the table, or the schema of a custom kind.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'s> {
    Free,
    Table(TypeRef),
    Custom(&'s Structural),
}

impl From<Option<TypeRef>> for Shape<'_> {
    fn from(ty: Option<TypeRef>) -> Self {
        ty.map_or(Self::Free, Self::Table)
    }
}

impl Shape<'_> {
    pub fn table(self) -> Option<TypeRef> {
        match self {
            Self::Table(ty) => Some(ty),
            Self::Free | Self::Custom(_) => None,
        }
    }
}

/// What is known of members that `properties` does not name.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    #[default]
    None,
    Any,
    Schema(Box<Structural>),
}

/// One node of a schema.
#[derive(Debug, Clone, Default)]
pub struct Structural {
    pub ty: Type,
    pub properties: BTreeMap<String, Structural>,
    pub items: Option<Box<Structural>>,
    pub additional: Additional,
    pub nullable: bool,
    pub int_or_string: bool,
    pub preserve: bool,
    pub embedded: bool,
    pub list_type: Option<ListType>,
    pub list_map_keys: Vec<String>,
    /// The whole object is one value to server-side apply.
    pub map_atomic: bool,
    pub default: Option<Value>,
    pub checks: Checks,
    /// `x-kubernetes-validations`, as they stand.
    pub rules: Vec<Value>,
    /// Said at the root by who knows the kind: its status is written at an address of its own.
    pub status_apart: bool,
}

/// What a value must keep to, beyond its structure.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    pub required: Vec<String>,
    pub choices: Option<Vec<Value>>,
    pub format: String,
    pub pattern: Option<(String, Option<Regex>)>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

impl Structural {
    /// Reads an `openAPIV3Schema` that `check_schema` has nothing against; what makes no sense is passed over.
    pub fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema[name].as_bool().unwrap_or(false);
        let additional = match &schema["additionalProperties"] {
            Value::Bool(true) => Additional::Any,
            Value::Object(_) => Additional::Schema(Box::new(Self::read(&schema["additionalProperties"]))),
            _ => Additional::None,
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        Self {
            ty: Type::of(schema["type"].as_str().unwrap_or_default()),
            properties: properties.map(|(name, schema)| (name.clone(), Self::read(schema))).collect(),
            items: schema["items"].is_object().then(|| Box::new(Self::read(&schema["items"]))),
            additional,
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list_type: match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Some(ListType::Set),
                Some("map") => Some(ListType::Map),
                Some(_) => Some(ListType::Atomic),
                None => None,
            },
            list_map_keys: texts(&schema["x-kubernetes-list-map-keys"]),
            map_atomic: schema["x-kubernetes-map-type"] == "atomic",
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            checks: Checks::read(schema),
            rules: schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default(),
            status_apart: false,
        }
    }

    /// The schema of a member; `None` when nothing is said of it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// Whether any node says a default: objects without need not be looked at again.
    pub fn has_defaults(&self) -> bool {
        let additional = matches!(&self.additional, Additional::Schema(schema) if schema.has_defaults());
        self.default.is_some()
            || additional
            || self.properties.values().any(Self::has_defaults)
            || self.items.as_ref().is_some_and(|items| items.has_defaults())
    }
}

impl Checks {
    fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema[name].as_bool().unwrap_or(false);
        let nested = |name: &str| schema[name].as_array().into_iter().flatten().map(Structural::read).collect();
        let pattern = schema["pattern"].as_str().filter(|text| !text.is_empty());
        Self {
            required: texts(&schema["required"]),
            choices: schema["enum"].as_array().cloned(),
            format: schema["format"].as_str().unwrap_or_default().to_owned(),
            pattern: pattern.map(|text| (text.to_owned(), Regex::new(text).ok())),
            minimum: schema["minimum"].as_f64(),
            maximum: schema["maximum"].as_f64(),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: schema["multipleOf"].as_f64(),
            min_length: schema["minLength"].as_u64(),
            max_length: schema["maxLength"].as_u64(),
            min_items: schema["minItems"].as_u64(),
            max_items: schema["maxItems"].as_u64(),
            unique_items: flag("uniqueItems"),
            min_properties: schema["minProperties"].as_u64(),
            max_properties: schema["maxProperties"].as_u64(),
            all_of: nested("allOf"),
            any_of: nested("anyOf"),
            one_of: nested("oneOf"),
            not: schema["not"].is_object().then(|| Box::new(Structural::read(&schema["not"]))),
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// `base.name`, or `name` at the root.
fn child(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
}

#[cfg(test)]
mod tests;
