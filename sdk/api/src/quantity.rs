//! Kubernetes quantities (`100m`, `64Mi`, `1e3`): read, added up, and written in the one spelling that upstream prints.
//! Source: apimachinery `resource.Quantity`; amounts are capped at what an int64 holds, fractions round up.

use std::fmt;
use std::ops::{Add, Sub};

/// Upstream's answer to text that is no quantity.
pub const FORMAT_WRONG: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Amounts are counted in thousand-millionths, the finest that Kubernetes keeps.
const NANO: i128 = 1_000_000_000;
/// Upstream caps amounts at what an int64 holds.
const MAX: i128 = i64::MAX as i128 * NANO;

/// An amount, and the family of suffixes it is written with.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

impl Quantity {
    pub const ZERO: Self = Self { nano: 0, format: Format::Decimal };

    /// `None` when the text is no quantity.
    pub fn parse(text: &str) -> Option<Self> {
        let (nano, format) = parse(text)?;
        Some(Self { nano, format })
    }

    /// Thousandths of a unit, as `100m` of CPU counts them.
    pub fn from_milli(milli: i64) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1_000), format: Format::Decimal }
    }

    /// Thousand-millionths of a unit, as `100n` counts them.
    pub fn from_nano(nano: u64) -> Self {
        Self { nano: i128::from(nano), format: Format::Decimal }
    }

    /// Whole units, written with binary suffixes.
    pub fn from_bytes(bytes: u64) -> Self {
        Self { nano: i128::from(bytes).saturating_mul(NANO).min(MAX), format: Format::Binary }
    }

    pub fn from_whole(whole: i64) -> Self {
        Self { nano: i128::from(whole) * NANO, format: Format::Decimal }
    }

    /// The same amount, written with this one's suffixes.
    pub fn written_like(self, other: Self) -> Self {
        Self { format: other.format, ..self }
    }

    /// Thousandths of the unit, rounded up.
    pub fn milli(self) -> i64 {
        self.scaled(1_000)
    }

    /// Whole units, rounded up.
    pub fn whole(self) -> i64 {
        self.scaled(1)
    }

    fn scaled(self, scale: i128) -> i64 {
        let divisor = NANO / scale;
        let rounded_up = self.nano.div_euclid(divisor) + i128::from(self.nano.rem_euclid(divisor) != 0);
        rounded_up.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// `1` is `1000m`: the suffixes do not count.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.nano.partial_cmp(&other.nano)
    }
}

/// A sum is written as its first part is; nothing takes the suffixes of what comes to it.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: (self.nano + other.nano).clamp(-MAX, MAX), format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + Self { nano: -other.nano, ..other }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&print(self.nano, self.format))
    }
}

/// Thousandths of the unit: CPU in millicores. `None` when the text is no quantity.
pub fn milli(text: &str) -> Option<i64> {
    Quantity::parse(text).map(Quantity::milli)
}

/// Whole units, rounded up: bytes of memory, numbers of pods.
pub fn whole(text: &str) -> Option<i64> {
    Quantity::parse(text).map(Quantity::whole)
}

/// The canonical spelling: as few digits as the family of suffixes allows, no fraction.
/// `None` when the text is no quantity.
pub fn canonical(text: &str) -> Option<String> {
    if let Some(short) = already_canonical(text) {
        return Some(short.to_owned());
    }
    Quantity::parse(text).map(|quantity| quantity.to_string())
}

/// Whole numbers below a thousand, the most usual of all.
fn already_canonical(text: &str) -> Option<&str> {
    let plain = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && !text.is_empty() && (text == "0" || !text.starts_with('0'))).then_some(text)
}

fn parse(text: &str) -> Option<(i128, Format)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (factor, exponent, format) = scale(suffix)?;
    let magnitude = amount(whole, fraction, factor, exponent);
    Some((if text.starts_with('-') { -magnitude } else { magnitude }, format))
}

/// `whole.fraction * factor * 10^exponent` in nano units, rounded up, capped.
fn amount(whole: &str, fraction: &str, factor: i128, exponent: i32) -> i128 {
    let digits = || whole.bytes().chain(fraction.bytes());
    let significant = digits().skip_while(|digit| *digit == b'0').count();
    if significant == 0 {
        return 0;
    }
    let shift = exponent.saturating_add(9).saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    let mut value: i128 = 0;
    let mut dropped = false;
    let mut shift_left = shift;
    for (position, digit) in digits().skip_while(|digit| *digit == b'0').enumerate() {
        if position < 25 {
            value = value * 10 + i128::from(digit - b'0');
        } else {
            dropped |= digit != b'0';
            shift_left = shift_left.saturating_add(1);
        }
    }
    let Some(value) = value.checked_mul(factor) else {
        return MAX;
    };
    if shift_left >= 0 {
        let scaled = 10i128.checked_pow(shift_left.unsigned_abs()).and_then(|power| value.checked_mul(power));
        return scaled.map_or(MAX, |scaled| scaled.min(MAX));
    }
    let Some(power) = 10i128.checked_pow(shift_left.unsigned_abs()) else {
        return 1;
    };
    let inexact = value % power != 0 || dropped;
    (value / power + i128::from(inexact)).min(MAX)
}

fn scale(suffix: &str) -> Option<(i128, i32, Format)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 0, Format::Binary));
    let decimal = |exponent: i32| Some((1, exponent, Format::Decimal));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            Some((1, exponent, Format::Exponent))
        }
    }
}

fn print(amount: i128, format: Format) -> String {
    let small = amount.abs() < 1024 * NANO;
    match format {
        Format::Binary if !small => print_binary(amount),
        Format::Binary => print_decimal(amount, Format::Decimal),
        decimal => print_decimal(amount, decimal),
    }
}

fn print_binary(amount: i128) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut whole = amount / NANO + (amount % NANO).signum();
    let mut power = 0;
    while whole % 1024 == 0 && power + 1 < SUFFIXES.len() {
        whole /= 1024;
        power += 1;
    }
    format!("{whole}{}", SUFFIXES[power])
}

fn print_decimal(amount: i128, format: Format) -> String {
    const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if amount == 0 {
        return "0".to_owned();
    }
    let mut mantissa = amount;
    let mut power = 0;
    while mantissa % 1000 == 0 && power + 1 < SUFFIXES.len() {
        mantissa /= 1000;
        power += 1;
    }
    match format {
        Format::Exponent if power != 3 => format!("{mantissa}e{}", power as i32 * 3 - 9),
        _ => format!("{mantissa}{}", SUFFIXES[power]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (given, wanted) in [
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("512", "512"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e6", "12e6"),
            ("100", "100"),
            ("0", "0"),
            ("0Gi", "0"),
            ("+3", "3"),
            ("-1500m", "-1500m"),
            ("0.0000000001", "1n"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999999999", "9223372036854775807"),
            (".5", "500m"),
            ("5.", "5"),
            ("007", "7"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(wanted), "{given}");
        }
        for wrong in ["", "x", "1.2.3", "1Qi", "Gi", "1 Gi", "--1", "1e", "1ki"] {
            assert_eq!(canonical(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn suffixes_scale_and_fractions_round_up() {
        let cases = [
            ("1", Some(1_000), Some(1)),
            ("100m", Some(100), Some(1)),
            ("0.5", Some(500), Some(1)),
            (".5", Some(500), Some(1)),
            ("64Mi", Some(64 << 20).map(|b: i64| b * 1_000), Some(64 << 20)),
            ("1e3", Some(1_000_000), Some(1_000)),
            ("1n", Some(1), Some(1)),
            ("-1500m", Some(-1_500), Some(-1)),
            ("", None, None),
            ("1.2.3", None, None),
            ("10Zi", None, None),
            ("9E", Some(i64::MAX), Some(9_000_000_000_000_000_000)),
        ];
        for (text, in_milli, in_whole) in cases {
            assert_eq!((milli(text), whole(text)), (in_milli, in_whole), "{text}");
        }
    }

    #[test]
    fn sums_keep_the_suffixes_of_their_parts() {
        let sum = |all: &[&str]| all.iter().fold(Quantity::ZERO, |sum, text| sum + Quantity::parse(text).unwrap());
        for (parts, wanted) in [
            (&["256Mi", "256Mi"][..], "512Mi"),
            (&["500m", "1500m"], "2"),
            (&["1Gi", "1k"], "1073742824"),
            (&[], "0"),
            (&["1", "-250m"], "750m"),
        ] {
            assert_eq!(sum(parts).to_string(), wanted, "{parts:?}");
        }
        let like = Quantity::from_whole(3 << 30).written_like(Quantity::parse("1Mi").unwrap());
        assert_eq!(like.to_string(), "3Gi");
    }
}
