//! What a client sent: read within the limit, then decoded from JSON, YAML or Kubernetes' protobuf into one JSON value.

use amphipod_schema::{ParseError, Parsed, TypeRef};
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::call::{Call, FieldValidation, text};
use crate::limits::BODY_BYTES_MAX;
use crate::registry::{Entry, KindRef};
use crate::reply::Status;

const ACCEPTED: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A decoded body, and what is to be said about it.
pub struct Input {
    pub value: Value,
    pub warnings: Vec<String>,
}

/// The type a body is expected to be.
#[derive(Clone)]
pub struct Expected {
    pub api_version: String,
    pub kind: &'static str,
    /// `None` for custom kinds.
    pub ty: Option<TypeRef>,
    /// Whose schema says what is known of its fields.
    pub custom: Option<KindRef>,
}

impl Expected {
    /// A type of the schema table that is no entry of the registry, as `autoscaling/v1 Scale`.
    pub fn known(api_version: &str, kind: &'static str) -> Self {
        let ty = amphipod_schema::table().by_kind(api_version, kind);
        Self { api_version: api_version.to_owned(), kind, ty, custom: None }
    }

    pub fn parse(&self, bytes: &[u8]) -> Result<Parsed, ParseError> {
        self.pruned(amphipod_schema::parse(bytes, self.ty)?)
    }

    pub fn parse_yaml(&self, bytes: &[u8]) -> Result<Parsed, ParseError> {
        self.pruned(amphipod_schema::parse_yaml(bytes, self.ty)?)
    }

    pub fn check(&self, value: Value) -> Result<Parsed, ParseError> {
        self.pruned(amphipod_schema::check(value, self.ty)?)
    }

    fn pruned(&self, parsed: Parsed) -> Result<Parsed, ParseError> {
        match self.custom.as_ref().and_then(KindRef::custom) {
            // What is no object at all is refused by its type.
            Some(custom) if parsed.value.is_object() => custom.known(parsed),
            _ => Ok(parsed),
        }
    }
}

pub async fn bytes(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large()),
        Err(error) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// A body of the request's own kind.
pub async fn object(call: &Call, body: Body, validation: FieldValidation) -> Result<Input, Status> {
    let expected = expected(call);
    let bytes = bytes(body).await?;
    decode((call.header(CONTENT_TYPE), &bytes), &expected, validation)
}

/// The request's own kind.
pub fn expected(call: &Call) -> Expected {
    of_entry(&call.entry)
}

/// A kind itself, and not what one of its subresources takes.
pub fn of_entry(entry: &Entry) -> Expected {
    let custom = entry.kind.is_custom.then(|| entry.kind.clone());
    Expected { api_version: entry.api_version(), kind: entry.kind.kind, ty: entry.ty, custom }
}

/// Decodes and checks that the body is what the address takes; a body that names no type is taken to be it.
pub fn decode(
    (content_type, bytes): (&str, &Bytes),
    expected: &Expected,
    validation: FieldValidation,
) -> Result<Input, Status> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let (value, problems) = match media {
        "application/vnd.kubernetes.protobuf" => (protobuf(bytes, expected)?, Vec::new()),
        "application/yaml" => from_yaml(bytes, expected)?,
        "" | "application/json" => from_json(bytes, expected)?,
        _ => return Err(Status::unsupported_media_type(ACCEPTED)),
    };
    check_type(&value, expected)?;
    let warnings = verdict(problems, expected, validation)?;
    Ok(Input { value, warnings })
}

/// Unknown and duplicate fields refuse the body, are warned of, or pass.
pub fn verdict(problems: Vec<String>, expected: &Expected, validation: FieldValidation) -> Result<Vec<String>, Status> {
    match validation {
        FieldValidation::Strict if !problems.is_empty() => Err(cannot_be_handled(expected, &strict_text(&problems))),
        FieldValidation::Ignore => Ok(Vec::new()),
        _ => Ok(problems),
    }
}

pub fn strict_text(problems: &[String]) -> String {
    format!("strict decoding error: {}", problems.join(", "))
}

pub fn cannot_be_handled(expected: &Expected, why: &str) -> Status {
    let version = expected.api_version.rsplit('/').next().unwrap_or_default();
    let kind = expected.kind;
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

pub fn check_type(value: &Value, expected: &Expected) -> Result<(), Status> {
    if !value.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    let (given_version, given_kind) = (text(value, &["apiVersion"]), text(value, &["kind"]));
    if !given_kind.is_empty() && given_kind != expected.kind {
        let version = given_version.rsplit('/').next().unwrap_or_default();
        let wanted = expected.kind;
        let why = format!(
            "{given_kind} in version \"{version}\" cannot be handled as a {wanted}: converting (unrecognized kind) to ({wanted}): unknown conversion"
        );
        return Err(Status::bad_request(why));
    }
    if !given_version.is_empty() && given_version != expected.api_version {
        let wanted = &expected.api_version;
        let why =
            format!("the API version in the data ({given_version}) does not match the expected API version ({wanted})");
        return Err(Status::bad_request(why));
    }
    Ok(())
}

fn from_json(bytes: &Bytes, expected: &Expected) -> Result<(Value, Vec<String>), Status> {
    match expected.parse(bytes) {
        Ok(Parsed { value, problems }) => Ok((value, problems)),
        Err(error) => {
            // An object of another kind is told so, not which of its fields does not fit.
            if let Ok(value) = serde_json::from_slice(bytes) {
                check_type(&value, expected)?;
            }
            Err(refused(error, expected))
        }
    }
}

/// Why a value is no object of the expected type.
pub fn refused(error: ParseError, expected: &Expected) -> Status {
    match error {
        ParseError::Syntax(why) => {
            let kind = expected.kind;
            let why = format!("couldn't get version/kind; json parse error: {why}");
            Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
        }
        ParseError::Type(why) => cannot_be_handled(expected, &why),
    }
}

fn from_yaml(bytes: &Bytes, expected: &Expected) -> Result<(Value, Vec<String>), Status> {
    let parsed = expected.parse_yaml(bytes);
    let Parsed { value, problems } = parsed.map_err(|error| refused(error, expected))?;
    Ok((value, problems))
}

/// Typed Go clients send this and nothing else; what their types do not know they cannot send.
fn protobuf(bytes: &Bytes, expected: &Expected) -> Result<Value, Status> {
    let decoded = amphipod_schema::decode_protobuf(bytes);
    let decoded = decoded.map_err(|error| Status::bad_request(error.to_string()))?;
    check_type(&decoded.value, expected)?;
    let parsed = expected.check(decoded.value);
    Ok(parsed.map_err(|error| refused(error, expected))?.value)
}
