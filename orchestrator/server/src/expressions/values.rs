//! Between JSON and CEL's values. Names that are no identifiers are escaped as Kubernetes escapes them; a schema says
//! which texts are times, durations and bytes.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_schema::Structural;
use amphipod_schema::structural::Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use serde_json::Value;

/// CEL's own words, which no field may be.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Without a schema names stay as they are and are escaped beside, so that both `object.metadata.labels['a-b']` and
/// `object.spec.a__dash__b` find what they mean.
pub fn from_json(value: &Value, schema: Option<&Structural>) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (schema.map(|schema| schema.ty), number.as_i64()) {
            (Some(Type::Number), _) | (_, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
            (_, Some(integer)) => Cel::Int(integer),
        },
        Value::String(text) => from_text(text, schema),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            Cel::List(Arc::new(list.iter().map(|item| from_json(item, items)).collect()))
        }
        Value::Object(members) => {
            let mut map = HashMap::with_capacity(members.len());
            for (name, member) in members {
                let value = from_json(member, schema.and_then(|schema| schema.member(name)));
                if schema.is_none_or(|schema| schema.properties.contains_key(name))
                    && let Some(escaped) = escaped(name)
                {
                    map.insert(key(&escaped), value.clone());
                    if schema.is_some() {
                        continue;
                    }
                }
                map.insert(key(name), value);
            }
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// The optional that an absent or present value is.
pub fn optional(value: Option<Cel>) -> Cel {
    Cel::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn from_text(text: &str, schema: Option<&Structural>) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    match schema.filter(|schema| !schema.int_or_string).map(|schema| schema.checks.format.as_str()) {
        Some("date-time") => chrono::DateTime::parse_from_rfc3339(text).map_or_else(|_| plain(), Cel::Timestamp),
        Some("date") => {
            chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")).map_or_else(|_| plain(), Cel::Timestamp)
        }
        Some("duration") => text
            .parse::<jiff::SignedDuration>()
            .map_or_else(|_| plain(), |span| Cel::Duration(chrono::Duration::nanoseconds(span.as_nanos() as i64))),
        Some("byte") => STANDARD.decode(text).map_or_else(|_| plain(), |bytes| Cel::Bytes(Arc::new(bytes))),
        _ => plain(),
    }
}

/// The identifier that stands for a name; `None` when the name is one itself.
pub(super) fn escaped(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return None;
    }
    Some(
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

/// What an expression made, as JSON. The error is a text for the client.
pub fn to_json(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => (*flag).into(),
        Cel::Int(number) => (*number).into(),
        Cel::UInt(number) => (*number).into(),
        Cel::Float(number) => (*number).into(),
        Cel::String(text) => text.as_str().into(),
        Cel::Bytes(bytes) => STANDARD.encode(bytes.as_slice()).into(),
        Cel::List(list) => Value::Array(list.iter().map(to_json).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut object = serde_json::Map::new();
            for (name, value) in map.map.iter() {
                if let Some(value) = unwrapped(value) {
                    object.insert(name.to_string(), to_json(value)?);
                }
            }
            Value::Object(object)
        }
        Cel::Timestamp(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
        Cel::Duration(span) => {
            let span = jiff::SignedDuration::from_nanos(span.num_nanoseconds().unwrap_or(i64::MAX));
            format!("{span:#}").into()
        }
        Cel::Opaque(_) => {
            unwrapped(value).filter(|inner| !matches!(inner, Cel::Opaque(_))).map_or(Ok(Value::Null), to_json)?
        }
        Cel::Function(..) => return Err("an expression must not give a function".to_owned()),
    })
}

/// An optional is what it holds, or nothing.
fn unwrapped(value: &Cel) -> Option<&Cel> {
    match value {
        Cel::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>() {
            Some(optional) => optional.value(),
            None => Some(value),
        },
        other => Some(other),
    }
}
