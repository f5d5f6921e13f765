//! The one spelling of a time: UTC, whole seconds (`Time`) or six digits (`MicroTime`).

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

/// RFC 3339 in UTC with whole seconds; `None` when the text is no RFC 3339 time.
pub(crate) fn seconds(text: &str) -> Option<String> {
    let timestamp = read(text)?;
    Some(print_seconds(timestamp.as_second()))
}

/// RFC 3339 in UTC with microseconds.
pub(crate) fn micros(text: &str) -> Option<String> {
    let timestamp = read(text)?;
    Some(timestamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// From protobuf: `None` outside the years that RFC 3339 can say.
pub(crate) fn from_parts(seconds: i64, nanos: i32, micro: bool) -> Option<String> {
    let timestamp = Timestamp::new(seconds, nanos.clamp(0, 999_999_999)).ok()?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    let zoned = timestamp.to_zoned(TimeZone::UTC);
    (zoned.year() >= 0).then(|| zoned.strftime(format).to_string())
}

/// For protobuf: seconds since the epoch, and nanoseconds of the last one.
pub(crate) fn parts(text: &str) -> Option<(i64, i32)> {
    let timestamp = read(text)?;
    let nanos = timestamp.as_nanosecond().rem_euclid(1_000_000_000);
    let seconds = timestamp.as_nanosecond().div_euclid(1_000_000_000);
    Some((i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?))
}

/// Go's words for a text that is no time.
pub(crate) fn wrong(text: &str) -> String {
    format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\"")
}

fn read(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let rfc3339 = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.as_bytes()[0].is_ascii_digit();
    if !rfc3339 {
        return None;
    }
    PARSER.parse_timestamp(text).ok()
}

fn print_seconds(seconds: i64) -> String {
    from_parts(seconds, 0, false).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        assert_eq!(seconds("2024-01-02T03:04:05Z").as_deref(), Some("2024-01-02T03:04:05Z"));
        assert_eq!(seconds("2024-01-02T05:04:05.9+02:00").as_deref(), Some("2024-01-02T03:04:05Z"));
        assert_eq!(micros("2024-01-02T03:04:05Z").as_deref(), Some("2024-01-02T03:04:05.000000Z"));
        for wrong in ["", "2024-01-02", "2024-13-02T03:04:05Z", "now", "2024-01-02 03:04:05Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
