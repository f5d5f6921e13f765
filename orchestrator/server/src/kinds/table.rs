//! Columns and cells that many kinds share, and Kubernetes' short forms of durations.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{items, text};
use super::{Column, descriptions};

pub const NAME: Column =
    Column { name: "Name", r#type: "string", format: "name", description: descriptions::NAME, priority: 0 };
pub const AGE: Column = string("Age", descriptions::AGE);

/// The columns of a kind without a printer of its own; its row is [`default_row`].
pub static DEFAULT_COLUMNS: &[Column] =
    &[NAME, Column { name: "Created At", r#type: "date", format: "", description: descriptions::AGE, priority: 0 }];

pub const fn string(name: &'static str, description: &'static str) -> Column {
    Column { name, r#type: "string", format: "", description, priority: 0 }
}

pub const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { name, r#type: "integer", format: "", description, priority: 0 }
}

pub const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { name, r#type: "boolean", format: "", description, priority: 0 }
}

/// A column that only `-o wide` shows.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, r#type: "string", format: "", description, priority: 1 }
}

pub fn default_row(object: &Value, _now: i64) -> Vec<Value> {
    vec![name(object), object["metadata"]["creationTimestamp"].clone()]
}

pub fn name(object: &Value) -> Value {
    text(&object["metadata"]["name"]).into()
}

pub fn age(object: &Value, now: i64) -> Value {
    since(&object["metadata"]["creationTimestamp"], now).into()
}

/// How long ago a time was: `5h12m`, or `<unknown>` when there is none.
pub fn since(time: &Value, now: i64) -> String {
    match seconds(time) {
        Some(then) => duration(now - then),
        None => "<unknown>".to_owned(),
    }
}

/// Seconds since the epoch of a Time or MicroTime.
pub fn seconds(time: &Value) -> Option<i64> {
    Some(time.as_str()?.parse::<Timestamp>().ok()?.as_second())
}

/// Names and images of a template's containers, `a,b`.
pub fn containers(spec: &Value) -> [Value; 2] {
    let joined = |field: &str| -> Value {
        items(&spec["containers"]).iter().map(|c| text(&c[field])).collect::<Vec<_>>().join(",").into()
    };
    [joined("name"), joined("image")]
}

/// A counter that an absent field leaves at zero.
pub fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// apimachinery's `HumanDuration`: never more than two units, the finer one dropped as the time grows.
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two((seconds / MINUTE, "m"), (seconds % MINUTE, "s")),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two((seconds / HOUR, "h"), (seconds % HOUR / MINUTE, "m")),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two((seconds / DAY, "d"), (seconds % DAY / HOUR, "h")),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two((seconds / YEAR, "y"), (seconds % YEAR / DAY, "d")),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two(first: (i64, &str), second: (i64, &str)) -> String {
    match second.0 {
        0 => format!("{}{}", first.0, first.1),
        _ => format!("{}{}{}{}", first.0, first.1, second.0, second.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_users_know_them() {
        let table = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_720, "5h12m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (183_600, "2d3h"),
            (691_200, "8d"),
            (400 * 86_400, "400d"),
            (2 * 365 * 86_400, "2y"),
            ((2 * 365 + 30) * 86_400, "2y30d"),
            (8 * 365 * 86_400, "8y"),
        ];
        for (seconds, shown) in table {
            assert_eq!(duration(seconds), shown, "{seconds}");
        }
    }
}
