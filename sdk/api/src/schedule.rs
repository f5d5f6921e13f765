//! Schedules of CronJobs, read with the complaints and walked with the steps of the library that upstream reads them with:
//! five fields or a descriptor, and the moments that they name in a time zone.
//!
//! Where clocks are put forward, a time that does not exist is passed by; where they are put back, one that comes twice
//! counts twice.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

const FIELDS: [Bounds; 5] = [
    Bounds { low: 0, high: 59, names: &[] },
    Bounds { low: 0, high: 23, names: &[] },
    Bounds { low: 1, high: 31, names: &[] },
    Bounds {
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const EVERY: &str = "@every ";
const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
/// A date that does not come within these never does.
const YEARS_MAX: i16 = 5;

/// What one of the five fields may hold; the first name stands for `low`.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

/// A schedule that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Named in the text itself; only old objects do that.
    zone: Option<String>,
    when: When,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    Every(Duration),
    /// Minutes, hours, days, months, weekdays as bits.
    Fields {
        bits: [u64; 5],
        any_day: bool,
    },
}

impl Schedule {
    /// The complaint is upstream's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let zoned = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let (zone, text) = match zoned.map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            Some((zone, rest)) => (Some(zone.to_owned()), rest.trim()),
            None => (None, text),
        };
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let when = if text.starts_with('@') { parse_descriptor(text) } else { parse_fields(text) };
        Ok(Self { zone, when: when? })
    }

    /// The first moment after this one; `None`: there is none. `zone` is where it is meant, unless the text says.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let own = self.zone.as_ref().and_then(|name| TimeZone::get(name).ok());
        match &self.when {
            When::Every(delay) => Timestamp::from_second(after.as_second()).ok()?.checked_add(*delay).ok(),
            When::Fields { bits, any_day } => {
                // The first whole minute after.
                let minute = after.as_second().div_euclid(60) + 1;
                let from = Timestamp::from_second(minute * 60).ok()?;
                search(from.to_zoned(own.unwrap_or_else(|| zone.clone())), bits, *any_day)
            }
        }
    }
}

/// Goes on in the largest steps that pass nothing by.
fn search(mut at: Zoned, [minutes, hours, days, months, weekdays]: &[u64; 5], any_day: bool) -> Option<Timestamp> {
    let has = |bits: &u64, value: i8| bits >> value & 1 == 1;
    let last = at.year() + YEARS_MAX;
    while at.year() <= last {
        let weekday = at.weekday().to_sunday_zero_offset();
        let (by_date, by_weekday) = (has(days, at.day()), has(weekdays, weekday));
        if !has(months, at.month()) {
            at = at.first_of_month().ok()?.checked_add(1.month()).ok()?.start_of_day().ok()?;
        } else if !(if any_day { by_date && by_weekday } else { by_date || by_weekday }) {
            at = at.tomorrow().ok()?.start_of_day().ok()?;
        } else if !has(hours, at.hour()) {
            at = at.checked_add((60 - i64::from(at.minute())).minutes()).ok()?;
        } else if !has(minutes, at.minute()) {
            at = at.checked_add(1.minute()).ok()?;
        } else {
            return Some(at.timestamp());
        }
    }
    None
}

fn parse_fields(text: &str) -> Result<When, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let (mut bits, mut any_day) = ([0; 5], false);
    for (at, (field, bounds)) in fields.iter().zip(&FIELDS).enumerate() {
        for range in field.split(',').filter(|range| !range.is_empty()) {
            let range = parse_range(range, bounds)?;
            bits[at] |= range.bits;
            // The days of the month and of the week are alternatives, unless one of them is any.
            any_day |= range.is_any && (at == 2 || at == 4);
        }
    }
    Ok(When::Fields { bits, any_day })
}

fn parse_descriptor(text: &str) -> Result<When, String> {
    if let Some((_, fields)) = DESCRIPTORS.iter().find(|(name, _)| *name == text) {
        return parse_fields(fields);
    }
    let duration = text.strip_prefix(EVERY).ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
    let seconds = parse_duration(duration)
        .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {duration:?}"))?;
    // Whole seconds, one at least.
    let seconds = Duration::try_from_secs_f64(seconds).map_or(1, |duration| duration.as_secs().max(1));
    Ok(When::Every(Duration::from_secs(seconds)))
}

/// Go's durations, in seconds: `1h30m`, `1.5s`.
fn parse_duration(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let (mut seconds, mut parts) = (0.0, 0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - number);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == &rest[number..number + unit])?;
        seconds += rest[..number].parse::<f64>().ok()? * length;
        rest = &rest[number + unit..];
        parts += 1;
    }
    (parts > 0).then_some(sign * seconds)
}

/// `number`, `number-number`, `*`, `?`, each with `/step`.
fn parse_range(text: &str, bounds: &Bounds) -> Result<Range, String> {
    let (range, step) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [range] => (*range, None),
        [range, step] => (*range, Some(number(step)?)),
        _ => return Err(format!("too many slashes: {text}")),
    };
    let ends: Vec<&str> = range.split('-').collect();
    let (start, end) = match ends.as_slice() {
        ["*" | "?", ..] => (bounds.low, bounds.high),
        [one] => {
            let start = bounds.value(one)?;
            (start, if step.is_some() { bounds.high } else { start })
        }
        [start, end] => (bounds.value(start)?, bounds.value(end)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    if start < bounds.low {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.low));
    }
    if end > bounds.high {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.high));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == Some(0) {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let step = step.unwrap_or(1);
    let values = (start..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let bits = values.fold(0, |bits, value| bits | 1 << value);
    Ok(Range { bits, is_any: matches!(ends[0], "*" | "?") && step == 1 })
}

struct Range {
    bits: u64,
    is_any: bool,
}

impl Bounds {
    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map_or_else(|| number(text), |(_, value)| Ok(value))
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
        Ok(number) => u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_pass_or_are_refused_in_known_words() {
        let table = [
            ("*/5 * * * *", ""),
            ("0 0 1,15 jan-MAR sun", ""),
            ("0/10 ? * * *", ""),
            ("@daily", ""),
            ("@every 1h30m", ""),
            ("TZ=UTC 0 0 * * *", ""),
            ("@every 1.5s", ""),
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("@never", "unrecognized descriptor: @never"),
            ("@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
        ];
        for (text, complaint) in table {
            assert_eq!(Schedule::parse(text).err().unwrap_or_default(), complaint, "{text}");
        }
    }

    /// The next moments after `from`, as the zone's clock shows them.
    fn check(schedule: &str, zone: &str, from: &str, wanted: &[&str]) {
        let schedule = Schedule::parse(schedule).expect("a schedule");
        let zone = TimeZone::get(zone).expect("a zone");
        let mut at: Timestamp = from.parse().expect("a time");
        for wanted in wanted {
            at = schedule.next(at, &zone).expect("a next time");
            assert_eq!(at.to_zoned(zone.clone()).strftime("%a %F %H:%M:%S%:z").to_string(), *wanted);
        }
    }

    #[test]
    fn the_next_times_are_named() {
        let from = "2026-01-30T23:58:30Z";
        check("* * * * *", "UTC", from, &["Fri 2026-01-30 23:59:00+00:00", "Sat 2026-01-31 00:00:00+00:00"]);
        check("*/20 4-5 * * *", "UTC", from, &["Sat 2026-01-31 04:00:00+00:00", "Sat 2026-01-31 04:20:00+00:00"]);
        check("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", &["Tue 2026-03-31 00:00:00+00:00"]);
        check("0 12 * feb mon-tue", "UTC", from, &["Mon 2026-02-02 12:00:00+00:00", "Tue 2026-02-03 12:00:00+00:00"]);
        check("@weekly", "UTC", from, &["Sun 2026-02-01 00:00:00+00:00", "Sun 2026-02-08 00:00:00+00:00"]);
        check("@every 90s", "UTC", from, &["Sat 2026-01-31 00:00:00+00:00", "Sat 2026-01-31 00:01:30+00:00"]);
        check("0 0 29 2 *", "UTC", from, &["Tue 2028-02-29 00:00:00+00:00"]);
        let never = Schedule::parse("0 0 30 2 *").expect("a schedule");
        assert_eq!(never.next(from.parse().expect("a time"), &TimeZone::UTC), None);
    }

    #[test]
    fn days_of_month_and_week_are_alternatives_unless_one_is_any() {
        let from = "2026-01-01T00:00:00Z";
        check(
            "0 0 13 * fri",
            "UTC",
            from,
            &["Fri 2026-01-02 00:00:00+00:00", "Fri 2026-01-09 00:00:00+00:00", "Tue 2026-01-13 00:00:00+00:00"],
        );
        check("0 0 */1 * fri", "UTC", from, &["Fri 2026-01-02 00:00:00+00:00", "Fri 2026-01-09 00:00:00+00:00"]);
        check(
            "0 0 */9 * fri",
            "UTC",
            from,
            &["Fri 2026-01-02 00:00:00+00:00", "Fri 2026-01-09 00:00:00+00:00", "Sat 2026-01-10 00:00:00+00:00"],
        );
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        check("0 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", &["Thu 2026-01-01 09:00:00+05:30"]);
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["Sat 2026-03-28 02:30:00+01:00", "Mon 2026-03-30 02:30:00+02:00"],
        );
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["Sun 2026-10-25 02:30:00+02:00", "Sun 2026-10-25 02:30:00+01:00", "Mon 2026-10-26 02:30:00+01:00"],
        );
        check("TZ=Asia/Tokyo 0 9 * * *", "UTC", "2026-01-01T12:00:00Z", &["Fri 2026-01-02 00:00:00+00:00"]);
    }
}
