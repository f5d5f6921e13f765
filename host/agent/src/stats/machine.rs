//! What this machine has used since it started, read from `/proc` as the kubelet reads its root group.

use jiff::Timestamp;

use super::Used;

/// The kernel counts CPU time in hundredths of a second, whatever its own clock.
const TICK_NANOSECONDS: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    pub started_at: Timestamp,
    pub used: Used,
    pub available_bytes: u64,
}

pub fn look() -> Machine {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    read(&file("/proc/stat"), &file("/proc/meminfo"))
}

fn read(stat: &str, memory: &str) -> Machine {
    let line = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let numbers = |text: &str| text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect::<Vec<u64>>();
    // user nice system idle iowait irq softirq steal
    let times = line("cpu").map(numbers).unwrap_or_default();
    let busy: u64 = times.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, time)| time).sum();
    let started = line("btime").and_then(|text| Timestamp::from_second(text.trim().parse().ok()?).ok());
    let bytes = |name: &str| -> u64 {
        let found = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_024
    };
    let total = bytes("MemTotal");
    let working_set = total.saturating_sub(bytes("MemFree")).saturating_sub(bytes("Inactive(file)"));
    Machine {
        started_at: started.unwrap_or(Timestamp::UNIX_EPOCH),
        used: Used { cpu_nanoseconds: busy * TICK_NANOSECONDS, memory_bytes: working_set },
        available_bytes: total - working_set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_forgotten_pages_are_no_use() {
        let stat = "cpu  100 20 30 9999 888 1 2 3 50 0\ncpu0 1 1 1 1\nbtime 1700000000\n";
        let memory = "MemTotal:        1000 kB\nMemFree:          300 kB\nInactive(file):   200 kB\n";
        let machine = read(stat, memory);
        assert_eq!(machine.used, Used { cpu_nanoseconds: 156 * TICK_NANOSECONDS, memory_bytes: 500 * 1_024 });
        assert_eq!((machine.available_bytes, machine.started_at.as_second()), (500 * 1_024, 1_700_000_000));
        assert_eq!(read("", "").used, Used::default());
        assert!(look().used.cpu_nanoseconds > 0, "this machine tells");
    }
}
