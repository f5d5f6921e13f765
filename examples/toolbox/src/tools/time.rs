//! The clock, in UTC, and waiting.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::io::Io;
use crate::shell::{Outcome, Shell};

use super::misused;

/// `date`, `date +FORMAT`, `-u`, `-d @SECONDS`, `-Iseconds`
pub fn date(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    let mut time = Timestamp::try_from(std::time::SystemTime::UNIX_EPOCH + (shell.clock)()).unwrap_or_default();
    let mut format = "%a %b %e %H:%M:%S UTC %Y";
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-u" => {}
            "-Iseconds" => format = "%Y-%m-%dT%H:%M:%S+00:00",
            "-I" => format = "%Y-%m-%d",
            "-d" => {
                let seconds = words.next().and_then(|text| text.strip_prefix('@')?.parse().ok());
                match seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
                    Some(given) => time = given,
                    None => return misused(io, "date", "-d takes @SECONDS only"),
                }
            }
            word => match word.strip_prefix('+') {
                Some(given) => format = given,
                None => return misused(io, "date", &format!("invalid date '{word}'")),
            },
        }
    }
    match strtime::format(format, &time.to_zoned(TimeZone::UTC)) {
        Ok(text) => io.say(&format!("{text}\n")),
        Err(error) => return misused(io, "date", &error.to_string()),
    }
    Ok(0)
}

/// The sum of its arguments: `1`, `0.5`, `2m`, `infinity`
pub fn sleep(shell: &mut Shell, words: &[String], io: &Io) -> Outcome {
    if words.is_empty() {
        return misused(io, "sleep", "missing operand");
    }
    let mut sum = Duration::ZERO;
    for word in words {
        match duration(word) {
            Some(duration) => sum = sum.saturating_add(duration),
            None => return misused(io, "sleep", &format!("invalid number '{word}'")),
        }
    }
    (shell.pause)(sum);
    Ok(0)
}

fn duration(word: &str) -> Option<Duration> {
    if matches!(word, "infinity" | "inf") {
        return Some(crate::FOREVER);
    }
    let (number, unit) = match word.char_indices().last()? {
        (at, 's') => (&word[..at], 1.0),
        (at, 'm') => (&word[..at], 60.0),
        (at, 'h') => (&word[..at], 3600.0),
        (at, 'd') => (&word[..at], 86400.0),
        _ => (word, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * unit).ok().map(|duration| duration.min(crate::FOREVER))
}
