//! The dozen types whose message looks nothing like their JSON: quantities, times, unions of schemas.

use amphipod_api::quantity;
use serde_json::Value;

use super::message::message;
use super::wire::{Fields, Wire};
use super::{DEPTH_MAX, DecodeError, embedded, embedded_json};
use crate::table::{Scalar, schema_props};
use crate::time;

pub(super) fn leaf(scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    if depth >= DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    match scalar {
        Scalar::Quantity => quantity_of(bytes),
        Scalar::Time => time_of(bytes, false),
        Scalar::MicroTime => time_of(bytes, true),
        Scalar::Duration => duration(bytes),
        Scalar::IntOrString => int_or_string(bytes),
        Scalar::Raw => embedded(only(bytes)?, depth),
        Scalar::FieldsV1 => embedded_json(only(bytes)?),
        Scalar::Strings => strings(bytes),
        Scalar::SchemaOrBool => schema_or_bool(bytes, depth),
        Scalar::SchemaOrArray => schema_or_array(bytes, depth),
        Scalar::SchemaOrStrings => schema_or_strings(bytes, depth),
        Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::String | Scalar::Bytes => {
            Err(DecodeError::WireType(2))
        }
    }
}

/// The bytes of field 1, the only one of many wrappers.
fn only(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut found: &[u8] = &[];
    for field in Fields::new(bytes) {
        if let (1, value) = field? {
            found = value.bytes()?;
        }
    }
    Ok(found)
}

fn quantity_of(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(only(bytes)?).map_err(|_| DecodeError::Utf8("quantity"))?;
    if text.is_empty() {
        return Ok(Value::String("0".to_owned()));
    }
    let canonical = quantity::canonical(text);
    canonical.map(Value::String).ok_or_else(|| DecodeError::Embedded(quantity::FORMAT_WRONG.to_owned()))
}

/// seconds 1, nanos 2. Go writes the zero time as an empty message; it stands for no time.
fn time_of(bytes: &[u8], micro: bool) -> Result<Value, DecodeError> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    for field in Fields::new(bytes) {
        match field? {
            (1, value) => seconds = value.varint()? as i64,
            (2, value) => nanos = value.varint()? as i32,
            _ => {}
        }
    }
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let text = time::from_parts(seconds, nanos, micro);
    text.map(Value::String).ok_or_else(|| DecodeError::Embedded("time out of range".to_owned()))
}

/// duration 1, in nanoseconds; JSON has Go's `1m30s`.
fn duration(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut nanos = 0i64;
    for field in Fields::new(bytes) {
        if let (1, value) = field? {
            nanos = value.varint()? as i64;
        }
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let whole = nanos.unsigned_abs() / 1_000_000_000;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let fraction = format!("{:09}", nanos.unsigned_abs() % 1_000_000_000);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    Ok(Value::String(match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }))
}

/// type 1 (0 number, 1 text), intVal 2, strVal 3.
fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut number, mut text) = (false, 0i32, "");
    for field in Fields::new(bytes) {
        match field? {
            (1, value) => is_text = value.varint()? == 1,
            (2, value) => number = value.varint()? as i32,
            (3, value) => text = value.text("strVal")?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text.to_owned()) } else { Value::from(number) })
}

fn strings(bytes: &[u8]) -> Result<Value, DecodeError> {
    let items = Fields::new(bytes).filter(|field| !matches!(field, Ok((number, _)) if *number != 1));
    let items = items.map(|field| Ok(Value::String(field?.1.text("items")?.to_owned())));
    items.collect::<Result<_, _>>().map(Value::Array)
}

/// allows 1, schema 2.
fn schema_or_bool(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let mut found = Value::Bool(false);
    for field in Fields::new(bytes) {
        match field? {
            (1, value) if found.is_boolean() => found = Value::Bool(value.varint()? != 0),
            (2, value) => found = schema(value, depth)?,
            _ => {}
        }
    }
    Ok(found)
}

/// schema 1, jSONSchemas 2.
fn schema_or_array(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    either(bytes, depth, schema)
}

/// schema 1, property 2.
fn schema_or_strings(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    either(bytes, depth, |value, _| Ok(Value::String(value.text("property")?.to_owned())))
}

fn either(
    bytes: &[u8],
    depth: usize,
    item: fn(Wire<'_>, usize) -> Result<Value, DecodeError>,
) -> Result<Value, DecodeError> {
    let (mut one, mut many) = (None, Vec::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, value) => one = Some(schema(value, depth)?),
            (2, value) => many.push(item(value, depth)?),
            _ => {}
        }
    }
    Ok(one.unwrap_or(Value::Array(many)))
}

fn schema(value: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
    message(value.bytes()?, schema_props(), depth + 1)
}
