//! How much of something a container that only claims to run uses, as time goes by: always the same, or a wave between
//! two amounts. All curves of one period are in step, whenever their containers began: a day has its night everywhere.

use std::time::Duration;

use jiff::Timestamp;

/// Amounts are of any unit: cores, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Curve {
    pub low: f64,
    pub high: f64,
    /// From one low to the next; `None`: it stays `low`.
    pub period: Option<Duration>,
}

impl Curve {
    pub fn constant(amount: f64) -> Self {
        Self { low: amount, high: amount, period: None }
    }

    pub fn at(&self, time: Timestamp) -> f64 {
        match self.turn() {
            None => self.low,
            Some(turn) => self.middle() - self.swing() * (seconds(time) * turn).cos(),
        }
    }

    /// What was used between two times, in units times seconds.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> f64 {
        let elapsed = seconds(to) - seconds(from);
        let used = match self.turn() {
            None => self.low * elapsed,
            Some(turn) => {
                let wave = |time: Timestamp| self.swing() / turn * (seconds(time) * turn).sin();
                self.middle() * elapsed - (wave(to) - wave(from))
            }
        };
        used.max(0.0)
    }

    /// Radians per second.
    fn turn(&self) -> Option<f64> {
        let period = self.period.filter(|period| !period.is_zero())?;
        Some(std::f64::consts::TAU / period.as_secs_f64())
    }

    fn middle(&self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    fn swing(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_wave_swings_between_its_amounts_and_adds_up_to_their_mean() {
        let wave = Curve { low: 1.0, high: 3.0, period: Some(Duration::from_secs(100)) };
        let seen = [0, 25, 50, 75, 100, 1_800_000_000].map(|second| (wave.at(at(second)) * 100.0).round() / 100.0);
        assert_eq!(seen, [1.0, 2.0, 3.0, 2.0, 1.0, 1.0]);
        assert!((wave.between(at(1_700_000_010), at(1_700_000_110)) - 200.0).abs() < 1e-3);
        assert!(wave.between(at(0), at(50)) < wave.between(at(50), at(100)) + 1e-9);
        assert!((wave.between(at(25), at(75)) - 131.83).abs() < 0.01, "the upper half");
    }

    #[test]
    fn a_constant_is_a_product() {
        let constant = Curve::constant(0.5);
        assert_eq!((constant.at(at(7)), constant.between(at(10), at(30))), (0.5, 10.0));
        assert_eq!(constant.between(at(30), at(10)), 0.0);
    }
}
