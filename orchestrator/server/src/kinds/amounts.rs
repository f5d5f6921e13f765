//! Counts that may be written as a share of all: `3` or `25%`.

use serde_json::Value;

use super::Problem;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' \
    (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// Problems of a count or share that may be absent.
pub fn validate(value: &Value, path: &str) -> Option<Problem> {
    match amount(value) {
        None => Some(Problem::invalid(path, value.clone(), PERCENT)),
        Some(..0) => Some(Problem::invalid(path, value.clone(), "must be greater than or equal to 0")),
        Some(_) => None,
    }
}

/// A share of more than all.
pub fn validate_share(value: &Value, path: &str) -> Option<Problem> {
    let share = value.as_str()?;
    let percent = amount(value)?;
    (percent > 100).then(|| Problem::invalid(path, share, "must not be greater than 100%"))
}

/// A count, or the number before the percent sign. Absent is zero; `None` for text that is no share.
pub fn amount(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::String(share) => share.strip_suffix('%')?.parse::<u32>().ok().map(i64::from),
        other => other.as_i64(),
    }
}
