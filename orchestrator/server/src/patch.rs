//! PATCH: the change is worked out on the stored object, then goes the road of every update.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions};
use crate::forms::{self, Done};
use crate::reply::Status;
use crate::{stamp, update};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const ACCEPTED: &[&str] = &[JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH];

pub async fn patch(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let bytes = body::bytes(body).await?;
    let patch = Patch::parse(&call, &bytes)?;
    let mut change = |old: &Value| {
        let mut new = patch.apply(&call, old)?;
        stamp::place(&mut new, &call, call.name())?;
        Ok(new)
    };
    let written = update::modify(&call, &options, &mut change).await?;
    forms::written(&call, written, Done::Ok)
}

/// A patch as it was sent.
pub enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    pub fn parse(call: &Call, bytes: &Bytes) -> Result<Self, Status> {
        let media = call.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        if !ACCEPTED.contains(&media.as_str()) {
            return Err(Status::unsupported_media_type(ACCEPTED));
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        Ok(match media.as_str() {
            JSON_PATCH => Self::Json(value),
            MERGE_PATCH => Self::Merge(value),
            _ => Self::Strategic(value),
        })
    }

    /// The patched object.
    pub fn apply(&self, call: &Call, old: &Value) -> Result<Value, Status> {
        self.apply_as(old, &body::expected(call))
    }

    /// The same for an object of another type, as Scale.
    pub fn apply_as(&self, old: &Value, expected: &Expected) -> Result<Value, Status> {
        let mut new = old.clone();
        match self {
            Self::Json(_) => {}
            Self::Merge(patch) | Self::Strategic(patch) => merge(&mut new, patch),
        }
        let parsed = amphipod_schema::check(new, expected.ty).map_err(|error| body::refused(error, expected))?;
        Ok(parsed.value)
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let target = target.as_object_mut().expect("just made an object");
    for (key, member) in members {
        if member.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), member);
        }
    }
}
