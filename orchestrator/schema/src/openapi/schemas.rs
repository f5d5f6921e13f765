//! Component schemas: every type that a kind reaches, with the extensions that merges and apply need.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{OpenApiKind, descriptions, group_and_version, group_version_kind, reference};
use crate::table::{Container, Element, Field, ListType, Scalar, TypeRef, object_at, table};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// What upstream's types say of the fields that every object and every list has. Built-in kinds have their texts from
/// the sources; these are for custom ones.
const API_VERSION: (&str, &str) = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized \
     schemas to the latest internal value, and may reject unrecognized values. More info: ",
    "#resources",
);
const KIND: (&str, &str) = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
     endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: ",
    "#types-kinds",
);
const OBJECT_METADATA: (&str, &str) = ("Standard object's metadata. More info: ", "#metadata");
const LIST_METADATA: (&str, &str) = ("Standard list metadata. More info: ", "#types-kinds");

/// The schemas of one document while it grows.
#[derive(Default)]
pub(super) struct Schemas {
    schemas: BTreeMap<String, Value>,
}

/// What the operations of a kind refer to.
pub(super) struct Names {
    pub(super) one: String,
    pub(super) list: String,
}

impl Schemas {
    pub(super) fn finish(mut self) -> Value {
        descriptions::describe(&mut self.schemas);
        Value::Object(self.schemas.into_iter().collect())
    }

    pub(super) fn add_kind(&mut self, ty: TypeRef, api_version: &str, plural: &str) -> Names {
        self.add(ty);
        self.name_kind(ty.name(), api_version, ty.short_name());
        let list_kind = format!("{}List", ty.short_name());
        let list = table().by_kind(api_version, &list_kind).map_or(ty, |list| {
            self.add(list);
            self.name_kind(list.name(), api_version, &list_kind);
            self.describe_list(list.name(), ty.short_name(), plural);
            list
        });
        Names { one: ty.name().to_owned(), list: list.name().to_owned() }
    }

    /// The body of every patch: its content type says the rest.
    pub(super) fn add_patch(&mut self) {
        self.schemas.insert(format!("{META}.Patch"), json!({ "type": "object" }));
    }

    /// The sources have one list for all kinds, which says nothing of any.
    fn describe_list(&mut self, name: &str, kind: &str, plural: &str) {
        let Some(schema) = self.schemas.get_mut(name).filter(|schema| schema.get("description").is_none()) else {
            return; // a subresource's word must not stand in for the kind's
        };
        schema["description"] = format!("{kind}List is a list of {kind}").into();
        for (name, property) in list_members(plural) {
            schema["properties"][name]["description"] = property.into();
        }
    }

    fn name_kind(&mut self, name: &str, api_version: &str, kind: &str) {
        let Some(schema) = self.schemas.get_mut(name) else {
            return;
        };
        let named = group_version_kind(api_version, kind);
        match schema.get_mut("x-kubernetes-group-version-kind") {
            Some(Value::Array(list)) if list.contains(&named) => {}
            Some(Value::Array(list)) => list.push(named),
            _ => schema["x-kubernetes-group-version-kind"] = json!([named]),
        }
    }

    fn add(&mut self, ty: TypeRef) {
        let mut waiting = vec![ty];
        while let Some(ty) = waiting.pop() {
            if self.schemas.contains_key(ty.name()) {
                continue;
            }
            self.schemas.insert(ty.name().to_owned(), schema_of(ty));
            waiting.extend(ty.fields().iter().filter_map(Field::object));
            for scalar in ty.fields().iter().filter_map(Field::scalar) {
                if let Some((name, schema)) = named_scalar(scalar) {
                    self.schemas.insert(name.to_owned(), schema);
                }
            }
        }
    }

    /// A custom kind: its own schema, with the three fields that every object has.
    pub(super) fn add_custom(&mut self, api_version: &str, kind: &OpenApiKind<'_>, schema: &Value) -> Names {
        let (group, version) = group_and_version(api_version);
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let one = format!("{}.{version}.{}", reversed.join("."), kind.kind);
        let list = format!("{one}List");
        let mut schema = if schema.is_object() { schema.clone() } else { json!({ "type": "object" }) };
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        for name in ["apiVersion", "kind"] {
            schema["properties"][name] = json!({ "type": "string" });
        }
        schema["properties"]["metadata"] = json!({ "allOf": [reference(&format!("{META}.ObjectMeta"))] });
        for (name, text) in type_meta().into_iter().chain([("metadata", said(OBJECT_METADATA))]) {
            schema["properties"][name]["description"] = text.into();
        }
        self.schemas.insert(one.clone(), schema);
        let items = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "allOf": [reference(&format!("{META}.ListMeta"))] },
                "items": { "type": "array", "items": reference(&one) },
            },
        });
        self.schemas.insert(list.clone(), items);
        self.describe_list(&list, kind.kind, kind.plural);
        self.name_kind(&one, api_version, kind.kind);
        self.name_kind(&list, api_version, &format!("{}List", kind.kind));
        for name in ["ObjectMeta", "ListMeta"] {
            if let Some(ty) = table().by_name(&format!("{META}.{name}")) {
                self.add(ty);
            }
        }
        Names { one, list }
    }
}

fn said((text, place): (&str, &str)) -> String {
    format!("{text}{CONVENTIONS}{place}")
}

fn type_meta() -> [(&'static str, String); 2] {
    [("apiVersion", said(API_VERSION)), ("kind", said(KIND))]
}

fn list_members(plural: &str) -> impl Iterator<Item = (&'static str, String)> {
    let items = format!("List of {plural}. More info: {CONVENTIONS}");
    type_meta().into_iter().chain([("metadata", said(LIST_METADATA)), ("items", items)])
}

fn schema_of(ty: TypeRef) -> Value {
    let mut schema = json!({ "type": "object" });
    let properties: Map<String, Value> =
        ty.fields().iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<&str> = ty.fields().iter().filter(|field| is_required(field)).map(|field| field.name).collect();
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if ty.atomic() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    schema
}

/// Upstream's generator asks for what Go always prints unless it is marked optional.
fn is_required(field: &Field) -> bool {
    field.required || (field.always && !field.optional)
}

fn property(field: &Field) -> Value {
    let element = element(field.element, field.pointer && field.is_single());
    let mut schema = match field.container {
        Container::One => element,
        Container::List => json!({ "type": "array", "items": element }),
        Container::Map => json!({ "type": "object", "additionalProperties": element }),
    };
    match (field.container, field.list_type) {
        (Container::List, ListType::Set) => schema["x-kubernetes-list-type"] = json!("set"),
        (Container::List, ListType::Map) => {
            schema["x-kubernetes-list-type"] = json!("map");
            schema["x-kubernetes-list-map-keys"] = json!(field.list_map_keys);
        }
        (Container::List, _) => schema["x-kubernetes-list-type"] = json!("atomic"),
        (_, ListType::Atomic) => schema["x-kubernetes-map-type"] = json!("atomic"),
        _ => {}
    }
    if let Some(key) = field.patch_merge_key {
        schema["x-kubernetes-patch-merge-key"] = json!(key);
    }
    let strategy = match (field.patch_merge, field.patch_retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => "",
    };
    if !strategy.is_empty() {
        schema["x-kubernetes-patch-strategy"] = json!(strategy);
    }
    if let Some(default) = &field.default {
        schema["default"] = default.clone();
    }
    beside_reference(schema)
}

/// A `$ref` must stand alone: whatever joins it moves it into an `allOf`.
fn beside_reference(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema
        && map.len() > 1
        && let Some(target) = map.remove("$ref")
    {
        map.insert("allOf".to_owned(), json!([{ "$ref": target }]));
    }
    schema
}

fn element(element: Element, pointer: bool) -> Value {
    match element {
        Element::Object(index) => {
            let target = reference(object_at(index).name());
            if pointer { target } else { json!({ "allOf": [target], "default": {} }) }
        }
        Element::Scalar(scalar) => match named_scalar(scalar) {
            Some((name, _)) => reference(name),
            None => plain_scalar(scalar),
        },
    }
}

fn plain_scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => json!({ "type": "boolean" }),
        Scalar::Int32 => json!({ "type": "integer", "format": "int32" }),
        Scalar::Int64 => json!({ "type": "integer", "format": "int64" }),
        Scalar::Float64 => json!({ "type": "number", "format": "double" }),
        Scalar::Bytes => json!({ "type": "string", "format": "byte" }),
        Scalar::Strings => json!({ "type": "array", "items": { "type": "string", "default": "" } }),
        _ => json!({ "type": "string" }),
    }
}

/// Leaves that have a schema of their own upstream.
fn named_scalar(scalar: Scalar) -> Option<(&'static str, Value)> {
    Some(match scalar {
        Scalar::Time => {
            ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", json!({ "type": "string", "format": "date-time" }))
        }
        Scalar::MicroTime => {
            ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", json!({ "type": "string", "format": "date-time" }))
        }
        Scalar::Duration => ("io.k8s.apimachinery.pkg.apis.meta.v1.Duration", json!({ "type": "string" })),
        Scalar::Quantity => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity",
            json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        ),
        Scalar::IntOrString => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        ),
        Scalar::Raw => ("io.k8s.apimachinery.pkg.runtime.RawExtension", json!({ "type": "object" })),
        Scalar::FieldsV1 => ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", json!({ "type": "object" })),
        Scalar::SchemaOrBool => {
            ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", json!({}))
        }
        Scalar::SchemaOrArray => {
            ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", json!({}))
        }
        Scalar::SchemaOrStrings => {
            ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray", json!({}))
        }
        _ => return None,
    })
}
