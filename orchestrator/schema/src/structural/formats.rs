//! The formats that a schema may ask of a text. Unknown formats ask nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;

/// Formats that are looked at; any other is only a word for readers.
pub(super) const KNOWN: &[&str] = &[
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "date-time",
    "datetime",
    "int32",
    "int64",
    "float",
    "double",
    "k8s-short-name",
    "k8s-long-name",
];

/// Whether a text has the format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => is_duration(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uri" => matches(&URI, text),
        "email" => matches(&EMAIL, text),
        "hostname" => text.len() <= 255 && matches(&HOSTNAME, text),
        "mac" => matches(&MAC, text),
        "uuid" => matches(&UUID, text),
        "uuid3" => matches(&UUID, text) && text.replace('-', "").as_bytes()[12] == b'3',
        "uuid4" => matches(&UUID, text) && text.replace('-', "").as_bytes()[12] == b'4',
        "uuid5" => matches(&UUID, text) && text.replace('-', "").as_bytes()[12] == b'5',
        "hexcolor" => matches(&HEX_COLOR, text),
        "rgbcolor" => matches(&RGB_COLOR, text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "ssn" => matches(&SSN, text),
        "isbn" | "isbn10" | "isbn13" => is_isbn(format, text),
        "creditcard" => is_luhn(text),
        "k8s-short-name" => text.len() <= 63 && matches(&SHORT_NAME, text),
        "k8s-long-name" => text.len() <= 253 && text.split('.').all(|label| matches(&SHORT_NAME, label)),
        _ => true,
    }
}

type Pattern = LazyLock<Regex>;

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.is_match(text)
}

fn compiled(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is fixed and tested")
}

static URI: Pattern = LazyLock::new(|| compiled(r"^[A-Za-z][A-Za-z0-9+.\-]*:\S+$|^/\S*$"));
static EMAIL: Pattern = LazyLock::new(|| compiled(r"^[^\s@<>]+@[^\s@<>]+$"));
static HOSTNAME: Pattern = LazyLock::new(|| {
    compiled(r"^[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?)*\.?$")
});
static MAC: Pattern = LazyLock::new(|| compiled(r"^([0-9A-Fa-f]{2}[:\-]){5}[0-9A-Fa-f]{2}$"));
static UUID: Pattern =
    LazyLock::new(|| compiled(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"));
static HEX_COLOR: Pattern = LazyLock::new(|| compiled(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB_COLOR: Pattern = LazyLock::new(|| {
    compiled(r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*(,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*){2}\)$")
});
static SSN: Pattern = LazyLock::new(|| compiled(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static SHORT_NAME: Pattern = LazyLock::new(|| compiled(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"));

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let length: Option<u8> = length.parse().ok();
    let fits = |max| length.is_some_and(|length| length <= max);
    (address.parse::<Ipv4Addr>().is_ok() && fits(32)) || (address.parse::<Ipv6Addr>().is_ok() && fits(128))
}

/// Go's `1h2m3s`, and the spelt-out `3 days` that upstream's format library takes.
fn is_duration(text: &str) -> bool {
    static GO: Pattern = LazyLock::new(|| compiled(r"^[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$"));
    static WORDS: Pattern = LazyLock::new(|| {
        compiled(
            r"^(\d+(\.\d+)?)\s*(ns|nanos?|nanoseconds?|us|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$",
        )
    });
    matches(&GO, text) || matches(&WORDS, text)
}

fn is_isbn(format: &str, text: &str) -> bool {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| if c == 'X' || c == 'x' { 10 } else { c.to_digit(10).unwrap_or(99) })
        .collect();
    let ten = digits.len() == 10
        && digits.iter().zip((1..=10).rev()).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0;
    let thirteen = digits.len() == 13
        && digits.iter().enumerate().map(|(at, digit)| digit * if at % 2 == 0 { 1 } else { 3 }).sum::<u32>() % 10 == 0;
    match format {
        "isbn10" => ten,
        "isbn13" => thirteen,
        _ => ten || thirteen,
    }
}

fn is_luhn(text: &str) -> bool {
    let digits: Option<Vec<u32>> = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (12..=19).contains(&digits.len())) else { return false };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}
