//! Leaves: scalars as they are, and the dozen types whose message looks nothing like their JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::wire::{put_bytes, put_varint};
use super::{message, put_number};
use crate::table::{Scalar, schema_props};
use crate::time;

/// `None` when the value is no such scalar.
pub(super) fn put(out: &mut Vec<u8>, number: u32, (scalar, value): (Scalar, &Value)) -> Option<()> {
    let mut inner = Vec::new();
    match scalar {
        Scalar::Bool => {
            put_number(out, number, value.as_bool()?.into());
            return Some(());
        }
        Scalar::Int32 | Scalar::Int64 => {
            put_number(out, number, value.as_i64()?);
            return Some(());
        }
        Scalar::Float64 => {
            put_varint(out, (u64::from(number) << 3) | 1);
            out.extend_from_slice(&value.as_f64()?.to_le_bytes());
            return Some(());
        }
        Scalar::String => inner.extend_from_slice(value.as_str()?.as_bytes()),
        Scalar::Bytes => inner = STANDARD.decode(value.as_str()?).ok()?,
        Scalar::Quantity => put_bytes(&mut inner, 1, text_of(value)?.as_bytes()),
        Scalar::Time | Scalar::MicroTime => put_time(&mut inner, value.as_str()?)?,
        Scalar::Duration => put_number(&mut inner, 1, nanos(value.as_str()?)?),
        Scalar::IntOrString => put_int_or_string(&mut inner, value)?,
        Scalar::Raw | Scalar::FieldsV1 => put_bytes(&mut inner, 1, value.to_string().as_bytes()),
        Scalar::Strings => {
            for item in value.as_array()? {
                put_bytes(&mut inner, 1, item.as_str()?.as_bytes());
            }
        }
        Scalar::SchemaOrBool => match value {
            Value::Bool(allows) => put_number(&mut inner, 1, (*allows).into()),
            schema => {
                put_number(&mut inner, 1, 1);
                put_schema(&mut inner, 2, schema)?;
            }
        },
        Scalar::SchemaOrArray => match value {
            Value::Array(schemas) => schemas.iter().try_for_each(|schema| put_schema(&mut inner, 2, schema))?,
            schema => put_schema(&mut inner, 1, schema)?,
        },
        Scalar::SchemaOrStrings => match value {
            Value::Array(names) => {
                for name in names {
                    put_bytes(&mut inner, 2, name.as_str()?.as_bytes());
                }
            }
            schema => put_schema(&mut inner, 1, schema)?,
        },
    }
    put_bytes(out, number, &inner);
    Some(())
}

fn put_schema(out: &mut Vec<u8>, number: u32, schema: &Value) -> Option<()> {
    let mut inner = Vec::new();
    message(&mut inner, schema_props(), schema.as_object()?).ok()?;
    put_bytes(out, number, &inner);
    Some(())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// seconds 1, nanos 2.
fn put_time(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let (seconds, nanos) = time::parts(text)?;
    put_number(out, 1, seconds);
    put_number(out, 2, nanos.into());
    Some(())
}

/// type 1 (0 number, 1 text), intVal 2, strVal 3.
fn put_int_or_string(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::String(text) => {
            put_number(out, 1, 1);
            put_number(out, 2, 0);
            put_bytes(out, 3, text.as_bytes());
        }
        number => {
            put_number(out, 1, 0);
            put_number(out, 2, number.as_i64()?);
            put_bytes(out, 3, b"");
        }
    }
    Some(())
}

/// Go's `-1h2m3.5s` in nanoseconds.
fn nanos(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let unit = UNITS.iter().find(|(name, _)| *name == &rest[digits..unit_end])?.1;
        total += rest[..digits].parse::<f64>().ok()? * unit;
        rest = &rest[unit_end..];
    }
    Some((sign * total).round() as i64)
}
