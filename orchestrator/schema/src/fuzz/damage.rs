//! Damage, drawn from a fixed stream, so that a run can be repeated: a finding names its round.
//!
//! ```text
//! AMPHIPOD_FUZZ_SECONDS=600 cargo nextest run --workspace -E 'test(damaged)' --no-capture
//! AMPHIPOD_FUZZ_FIRST=12345 …                                                              begins at that round
//! ```

use std::time::{Duration, Instant};

/// Where no time is asked for.
const ROUNDS: u64 = 2_000;

/// A stream of numbers that one seed decides.
struct Stream(u64);

impl Stream {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// A few bytes flipped, cut out, doubled, taken from another seed, or replaced by what parsers stumble over.
    fn damaged(&mut self, seeds: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let part = &other[from..(from + self.below(64)).min(other.len())];
                    bytes.splice(at..end, part.iter().copied());
                }
                _ => drop(bytes.splice(at..at, words[self.below(words.len())].iter().copied())),
            }
        }
        bytes
    }
}

/// Names the round when the target panics in it.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in round {}: AMPHIPOD_FUZZ_FIRST={}", self.0, self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Calls `target` with damaged forms of the seeds; `words` are what this kind of input may be damaged with.
pub fn run(seeds: &[Vec<u8>], words: &[&[u8]], target: impl Fn(&[u8])) {
    let first = number("AMPHIPOD_FUZZ_FIRST").unwrap_or(0);
    let until = number("AMPHIPOD_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut round = Round(first);
    while until.map_or(round.0 < first + ROUNDS, |until| Instant::now() < until) {
        target(&Stream(round.0).damaged(seeds, words));
        round.0 += 1;
    }
    if until.is_some() {
        eprintln!("{} rounds", round.0 - first);
    }
}
