//! The way back: a JSON object as the protobuf that typed Go clients read. The envelope and the frames of a watch
//! here, messages by the table, leaves with a message of their own in `leaf`.

mod leaf;

use serde_json::{Map, Value};

use super::MAGIC;
use super::wire::{put_bytes, put_varint};
use crate::table::{Container, Element, Field, Numbered, TypeRef, object_at, table};

/// Why an object has no protobuf form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A custom resource, or a form that exists as JSON only (`Table`).
    #[error(
        "object does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message: {api_version} {kind}"
    )]
    NoProtobuf { api_version: String, kind: String },
    /// A value that its field cannot hold.
    #[error("{0} does not fit its type")]
    Unfit(&'static str),
}

/// The whole body: magic, envelope, object. `value` says by `apiVersion` and `kind` what it is.
pub fn encode_protobuf(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let word = |field: &str| value[field].as_str().unwrap_or_default();
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    let none = || EncodeError::NoProtobuf { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let ty = table().by_kind(api_version, kind).filter(|ty| !ty.numbers().is_empty()).ok_or_else(none)?;
    let object = value.as_object().ok_or_else(none)?;
    let mut raw = Vec::new();
    message(&mut raw, ty, object)?;
    let mut type_meta = Vec::new();
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut body = Vec::with_capacity(raw.len() + type_meta.len() + 24);
    body.extend_from_slice(MAGIC);
    put_bytes(&mut body, 1, &type_meta);
    put_bytes(&mut body, 2, &raw);
    put_bytes(&mut body, 3, b"");
    put_bytes(&mut body, 4, b"");
    Ok(body)
}

/// One frame of a watch: four bytes of length, then a bare `WatchEvent` that holds the enveloped object.
pub fn encode_watch_event(event: &Value) -> Result<Vec<u8>, EncodeError> {
    let object = encode_protobuf(&event["object"])?;
    let mut raw = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut raw, 1, &object);
    let mut message = vec![0; 4];
    put_bytes(&mut message, 1, event["type"].as_str().unwrap_or_default().as_bytes());
    put_bytes(&mut message, 2, &raw);
    let length = u32::try_from(message.len() - 4).map_err(|_| EncodeError::Unfit("object"))?;
    message[..4].copy_from_slice(&length.to_be_bytes());
    Ok(message)
}

/// Fields in the order of their numbers, absent ones left out.
fn message(out: &mut Vec<u8>, ty: TypeRef, object: &Map<String, Value>) -> Result<(), EncodeError> {
    for (number, numbered) in ty.numbers() {
        match numbered {
            Numbered::Inline(index) => {
                let mut inner = Vec::new();
                message(&mut inner, object_at(*index), object)?;
                if !inner.is_empty() {
                    put_bytes(out, *number, &inner);
                }
            }
            Numbered::Field(index) => {
                let field = &ty.fields()[usize::from(*index)];
                if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
                    put(out, (*number, field), value)?;
                }
            }
        }
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, (number, field): (u32, &Field), value: &Value) -> Result<(), EncodeError> {
    let unfit = EncodeError::Unfit(field.name);
    match field.container {
        Container::One => element(out, (number, field), value),
        Container::List => {
            value.as_array().ok_or(unfit)?.iter().try_for_each(|item| element(out, (number, field), item))
        }
        Container::Map => value.as_object().ok_or(unfit)?.iter().try_for_each(|(key, item)| {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            element(&mut entry, (2, field), item)?;
            put_bytes(out, number, &entry);
            Ok(())
        }),
    }
}

fn element(out: &mut Vec<u8>, (number, field): (u32, &Field), value: &Value) -> Result<(), EncodeError> {
    match field.element {
        Element::Scalar(scalar) => leaf::put(out, number, (scalar, value)).ok_or(EncodeError::Unfit(field.name)),
        Element::Object(index) => {
            let mut inner = Vec::new();
            match value {
                // Go's nil in a list of structs is an empty one.
                Value::Null => {}
                value => {
                    let object = value.as_object().ok_or(EncodeError::Unfit(field.name))?;
                    message(&mut inner, object_at(index), object)?;
                }
            }
            put_bytes(out, number, &inner);
            Ok(())
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

#[cfg(test)]
mod tests;
