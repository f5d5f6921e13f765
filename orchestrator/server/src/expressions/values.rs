//! Between JSON and CEL's values. A schema says which texts are times, durations and bytes. Names that are no
//! identifiers are written escaped in expressions, as Kubernetes escapes them.

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
pub const RESERVED: &[&str] = &[
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

/// Names stay as they are: `a__dash__b` of an expression is read as the name that it stands for.
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
                map.insert(key(name), from_json(member, schema.and_then(|schema| schema.member(name))));
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

/// The name that an identifier stands for.
pub(super) fn unescaped(name: &str) -> String {
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return word.to_owned();
    }
    let plain = name.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    plain.replace("__underscores__", "__")
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
