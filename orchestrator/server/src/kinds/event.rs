//! Event, the core/v1 form, which lies in the store. Its twin of events.k8s.io is in `event/reported.rs`.

pub mod reported;

use serde_json::Value;

use super::json::{is_empty, is_set, text};
use super::problem::invalid_each;
use super::table::{count, name, since, string, wide};
use super::{Column, Kind, PLAIN, Problem, Scope, UpdateRules, descriptions, metadata, names};

const WORD_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;
const LABELS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

pub static EVENT: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.core.v1.Event",
    storage: "events",
    update: UpdateRules { unconditional: true, creates: true, generation: false },
    validate,
    fields,
    field_labels: LABELS,
    columns: COLUMNS,
    row,
    ..PLAIN
};

const COLUMNS: &[Column] = &[
    string("Last Seen", descriptions::EVENT_LAST),
    string("Type", descriptions::EVENT_TYPE),
    string("Reason", descriptions::EVENT_REASON),
    string("Object", descriptions::EVENT_OBJECT),
    wide("Subobject", descriptions::EVENT_FIELD_PATH),
    wide("Source", descriptions::EVENT_SOURCE),
    string("Message", descriptions::EVENT_MESSAGE),
    wide("First Seen", descriptions::EVENT_FIRST),
    wide("Count", descriptions::EVENT_COUNT),
    wide("Name", descriptions::NAME),
];

/// Events that say when they happened name who saw what and where; older ones need not.
fn validate(event: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(event, Scope::Namespaced, names::subdomain);
    let (own, involved) = (text(&event["metadata"]["namespace"]), text(&event["involvedObject"]["namespace"]));
    let is_new = is_set(&event["eventTime"]);
    let fits = match (involved, is_new) {
        ("", false) => matches!(own, "" | "default"),
        ("", true) => matches!(own, "default" | "kube-system"),
        (involved, false) => own == involved,
        (_, true) => true,
    };
    if !fits {
        problems.push(Problem::invalid("involvedObject.namespace", involved, "does not match event.namespace"));
    }
    if is_new {
        problems.extend(validate_report(event));
    }
    problems
}

fn validate_report(event: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let controller = text(&event["reportingComponent"]);
    if controller.is_empty() {
        problems.push(Problem::required("reportingController", ""));
    }
    problems.extend(invalid_each("reportingController", controller, names::qualified(controller)));
    for (field, longest) in
        [("reportingInstance", WORD_MAX), ("action", WORD_MAX), ("reason", WORD_MAX), ("message", MESSAGE_MAX)]
    {
        let given = text(&event[field]);
        if given.is_empty() && field != "message" {
            problems.push(Problem::required(field, ""));
        }
        if given.len() > longest {
            problems.push(Problem::invalid(field, "", &format!("can have at most {longest} characters")));
        }
    }
    problems
}

fn component(event: &Value) -> &str {
    let component = text(&event["source"]["component"]);
    if component.is_empty() { text(&event["reportingComponent"]) } else { component }
}

fn fields(event: &Value) -> Vec<(&'static str, String)> {
    let value = |label: &&'static str| {
        let found = match *label {
            "source" => component(event),
            path => path.split('.').fold(event, |value, part| &value[part]).as_str().unwrap_or_default(),
        };
        (*label, found.to_owned())
    };
    LABELS.iter().map(value).collect()
}

fn row(event: &Value, now: i64) -> Vec<Value> {
    let set_or = |value: &'_ Value, other: &'_ Value| if is_set(value) { value.clone() } else { other.clone() };
    let first = set_or(&event["firstTimestamp"], &event["eventTime"]);
    let mut last = set_or(&event["lastTimestamp"], &first);
    let mut times = count(&event["count"]);
    if is_set(&event["series"]) {
        last = set_or(&event["series"]["lastObservedTime"], &last);
        times = count(&event["series"]["count"]);
    } else if times == 0 {
        times = 1; // singleton event
    }
    let involved = &event["involvedObject"];
    let kind = text(&involved["kind"]).to_lowercase();
    let object = match text(&involved["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        since(&last, now).into(),
        text(&event["type"]).into(),
        text(&event["reason"]).into(),
        object.into(),
        text(&involved["fieldPath"]).into(),
        source(event).into(),
        text(&event["message"]).trim().into(),
        since(&first, now).into(),
        times.into(),
        name(event),
    ]
}

fn source(event: &Value) -> String {
    let instance = match is_empty(&event["source"]["host"]) {
        true => text(&event["reportingInstance"]),
        false => text(&event["source"]["host"]),
    };
    match (component(event), instance) {
        (component, "") => component.to_owned(),
        (component, instance) => format!("{component}, {instance}"),
    }
}
