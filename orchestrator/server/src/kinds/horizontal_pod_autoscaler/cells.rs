//! The row of an autoscaler, of its v2 form.

use serde_json::Value;

use crate::kinds::json::{is_set, items, scalar, text};
use crate::kinds::table::{age, count, name};

const SHOWN_MAX: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub fn row(autoscaler: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&autoscaler["spec"], &autoscaler["status"]);
    let target = &spec["scaleTargetRef"];
    vec![
        name(autoscaler),
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
        metrics(items(&spec["metrics"]), items(&status["currentMetrics"])).into(),
        spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into(),
        count(&spec["maxReplicas"]).into(),
        count(&status["currentReplicas"]).into(),
        age(autoscaler, now),
    ]
}

/// The first two, `cpu: 12%/80%`, and how many more.
fn metrics(wanted: &[Value], found: &[Value]) -> String {
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> =
        wanted.iter().enumerate().map(|(index, metric)| shown(metric, found.get(index))).take(SHOWN_MAX).collect();
    match wanted.len().saturating_sub(SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn shown(metric: &Value, found: Option<&Value>) -> String {
    let member = match text(&metric["type"]) {
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let source = &metric[member];
    let target = &source["target"];
    let current = |field: &str| -> String {
        let value = found.map_or(&Value::Null, |found| &found[member]["current"][field]);
        if is_set(value) { scalar(value) } else { UNKNOWN.to_owned() }
    };
    match member {
        "resource" | "containerResource" => {
            let resource = text(&source["name"]);
            if is_set(&target["averageValue"]) {
                return format!("{resource}: {}/{}", current("averageValue"), scalar(&target["averageValue"]));
            }
            let percent = |value: &Value| value.as_i64().map(|percent| format!("{percent}%"));
            let used = found.and_then(|found| percent(&found[member]["current"]["averageUtilization"]));
            let wanted = percent(&target["averageUtilization"]);
            format!("{resource}: {}/{}", used.as_deref().unwrap_or(UNKNOWN), wanted.as_deref().unwrap_or("<auto>"))
        }
        "pods" => format!("{}/{}", current("averageValue"), scalar(&target["averageValue"])),
        _ if is_set(&target["averageValue"]) => {
            format!("{}/{} (avg)", current("averageValue"), scalar(&target["averageValue"]))
        }
        _ => format!("{}/{}", current("value"), scalar(&target["value"])),
    }
}
