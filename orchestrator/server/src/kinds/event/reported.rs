//! Event as events.k8s.io has it: the same object under other names, and stricter with who writes it.

use serde_json::Value;

use super::{COLUMNS, fields, row, validate};
use crate::kinds::json::{is_empty, is_set, remove, set, text};
use crate::kinds::{Kind, PLAIN, Problem, UpdateRules};

/// Fields that are called otherwise in the core group: its name here, its name there.
const RENAMED: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];
/// The same of field labels.
const LABELS: [(&str, &str); 10] = [
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reason", "reason"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];
pub static REPORTED_EVENT: Kind = Kind {
    group: "events.k8s.io",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.events.v1.Event",
    storage: "events",
    update: UpdateRules { unconditional: true, creates: true, generation: false },
    // Upstream means to be strict with changes, too, but compares the new event with itself; its own suite changes a note.
    validate: |event| validate(&to_core(event.clone())),
    validate_create: |event| validate_strictly(&to_core(event.clone())),
    fields: |event| {
        let core = fields(&to_core(event.clone()));
        let value = |label: &str| core.iter().find(|(known, _)| *known == label).map(|(_, value)| value.clone());
        LABELS.iter().map(|(own, label)| (*own, value(label).unwrap_or_default())).collect()
    },
    field_labels: &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ],
    columns: COLUMNS,
    row: |event, now| row(&to_core(event.clone()), now),
    ..PLAIN
};

/// The core group's name of a field label.
pub fn core_label(label: &str) -> &str {
    LABELS.iter().find(|(own, _)| *own == label).map_or(label, |(_, core)| core)
}

pub fn to_core(mut event: Value) -> Value {
    rename(&mut event, |(own, core)| (own, core));
    // Newer reporters always name an action.
    if is_empty(&event["action"]) && is_set(&event["eventTime"]) && seen(&event).as_ref() == Some(&event["eventTime"]) {
        remove(&mut event, "eventTime");
    }
    event
}

/// A time is required here, and clients that check what they read refuse a whole list for one event of an older
/// reporter without it: it is when the event was first seen.
pub fn from_core(mut event: Value) -> Value {
    if let Some(time) = seen(&event).filter(|_| !is_set(&event["eventTime"])) {
        set(&mut event, "eventTime", time);
    }
    rename(&mut event, |(own, core)| (core, own));
    event
}

/// When an event of the core group that has no `eventTime` was first seen.
fn seen(event: &Value) -> Option<Value> {
    let times = [&event["firstTimestamp"], &event["lastTimestamp"], &event["metadata"]["creationTimestamp"]];
    times.into_iter().find(|time| is_set(time)).map(micro)
}

/// Seconds as the microseconds that the field has.
fn micro(time: &Value) -> Value {
    let seconds = text(time).strip_suffix('Z').filter(|time| !time.contains('.'));
    seconds.map_or_else(|| time.clone(), |seconds| format!("{seconds}.000000Z").into())
}

fn rename(event: &mut Value, direction: fn((&'static str, &'static str)) -> (&'static str, &'static str)) {
    for (from, to) in RENAMED.map(direction) {
        if let Some(value) = remove(event, from) {
            set(event, to, value);
        }
    }
}

/// What the older form would let pass.
fn validate_strictly(event: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_set(&event["series"]) {
        if event["series"]["count"].as_i64().unwrap_or(0) < 2 {
            problems.push(Problem::invalid("series.count", "", "should be at least 2"));
        }
        if !is_set(&event["series"]["lastObservedTime"]) {
            problems.push(Problem::required("series.lastObservedTime", ""));
        }
    }
    if !is_set(&event["eventTime"]) {
        problems.push(Problem::required("eventTime", ""));
    }
    let kind = text(&event["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        problems.push(Problem::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if !is_empty(&event[field]) && event[field] != 0 {
            problems.push(Problem::invalid(field, "", "needs to be unset"));
        }
    }
    problems
}
