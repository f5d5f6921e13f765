//! Leaves: which JSON fits which Go type, and the one spelling of those that have several.

use amphipod_api::quantity;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::table::Scalar;
use crate::time;

/// Why a leaf does not fit.
pub(super) enum Misfit {
    /// The wrong kind of JSON, in Go's word for it.
    Kind(String),
    /// The right kind with an impossible content: the whole text of the error.
    Text(String),
}

/// base64 as Go reads it: padded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn integer(scalar: Scalar, value: i64) -> Result<Value, Misfit> {
    match scalar {
        Scalar::Int64 | Scalar::Float64 => Ok(Value::from(value)),
        Scalar::Int32 | Scalar::IntOrString if i32::try_from(value).is_ok() => Ok(Value::from(value)),
        Scalar::Int32 | Scalar::IntOrString => Err(Misfit::Kind(format!("number {value}"))),
        Scalar::Quantity => quantity_of(&value.to_string()),
        _ => Err(Misfit::Kind("number".to_owned())),
    }
}

pub(super) fn float(scalar: Scalar, value: f64) -> Result<Value, Misfit> {
    match scalar {
        Scalar::Float64 => Ok(Value::from(value)),
        Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString => Err(Misfit::Kind(format!("number {value:?}"))),
        Scalar::Quantity => quantity_of(&value.to_string()),
        _ => Err(Misfit::Kind("number".to_owned())),
    }
}

pub(super) fn text(scalar: Scalar, value: String) -> Result<Value, Misfit> {
    match scalar {
        Scalar::String | Scalar::IntOrString | Scalar::Duration => Ok(Value::String(value)),
        Scalar::Bytes => bytes_of(value),
        Scalar::Quantity => quantity_of(&value),
        Scalar::Time => time_of(time::seconds(&value), &value),
        Scalar::MicroTime => time_of(time::micros(&value), &value),
        _ => Err(Misfit::Kind("string".to_owned())),
    }
}

fn quantity_of(text: &str) -> Result<Value, Misfit> {
    let canonical = quantity::canonical(text.trim());
    canonical.map(Value::String).ok_or_else(|| Misfit::Text(quantity::FORMAT_WRONG.to_owned()))
}

fn time_of(canonical: Option<String>, given: &str) -> Result<Value, Misfit> {
    canonical.map(Value::String).ok_or_else(|| Misfit::Text(time::wrong(given)))
}

/// Go ignores line breaks inside base64 and writes none.
fn bytes_of(text: String) -> Result<Value, Misfit> {
    let broken = text.contains(['\n', '\r']);
    let text = if broken { text.replace(['\n', '\r'], "") } else { text };
    match BASE64.decode(&text) {
        Ok(_) => Ok(Value::String(text)),
        Err(base64::DecodeError::InvalidByte(offset, _) | base64::DecodeError::InvalidLastSymbol(offset, _)) => {
            Err(Misfit::Text(format!("illegal base64 data at input byte {offset}")))
        }
        Err(_) => Err(Misfit::Text(format!("illegal base64 data at input byte {}", text.len() / 4 * 4))),
    }
}

/// Types that decode themselves in Go have errors of their own, without a field's name.
pub(super) fn mismatch(scalar: Scalar, got: &str) -> Option<String> {
    match scalar {
        Scalar::Quantity => Some(quantity::FORMAT_WRONG.to_owned()),
        Scalar::IntOrString => Some(format!("json: cannot unmarshal {got} into Go value of type int32")),
        Scalar::Time | Scalar::MicroTime | Scalar::Duration => {
            Some(format!("json: cannot unmarshal {got} into Go value of type string"))
        }
        Scalar::SchemaOrBool => Some("boolean or JSON schema expected".to_owned()),
        _ => None,
    }
}

pub(super) fn go_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "bool",
        Scalar::Int32 => "int32",
        Scalar::Int64 => "int64",
        Scalar::Float64 => "float64",
        Scalar::String => "string",
        Scalar::Bytes => "[]uint8",
        Scalar::Time => "v1.Time",
        Scalar::MicroTime => "v1.MicroTime",
        Scalar::Duration => "v1.Duration",
        Scalar::Quantity => "resource.Quantity",
        Scalar::IntOrString => "intstr.IntOrString",
        Scalar::Raw => "runtime.RawExtension",
        Scalar::FieldsV1 => "v1.FieldsV1",
        Scalar::Strings => "[]string",
        Scalar::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
        Scalar::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
        Scalar::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray",
    }
}

pub(super) fn zero(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => Value::Bool(false),
        Scalar::Int32 | Scalar::Int64 | Scalar::Float64 | Scalar::IntOrString => Value::from(0),
        Scalar::String | Scalar::Bytes => Value::String(String::new()),
        Scalar::Quantity => Value::String("0".to_owned()),
        Scalar::Strings => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}
