//! One message of the table as a JSON object. Leaves with a message of their own are `special`'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::wire::{Fields, Wire, varint};
use super::{DEPTH_MAX, DecodeError, empty_object, special};
use crate::table::{Container, Element, Field, Numbered, Scalar, TypeRef, object_at};

pub(super) fn message(bytes: &[u8], ty: TypeRef, depth: usize) -> Result<Value, DecodeError> {
    let mut object = Map::new();
    fill(&mut object, bytes, ty, depth)?;
    Ok(Value::Object(object))
}

/// Inlined structs are messages of their own on the wire but fill the same object.
fn fill(object: &mut Map<String, Value>, bytes: &[u8], ty: TypeRef, depth: usize) -> Result<(), DecodeError> {
    if depth >= DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    for field in Fields::new(bytes) {
        let (number, wire) = field?;
        match ty.numbered(number) {
            Some(Numbered::Inline(index)) => fill(object, wire.bytes()?, object_at(index), depth + 1)?,
            Some(Numbered::Field(index)) => set(object, &ty.fields()[usize::from(index)], wire, depth)?,
            None => {}
        }
    }
    Ok(())
}

fn set(object: &mut Map<String, Value>, field: &Field, wire: Wire<'_>, depth: usize) -> Result<(), DecodeError> {
    match field.container {
        Container::One => match single(field, wire, depth)? {
            Some(value) => object.insert(field.name.to_owned(), value),
            None => object.remove(field.name),
        },
        Container::List => {
            let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                append(list, field, wire, depth)?;
            }
            None
        }
        Container::Map => {
            let (key, value) = entry(field, wire, depth)?;
            let map = object.entry(field.name).or_insert_with(empty_object);
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
            None
        }
    };
    Ok(())
}

/// `None` where Go's omitempty would leave the field out: typed clients write every scalar, zero or not.
fn single(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, DecodeError> {
    let value = element(field, wire, depth)?;
    let keeps_zero = field.pointer || field.always || matches!(field.element, Element::Object(_));
    let zero = match &value {
        Value::Null => return Ok(None),
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0) && field.scalar() != Some(Scalar::IntOrString),
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    };
    Ok((keeps_zero || !zero).then_some(value))
}

fn element(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
    match field.element {
        Element::Object(index) => message(wire.bytes()?, object_at(index), depth + 1),
        Element::Scalar(scalar) => leaf(scalar, wire, field.name, depth),
    }
}

fn leaf(scalar: Scalar, wire: Wire<'_>, name: &'static str, depth: usize) -> Result<Value, DecodeError> {
    Ok(match scalar {
        Scalar::Bool => Value::Bool(wire.varint()? != 0),
        // Negative numbers take ten bytes; what remains of them is the low half.
        Scalar::Int32 => Value::from(wire.varint()? as i32),
        Scalar::Int64 => Value::from(wire.varint()? as i64),
        Scalar::Float64 => Value::from(f64::from_bits(wire.fixed64()?)),
        Scalar::String => Value::String(wire.text(name)?.to_owned()),
        Scalar::Bytes => Value::String(STANDARD.encode(wire.bytes()?)),
        special => return special::leaf(special, wire.bytes()?, depth + 1),
    })
}

/// Numbers in a list may be packed into one field.
fn append(list: &mut Vec<Value>, field: &Field, wire: Wire<'_>, depth: usize) -> Result<(), DecodeError> {
    if let (Wire::Bytes(mut packed), Some(scalar @ (Scalar::Int32 | Scalar::Int64 | Scalar::Bool))) =
        (wire, field.scalar())
    {
        while !packed.is_empty() {
            list.push(leaf(scalar, Wire::Varint(varint(&mut packed)?), field.name, depth)?);
        }
        return Ok(());
    }
    list.push(element(field, wire, depth)?);
    Ok(())
}

/// key 1, value 2; either may be missing and is then zero.
fn entry(field: &Field, wire: Wire<'_>, depth: usize) -> Result<(String, Value), DecodeError> {
    let mut key = String::new();
    let mut value = None;
    for part in Fields::new(wire.bytes()?) {
        match part? {
            (1, wire) => key = wire.text(field.name)?.to_owned(),
            (2, wire) => value = Some(element(field, wire, depth)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None if matches!(field.scalar(), Some(Scalar::Bool | Scalar::Int32 | Scalar::Int64)) => {
            leaf(field.scalar().unwrap_or(Scalar::Int64), Wire::Varint(0), field.name, depth)?
        }
        None => element(field, Wire::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}
