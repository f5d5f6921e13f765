//! Tables: what kubectl prints. Columns and cells come from the kind; `includeObject` says what rides along.

use serde_json::{Value, json};

use crate::call::Call;
use crate::kinds::Column;
use crate::kinds::table::{AGE, NAME, age, integer};
use crate::reply::Status;
use crate::route::Query;

/// Columns of a kind that names none.
const PLAIN: &[Column] = &[
    Column {
        name: "Name",
        r#type: "string",
        format: "name",
        description: "Name must be unique within a namespace.",
        priority: 0,
    },
    Column { name: "Created At", r#type: "date", format: "", description: "When the object was created.", priority: 0 },
];

/// Columns of a Scale, whatever kind it is of.
const SCALE: &[Column] = &[
    NAME,
    integer("Desired", "Number of replicas that are wanted."),
    integer("Available", "Number of replicas that there are."),
    AGE,
];

pub fn check_options(query: &Query) -> Result<(), Status> {
    match query.get("includeObject") {
        None | Some("" | "None" | "Metadata" | "Object") => Ok(()),
        Some(other) => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}

/// A whole Table; `revision` is the list's or the object's.
pub fn table(call: &Call, rows: &[Value], revision: Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": { "resourceVersion": revision },
        "columnDefinitions": definitions(call), "rows": rows,
    })
}

pub fn definitions(call: &Call) -> Value {
    let is_scale = call.subresource() == "scale";
    if let Some(custom) = call.entry.kind.custom().filter(|_| !is_scale) {
        return custom.definitions();
    }
    let columns = match call.kind().columns {
        _ if is_scale => SCALE,
        [] => PLAIN,
        columns => columns,
    };
    let definition = |column: &Column| {
        json!({
            "name": column.name, "type": column.r#type, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    };
    columns.iter().map(definition).collect()
}

pub fn row(call: &Call, object: &Value) -> Value {
    let (kind, now) = (call.kind(), call.server.now().as_second());
    let cells = if call.subresource() == "scale" {
        let replicas = |part: &str| object[part]["replicas"].as_i64().unwrap_or(0).into();
        vec![object["metadata"]["name"].clone(), replicas("spec"), replicas("status"), age(object, now)]
    } else if let Some(custom) = call.entry.kind.custom() {
        custom.row(object, now)
    } else if kind.columns.is_empty() {
        vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()]
    } else {
        (kind.row)(object, now)
    };
    let include = call.query().get("includeObject").unwrap_or("Metadata");
    match include {
        "None" => json!({ "cells": cells }),
        "Object" => json!({ "cells": cells, "object": object }),
        _ => {
            let metadata = &object["metadata"];
            let partial =
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata });
            json!({ "cells": cells, "object": partial })
        }
    }
}
