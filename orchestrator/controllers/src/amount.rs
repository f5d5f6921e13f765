//! Numbers that may be given as a share of a whole: `maxUnavailable: 25%`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// The number, or the percentage of `whole`. The API has refused anything else.
pub fn scaled(amount: &IntOrString, whole: i32, round: Round) -> i32 {
    let percent: i64 = match amount {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text.trim_end_matches('%').parse().unwrap_or(0),
    };
    let hundredths = i64::from(whole) * percent;
    i32::try_from(if round == Round::Up { (hundredths + 99) / 100 } else { hundredths / 100 }).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_told() {
        let share = |text: &str| IntOrString::String(text.into());
        assert_eq!(scaled(&IntOrString::Int(7), 3, Round::Up), 7);
        assert_eq!([Round::Up, Round::Down].map(|round| scaled(&share("34%"), 10, round)), [4, 3]);
        assert_eq!([Round::Up, Round::Down].map(|round| scaled(&share("50%"), 10, round)), [5, 5]);
        assert_eq!([Round::Up, Round::Down].map(|round| scaled(&share("0%"), 10, round)), [0, 0]);
    }
}
