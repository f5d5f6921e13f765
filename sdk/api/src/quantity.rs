//! Kubernetes quantities (`100m`, `64Mi`, `1e3`) as integers in the smallest unit that matters here.
//! Source: apimachinery `resource.Quantity`; sums saturate, fractions round up, as upstream's `MilliValue` does.

/// Thousandths of the unit: CPU in millicores. `None` when the text is no quantity.
pub fn milli(text: &str) -> Option<i64> {
    scaled(text, 1_000)
}

/// Whole units, rounded up: bytes of memory, numbers of pods.
pub fn whole(text: &str) -> Option<i64> {
    scaled(text, 1)
}

fn scaled(text: &str, scale: i128) -> Option<i64> {
    let (mantissa, digits_after_point, rest) = mantissa(text)?;
    let (numerator, denominator) = suffix(rest)?;
    let value = mantissa.checked_mul(numerator)?.checked_mul(scale)?;
    let divisor = denominator.checked_mul(10_i128.checked_pow(digits_after_point)?)?;
    let rounded_up = value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0);
    Some(rounded_up.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// Digits without the point, how many of them stood after it, and what follows.
fn mantissa(text: &str) -> Option<(i128, u32, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, rest) = unsigned.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (integer.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let value: i128 = format!("0{integer}{fraction}").parse().ok()?;
    let signed = if text.starts_with('-') { -value } else { value };
    Some((signed, u32::try_from(fraction.len()).ok()?, rest))
}

fn suffix(text: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match text {
        "" => decimal(0),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
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
            let exponent: i32 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
