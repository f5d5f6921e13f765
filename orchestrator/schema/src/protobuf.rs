//! Protobuf bodies, as typed Go clients send them: the envelope here, messages by the table in `message`,
//! bytes in `wire`; what those clients are answered is written in `encode`. Untrusted: depth is bounded, nothing is allocated ahead of the bytes that justify it.

mod encode;
mod message;
mod special;
mod wire;

use serde_json::{Map, Value};

use crate::table::table;
pub use encode::{EncodeError, encode_protobuf, encode_watch_event};
pub(crate) use wire::{put_bytes, put_varint};

/// The first four bytes of every body: `k8s` and a zero.
pub const MAGIC: &[u8; 4] = b"k8s\0";
/// The media type of such bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Messages nested deeper than this are refused.
pub const DEPTH_MAX: usize = 100;
/// Larger bodies are refused unread, as the server's limit on bodies does.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// An object and what its envelope says of it; `value` carries `apiVersion` and `kind` too.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub api_version: String,
    pub kind: String,
    pub value: Value,
}

/// Why a body is no object.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No magic: not this format at all (upstream's words).
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NotProtobuf,
    /// The bytes end inside a field, or a length or number cannot be.
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: exceeded max depth")]
    TooDeep,
    #[error("request body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    /// The envelope names a kind that no client can know as built in.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    UnknownKind { api_version: String, kind: String },
    #[error("proto: {0} is not valid UTF-8")]
    Utf8(&'static str),
    /// An embedded document (`RawExtension`, a JSON schema) is broken.
    #[error("{0}")]
    Embedded(String),
    /// The envelope is compressed or encrypted.
    #[error("unsupported content encoding \"{0}\"")]
    Encoding(String),
}

/// Reads the envelope and the object inside. Fields that Go would omit when empty are omitted.
pub fn decode_protobuf(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    decode_at(bytes, 0)
}

/// `runtime.Unknown`: type_meta 1 (apiVersion 1, kind 2), raw 2, content_encoding 3, content_type 4.
fn decode_at(bytes: &[u8], depth: usize) -> Result<Decoded, DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::NotProtobuf)?;
    let envelope = Envelope::read(body)?;
    if !envelope.encoding.is_empty() {
        return Err(DecodeError::Encoding(envelope.encoding.to_owned()));
    }
    let (api_version, kind) = (envelope.api_version.to_owned(), envelope.kind.to_owned());
    let mut value = match envelope.content_type {
        "application/json" => embedded_json(envelope.raw)?,
        _ => match table().by_kind(&api_version, &kind) {
            Some(ty) => message::message(envelope.raw, ty, depth + 1)?,
            None => return Err(DecodeError::UnknownKind { api_version, kind }),
        },
    };
    if let Value::Object(object) = &mut value {
        object.insert("apiVersion".to_owned(), Value::String(api_version.clone()));
        object.insert("kind".to_owned(), Value::String(kind.clone()));
    }
    Ok(Decoded { api_version, kind, value })
}

#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut envelope = Envelope::default();
        for field in wire::Fields::new(body) {
            match field? {
                (1, value) => {
                    for field in wire::Fields::new(value.bytes()?) {
                        match field? {
                            (1, value) => envelope.api_version = value.text("apiVersion")?,
                            (2, value) => envelope.kind = value.text("kind")?,
                            _ => {}
                        }
                    }
                }
                (2, value) => envelope.raw = value.bytes()?,
                (3, value) => envelope.encoding = value.text("contentEncoding")?,
                (4, value) => envelope.content_type = value.text("contentType")?,
                _ => {}
            }
        }
        Ok(envelope)
    }
}

/// JSON that travels inside a message. Empty means null.
fn embedded_json(bytes: &[u8]) -> Result<Value, DecodeError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    crate::parse(bytes, None).map(|parsed| parsed.value).map_err(|error| DecodeError::Embedded(error.to_string()))
}

/// A `RawExtension`: JSON, or an envelope of its own.
fn embedded(bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    if depth >= DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    if bytes.starts_with(MAGIC) { Ok(decode_at(bytes, depth)?.value) } else { embedded_json(bytes) }
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests;
