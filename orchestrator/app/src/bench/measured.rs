//! Figures: percentiles of latencies, rates, and what a process costs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies between a microsecond and a minute, three digits.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order"))
    }

    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Percentiles in milliseconds.
    pub fn figures(&self) -> Value {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        json!({"p50Ms": at(0.5), "p99Ms": at(0.99), "maxMs": self.0.max() as f64 / 1_000.0})
    }

    /// Percentiles with the rate over this wall time.
    pub fn rate(&self, wall: Duration) -> Value {
        let mut figures = self.figures();
        figures["perSecond"] = json!((self.count() as f64 / wall.as_secs_f64()).round());
        figures
    }
}

/// CPU time a process has used, all threads.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// A line of `/proc/PID/smaps_rollup` in KiB: `Rss`, `Pss`.
pub fn memory_kib(pid: u32, what: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    Ok(line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default())
}

/// Direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let parent_of = |candidate: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|candidate| parent_of(*candidate) == Some(pid)).collect()
}
