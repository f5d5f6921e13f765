//! `openapi.v2.Document` in protobuf. Source: gnostic's OpenAPIv2.proto; its field numbers are the tables below.

use serde_json::{Map, Value};

use crate::protobuf::{put_bytes, put_varint};

/// How a member of a JSON object lies in its message.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Texts,
    Bool,
    Int,
    Double,
    /// `Any`, which holds YAML; JSON is YAML.
    Any,
    Anys,
    Message(&'static [Member]),
    Messages(&'static [Member]),
    /// A message whose only field, of this number, is a list of `{name = 1, value = 2}`.
    Named(u32, &'static [Member]),
    /// A message of which the member is this one field.
    Wrapped(u32, &'static Form),
    /// A schema, or whether there may be more.
    SchemaOrBool,
    Parameters,
}

/// Name in JSON, number, form.
type Member = (&'static str, u32, Form);

/// Members whose names begin with `x-` are a list of this number; it stands under this name in a table.
const EXTENSIONS: &str = "x-";

static DOCUMENT: [Member; 4] = [
    ("swagger", 1, Form::Text),
    ("info", 2, Form::Message(&INFO)),
    ("security", 12, Form::Messages(&REQUIREMENT)),
    ("securityDefinitions", 13, Form::Named(1, &SECURITY)),
];
const PATHS: u32 = 8;
const DEFINITIONS: u32 = 9;
static INFO: [Member; 3] = [("title", 1, Form::Text), ("version", 2, Form::Text), ("description", 3, Form::Text)];
/// The only scheme there is.
static REQUIREMENT: [Member; 1] = [("BearerToken", 1, Form::Message(&[]))];
static SECURITY: [Member; 1] = [("", 2, Form::Message(&API_KEY))];
static API_KEY: [Member; 4] =
    [("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("description", 4, Form::Text)];
static PATH_ITEM: [Member; 9] = [
    ("get", 2, Form::Message(&OPERATION)),
    ("put", 3, Form::Message(&OPERATION)),
    ("post", 4, Form::Message(&OPERATION)),
    ("delete", 5, Form::Message(&OPERATION)),
    ("options", 6, Form::Message(&OPERATION)),
    ("head", 7, Form::Message(&OPERATION)),
    ("patch", 8, Form::Message(&OPERATION)),
    ("parameters", 9, Form::Parameters),
    (EXTENSIONS, 10, Form::Any),
];
static OPERATION: [Member; 11] = [
    ("tags", 1, Form::Texts),
    ("summary", 2, Form::Text),
    ("description", 3, Form::Text),
    ("operationId", 5, Form::Text),
    ("produces", 6, Form::Texts),
    ("consumes", 7, Form::Texts),
    ("parameters", 8, Form::Parameters),
    ("responses", 9, Form::Named(1, &RESPONSE_VALUE)),
    ("schemes", 10, Form::Texts),
    ("deprecated", 11, Form::Bool),
    (EXTENSIONS, 13, Form::Any),
];
static RESPONSE_VALUE: [Member; 1] = [("", 1, Form::Message(&RESPONSE))];
static RESPONSE: [Member; 2] =
    [("description", 1, Form::Text), ("schema", 2, Form::Wrapped(1, &Form::Message(&SCHEMA)))];
static BODY: [Member; 6] = [
    ("description", 1, Form::Text),
    ("name", 2, Form::Text),
    ("in", 3, Form::Text),
    ("required", 4, Form::Bool),
    ("schema", 5, Form::Message(&SCHEMA)),
    (EXTENSIONS, 6, Form::Any),
];
static QUERY: [Member; 8] = [
    ("required", 1, Form::Bool),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("allowEmptyValue", 5, Form::Bool),
    ("type", 6, Form::Text),
    ("format", 7, Form::Text),
    ("uniqueItems", 20, Form::Bool),
];
static PATH: [Member; 7] = [
    ("required", 1, Form::Bool),
    ("in", 2, Form::Text),
    ("description", 3, Form::Text),
    ("name", 4, Form::Text),
    ("type", 5, Form::Text),
    ("format", 6, Form::Text),
    ("uniqueItems", 19, Form::Bool),
];
static SCHEMA: [Member; 27] = [
    ("$ref", 1, Form::Text),
    ("format", 2, Form::Text),
    ("title", 3, Form::Text),
    ("description", 4, Form::Text),
    ("default", 5, Form::Any),
    ("multipleOf", 6, Form::Double),
    ("maximum", 7, Form::Double),
    ("exclusiveMaximum", 8, Form::Bool),
    ("minimum", 9, Form::Double),
    ("exclusiveMinimum", 10, Form::Bool),
    ("maxLength", 11, Form::Int),
    ("minLength", 12, Form::Int),
    ("pattern", 13, Form::Text),
    ("maxItems", 14, Form::Int),
    ("minItems", 15, Form::Int),
    ("uniqueItems", 16, Form::Bool),
    ("maxProperties", 17, Form::Int),
    ("minProperties", 18, Form::Int),
    ("required", 19, Form::Texts),
    ("enum", 20, Form::Anys),
    ("additionalProperties", 21, Form::SchemaOrBool),
    ("type", 22, Form::Wrapped(1, &Form::Text)),
    ("items", 23, Form::Wrapped(1, &Form::Message(&SCHEMA))),
    ("properties", 25, Form::Named(1, &SCHEMA)),
    ("readOnly", 27, Form::Bool),
    ("example", 30, Form::Any),
    (EXTENSIONS, 31, Form::Any),
];

static ONE_SCHEMA: Form = Form::Message(&SCHEMA);

pub(super) fn head(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

/// Fields of `Paths`.
pub(super) fn paths(paths: &Map<String, Value>) -> Vec<u8> {
    named(2, &PATH_ITEM, paths)
}

/// Fields of `Definitions`.
pub(super) fn definitions(definitions: &Map<String, Value>) -> Vec<u8> {
    named(1, &SCHEMA, definitions)
}

/// Messages that occur more than once are merged by who reads them.
pub(super) fn put_part(out: &mut Vec<u8>, paths: &[u8], definitions: &[u8]) {
    put_bytes(out, PATHS, paths);
    put_bytes(out, DEFINITIONS, definitions);
}

fn named(number: u32, members: &'static [Member], object: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in object {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, &message(members, value));
        put_bytes(&mut out, number, &entry);
    }
    out
}

fn message(members: &[Member], value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, number, form) in members {
        match *name {
            EXTENSIONS => {
                let all = value.as_object().into_iter().flatten();
                for (name, value) in all.filter(|(name, _)| name.starts_with(EXTENSIONS)) {
                    let mut entry = Vec::new();
                    put_bytes(&mut entry, 1, name.as_bytes());
                    put_bytes(&mut entry, 2, &any(value));
                    put_bytes(&mut out, *number, &entry);
                }
            }
            "" => put(&mut out, *number, *form, value),
            name => match &value[name] {
                Value::Null => {}
                member => put(&mut out, *number, *form, member),
            },
        }
    }
    out
}

fn put(out: &mut Vec<u8>, number: u32, form: Form, value: &Value) {
    let each = || value.as_array().into_iter().flatten();
    match form {
        Form::Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Texts => each().for_each(|one| put(out, number, Form::Text, one)),
        Form::Bool => put_number(out, number, u64::from(value == true)),
        // Two's complement, as protobuf has it.
        Form::Int => put_number(out, number, value.as_i64().unwrap_or(0).cast_unsigned()),
        Form::Double => {
            put_key(out, number, 1);
            out.extend_from_slice(&value.as_f64().unwrap_or(0.0).to_le_bytes());
        }
        Form::Any => put_bytes(out, number, &any(value)),
        Form::Anys => each().for_each(|one| put(out, number, Form::Any, one)),
        Form::Message(members) => put_bytes(out, number, &message(members, value)),
        Form::Messages(members) => each().for_each(|one| put(out, number, Form::Message(members), one)),
        Form::Named(inner, members) => {
            let entries = value.as_object().map(|object| named(inner, members, object)).unwrap_or_default();
            put_bytes(out, number, &entries);
        }
        Form::Wrapped(inner, form) => {
            let mut wrapped = Vec::new();
            put(&mut wrapped, inner, *form, value);
            put_bytes(out, number, &wrapped);
        }
        Form::SchemaOrBool if value.is_boolean() => put(out, number, Form::Wrapped(2, &Form::Bool), value),
        Form::SchemaOrBool => put(out, number, Form::Wrapped(1, &ONE_SCHEMA), value),
        Form::Parameters => each().for_each(|one| put_bytes(out, number, &parameter(one))),
    }
}

/// `ParametersItem { parameter = 1 }` of `Parameter { body = 1, non_body = 2 { query = 3, path = 4 } }`.
fn parameter(parameter: &Value) -> Vec<u8> {
    let (kind, inner) = match parameter["in"].as_str() {
        Some("body") => (1, message(&BODY, parameter)),
        place => {
            let (number, members): (u32, &[Member]) = if place == Some("path") { (4, &PATH) } else { (3, &QUERY) };
            let mut inner = Vec::new();
            put_bytes(&mut inner, number, &message(members, parameter));
            (2, inner)
        }
    };
    let (mut one, mut item) = (Vec::new(), Vec::new());
    put_bytes(&mut one, kind, &inner);
    put_bytes(&mut item, 1, &one);
    item
}

fn any(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u64) {
    put_varint(out, u64::from(number) << 3 | wire_type);
}

fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, 0);
    put_varint(out, value);
}
