//! Replies to single objects in the form the client asked for: the object, its Table row, or its metadata alone.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::accept::Form;
use crate::call::Call;
use crate::reply::{self, Status};
use crate::{table, versions};

/// What a write left behind.
pub struct Written {
    pub object: Object,
    pub warnings: Vec<String>,
}

pub enum Object {
    Stored(Arc<amphipod_store::Object>),
    /// A dry run stores nothing.
    Dry(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Created,
    Ok,
}

pub async fn written(call: &Call, written: Written, done: Done) -> Result<Response, Status> {
    let frame = bytes(call, &written.object).await?;
    let body = shaped(call, frame)?;
    let mut response = match done {
        Done::Created => reply::created(body),
        Done::Ok => reply::ok(body),
    };
    reply::warn(&mut response, &written.warnings);
    Ok(response)
}

/// The whole object as this call's version.
pub async fn bytes(call: &Call, object: &Object) -> Result<Bytes, Status> {
    match object {
        Object::Stored(object) => versions::frame(&call.server, &call.entry, object).await,
        Object::Dry(value) => Ok(value.to_string().into()),
    }
}

/// The value of a written object as this call's version.
pub async fn value(call: &Call, object: &Object) -> Result<Value, Status> {
    match object {
        Object::Stored(object) => versions::value(&call.server, &call.entry, object).await,
        Object::Dry(value) => Ok(value.clone()),
    }
}

/// One frame in the form that was asked for.
pub fn shaped(call: &Call, frame: Bytes) -> Result<Bytes, Status> {
    match call.form {
        Form::Table => {
            let value = parsed(&frame);
            let revision = value["metadata"]["resourceVersion"].clone();
            let rows = vec![table::row(call, &value)];
            Ok(table::table(call, &rows, revision).to_string().into())
        }
        Form::Metadata => Ok(metadata_only(&frame).into()),
        Form::Json | Form::Discovery => Ok(frame),
    }
}

pub fn parsed(frame: &Bytes) -> Value {
    serde_json::from_slice(frame).expect("a frame is JSON")
}

/// `PartialObjectMetadata`, cut out of the frame without decoding the rest.
pub fn metadata_only(frame: &Bytes) -> String {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let parts: Parts<'_> = serde_json::from_slice(frame).expect("a frame has metadata");
    let metadata = parts.metadata.get();
    format!(r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{metadata}}}"#)
}
