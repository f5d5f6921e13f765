//! `get` and `list` of NodeMetrics and PodMetrics: every node or pod that there is and that has figures.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::quantity::Quantity;
use amphipod_store::Object;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Used;
use crate::accept::Form;
use crate::call::Call;
use crate::reply::{self, Status};
use crate::selectors::Selector;
use crate::{forms, list, stamp, table};

pub async fn serve(call: &Call) -> Result<Response, Status> {
    let body = match call.route.attributes.verb.as_str() {
        "get" => one(call).await?,
        "list" => many(call).await?,
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(reply::ok(body))
}

async fn one(call: &Call) -> Result<Bytes, Status> {
    let registry = call.server.catalog.registry();
    let measured = registry.find("", "v1", call.kind().plural).ok_or_else(Status::no_such_path)?;
    let object = call.server.store.snapshot().get(&measured.key(call.namespace(), call.name()));
    let object = object.ok_or_else(|| Status::not_found(&measured.kind, call.name()))?;
    call.server.usage.wanted().await;
    let shown = if call.namespace().is_empty() {
        call.name().to_owned()
    } else {
        format!("{}/{}", call.namespace(), call.name())
    };
    let resource = ("metrics.k8s.io", if call.kind().plural == "pods" { "podmetrics" } else { "nodemetrics" });
    let figures = figures(call, &object).ok_or_else(|| Status::not_found_resource(resource, &shown))?;
    forms::shaped(call, figures.to_string().into())
}

async fn many(call: &Call) -> Result<Bytes, Status> {
    let selector = Selector::of(call.query(), call.kind())?;
    let registry = call.server.catalog.registry();
    let measured = registry.find("", "v1", call.kind().plural).ok_or_else(Status::no_such_path)?;
    call.server.usage.wanted().await;
    let listed = call.server.store.snapshot().list(measured.id(), list::scope(call), None, 0);
    let wanted = listed.iter().filter(|object| selector.matches(object));
    let objects: Vec<Value> = wanted.filter_map(|object| figures(call, object)).collect();
    if call.form == Form::Table {
        let rows: Vec<Value> = objects.iter().map(|object| table::row(call, object)).collect();
        return Ok(table::table(call, &rows, "".into()).to_string().into());
    }
    let frames = objects.iter().map(|object| Bytes::from(object.to_string()));
    let own = call.entry.api_version();
    let (items, kind): (Vec<Bytes>, _) = match call.form {
        Form::Metadata => {
            let items = frames.map(|frame| forms::metadata_only(&frame).into()).collect();
            (items, ("meta.k8s.io/v1", "PartialObjectMetadata"))
        }
        _ => (frames.collect(), (own.as_str(), call.kind().kind)),
    };
    Ok(list::joined(kind, &items, &json!({})))
}

/// `None`: it does not run, or nothing is known of it yet.
fn figures(call: &Call, object: &Arc<Object>) -> Option<Value> {
    let usage = &call.server.usage;
    let (name, namespace) = (object.key.name(), object.key.namespace());
    let labels: Map<String, Value> =
        object.meta.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let mut metadata = json!({ "name": name, "creationTimestamp": stamp::time(call.server.now()) });
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    let mut figures = json!({ "apiVersion": call.entry.api_version(), "kind": call.kind().kind });
    if call.kind().plural == "nodes" {
        let used = usage.of_node(name)?;
        figures["usage"] = amounts(used);
        measured(&mut figures, used);
    } else {
        let node = object.meta.field("spec.nodeName")?;
        object.meta.field("status.phase").filter(|phase| *phase == "Running")?;
        let containers = usage.of_pod(node, &(namespace.to_owned(), name.to_owned()), &object.meta.uid)?;
        metadata["namespace"] = namespace.into();
        let earliest = containers.iter().map(|(_, used)| *used).min_by_key(|used| used.at)?;
        let shown = containers.iter().map(|(name, used)| json!({ "name": name, "usage": amounts(*used) }));
        figures["containers"] = shown.collect();
        measured(&mut figures, earliest);
    }
    figures["metadata"] = metadata;
    Some(figures)
}

fn measured(figures: &mut Value, used: Used) {
    figures["timestamp"] = stamp::time(used.at).into();
    figures["window"] = duration(used.window).into();
}

fn amounts(used: Used) -> Value {
    json!({
        "cpu": Quantity::from_nano(used.cpu_nanocores).to_string(),
        "memory": Quantity::from_bytes(used.memory_bytes).to_string(),
    })
}

/// As Go writes a duration, to the millisecond: `1m0.25s`.
fn duration(window: Duration) -> String {
    let millis = window.as_millis();
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = format!("{}.{:03}", millis / 1_000 % 60, millis % 1_000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_written_as_go_does() {
        let shown = [15_023, 60_000, 60_250, 3_661_000, 10_000].map(|millis| duration(Duration::from_millis(millis)));
        assert_eq!(shown, ["15.023s", "1m0s", "1m0.25s", "1h1m1s", "10s"]);
    }
}
