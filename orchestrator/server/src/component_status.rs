//! `get` and `list` of ComponentStatus, which is said and never stored.

use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::accept::Form;
use crate::call::Call;
use crate::kinds::component_status::{COMPONENTS, healthy};
use crate::reply::{self, Status};
use crate::selectors::Selector;
use crate::{forms, list, table};

pub fn serve(call: &Call) -> Result<Response, Status> {
    let body = match call.route.attributes.verb.as_str() {
        "get" => {
            let found = COMPONENTS.into_iter().find(|component| *component == call.name());
            let component = found.ok_or_else(|| Status::not_found(call.kind(), call.name()))?;
            forms::shaped(call, healthy(component).to_string().into())?
        }
        "list" => listed(call)?,
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(reply::ok(body))
}

fn listed(call: &Call) -> Result<Bytes, Status> {
    let selector = Selector::of(call.query(), call.kind())?;
    let wanted =
        COMPONENTS.into_iter().filter(|component| selector.single_name().is_none_or(|name| name == *component));
    let objects: Vec<Value> = wanted.map(healthy).collect();
    if call.form == Form::Table {
        let rows: Vec<Value> = objects.iter().map(|object| table::row(call, object)).collect();
        return Ok(table::table(call, &rows, "".into()).to_string().into());
    }
    let frames = objects.iter().map(|object| Bytes::from(object.to_string()));
    let (items, kind): (Vec<Bytes>, _) = match call.form {
        Form::Metadata => {
            let items = frames.map(|frame| forms::metadata_only(&frame).into()).collect();
            (items, ("meta.k8s.io/v1", "PartialObjectMetadata"))
        }
        _ => (frames.collect(), ("v1", call.kind().kind)),
    };
    let list = list::joined(kind, &items, &json!({}));
    Ok(list)
}
