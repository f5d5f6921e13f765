//! PATCH: the change is worked out on the stored object, then goes the road of every update.

use amphipod_schema::ParseError;
use amphipod_schema::patch::{self, PatchError, as_go_prints};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::apply::APPLY_PATCH;
use crate::body::{self, Expected, Input};
use crate::call::{Call, FieldValidation, WriteOptions};
use crate::forms::{self, Done};
use crate::kinds::Problem;
use crate::reply::Status;
use crate::{apply, stamp, update};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const ACCEPTED: &[&str] = &[JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH];
/// Custom kinds have no merge keys that a strategic patch could go by.
const ACCEPTED_OF_CUSTOM: &[&str] = &[JSON_PATCH, MERGE_PATCH, APPLY_PATCH];

pub async fn patch(call: Call, body: Body) -> Result<Response, Status> {
    let bytes = body::bytes(body).await?;
    if call.header(CONTENT_TYPE).split(';').next() == Some(APPLY_PATCH) {
        return apply::apply(call, bytes).await;
    }
    let options = WriteOptions::of(&call)?;
    let patch = Patch::parse(&call, bytes)?;
    let mut warnings = Vec::new();
    let mut change = |old: &Value| {
        let mut new = patch.apply(&call, (old, &options))?;
        stamp::check_named(&new.value, &call)?;
        stamp::place(&mut new.value, &call, call.name())?;
        warnings = new.warnings;
        Ok(new.value)
    };
    let mut written = update::modify(&call, &options, &mut change).await?;
    written.warnings.append(&mut warnings);
    forms::written(&call, written, Done::Ok).await
}

/// A patch as it was sent.
pub struct Patch {
    form: Form,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Merge,
    Strategic,
}

impl Patch {
    pub fn parse(call: &Call, bytes: Bytes) -> Result<Self, Status> {
        let media = call.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        let form = match media {
            JSON_PATCH => Form::Json,
            MERGE_PATCH => Form::Merge,
            STRATEGIC_MERGE_PATCH if call.entry.ty.is_some() => Form::Strategic,
            _ if call.entry.ty.is_none() => return Err(Status::unsupported_media_type(ACCEPTED_OF_CUSTOM)),
            _ => return Err(Status::unsupported_media_type(ACCEPTED)),
        };
        Ok(Self { form, bytes })
    }

    /// The patched object and what is to be said about it.
    pub fn apply(&self, call: &Call, (old, options): (&Value, &WriteOptions)) -> Result<Input, Status> {
        self.apply_as(old, (&body::expected(call), options)).map_err(|error| error.refusal(call))
    }

    /// The same for an object of another type, as Scale.
    pub fn apply_as(&self, old: &Value, (expected, options): (&Expected, &WriteOptions)) -> Result<Input, Refusal> {
        let bytes = &self.bytes;
        let patched = match (self.form, expected.ty) {
            (Form::Json, _) => patch::json_patch(old, bytes),
            (Form::Strategic, Some(ty)) => patch::strategic_merge(old, bytes, ty),
            (Form::Merge | Form::Strategic, _) => patch::merge_patch(old, bytes),
        };
        let patched = patched?;
        let shown = match self.form {
            Form::Strategic => as_go_prints(&serde_json::from_slice(bytes).unwrap_or_default()),
            Form::Json | Form::Merge => patched.to_string(),
        };
        is_still(&patched, expected).map_err(|why| invalid(&shown, &why))?;
        let parsed = expected.check(patched).map_err(|error| match (self.form, error) {
            (Form::Strategic, ParseError::Type(why)) => invalid(&shown, &unrestored(&why)),
            (_, error) => invalid(&shown, &error.to_string()),
        })?;
        let warnings = match options.validation {
            FieldValidation::Strict if !parsed.problems.is_empty() => {
                return Err(invalid(&shown, &body::strict_text(&parsed.problems)).into());
            }
            FieldValidation::Ignore => Vec::new(),
            _ => parsed.problems,
        };
        Ok(Input { value: parsed.value, warnings })
    }
}

/// A patch may not make an object another kind's, nor take its name away.
fn is_still(patched: &Value, expected: &Expected) -> Result<(), String> {
    let word = |field: &str| patched[field].as_str().unwrap_or_default();
    let (version, kind) = (word("apiVersion"), word("kind"));
    match () {
        () if kind.is_empty() => Err("Object 'Kind' is missing".to_owned()),
        () if version.is_empty() => Err("Object 'apiVersion' is missing".to_owned()),
        () if kind == expected.kind && version == expected.api_version => Ok(()),
        () => {
            let (wanted_version, wanted) = (&expected.api_version, expected.kind);
            Err(format!("converting ({version}.{kind}) to ({wanted_version}.{wanted}): unknown conversion"))
        }
    }
}

/// Upstream complains of the patch, whatever it did to the object.
fn invalid(shown: &str, why: &str) -> Status {
    let message = format!("Invalid value: {shown:?}: {why}");
    Status::invalid_kind(("", ""), "", &[Problem { reason: "FieldValueInvalid", field: "patch".to_owned(), message }])
}

/// Strategic patches are merged as maps and only then become objects: the words are those of that step.
fn unrestored(why: &str) -> String {
    let told = why.strip_prefix("json: cannot unmarshal ").and_then(|rest| rest.split_once(" into Go "));
    told.map_or_else(|| why.to_owned(), |(given, place)| not_restored(given, place))
}

fn not_restored(given: &str, place: &str) -> String {
    let given = match given.split(' ').next().unwrap_or_default() {
        "object" => "map",
        "array" => "slice",
        "number" if given.contains('.') => "float64",
        "number" => "int64",
        other => other,
    };
    match place.rsplit(" of type ").next().unwrap_or_default() {
        ty if ty.starts_with("map[") => format!("cannot restore map from {given}"),
        ty if ty.starts_with("[]") => format!("cannot restore slice from {given}"),
        ty if ty.contains('.') => format!("cannot restore struct from: {given}"),
        ty => format!("unrecognized type: {ty}"),
    }
}

/// A patch that does not fit, or a result that is no object of its type.
pub enum Refusal {
    Patch(PatchError),
    Result(Status),
}

impl From<PatchError> for Refusal {
    fn from(error: PatchError) -> Self {
        Self::Patch(error)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Result(status)
    }
}

impl Refusal {
    pub fn refusal(self, call: &Call) -> Status {
        match self {
            Self::Result(status) => status,
            Self::Patch(PatchError::BadRequest(why)) => Status::bad_request(why),
            Self::Patch(PatchError::TooLarge(why)) => Status::too_large_because(why),
            Self::Patch(PatchError::Unmergeable(why)) => Status::unexplained(why),
            Self::Patch(PatchError::Unprocessable(why)) => {
                tracing::debug!("a patch of {} is rejected: {why}", call.name());
                Status::patch_rejected()
            }
        }
    }
}
