//! What is counted only when somebody asks: objects in the store, and what this process takes.

use std::fmt::Write as _;

use crate::measure::resource;
use crate::server::Server;

/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Lines of Prometheus' text format.
pub fn text(server: &Server) -> String {
    let mut out = String::new();
    objects(server, &mut out);
    process(&mut out);
    out
}

fn objects(server: &Server, out: &mut String) {
    let (catalog, snapshot) = (server.catalog.load(), server.store.snapshot());
    let mut counted: Vec<(String, &str, &str, usize)> = Vec::new();
    for entry in catalog.registry.entries() {
        let Some(id) = entry.resource else { continue };
        let (group, plural) = entry.kind.storage.split_once('/').unwrap_or(("", entry.kind.storage));
        counted.push((resource(entry.kind.storage), group, plural, snapshot.count(id, None)));
    }
    counted.sort();
    counted.dedup();
    head(out, "apiserver_storage_objects", "gauge", "Number of stored objects at the time of the question, by kind.");
    for (resource, _, _, count) in &counted {
        line(out, &format!("apiserver_storage_objects{{resource=\"{resource}\"}}"), *count as f64);
    }
    head(out, "apiserver_resource_objects", "gauge", "Number of stored objects at the time of the question, by kind.");
    for (_, group, plural, count) in &counted {
        line(out, &format!("apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}}"), *count as f64);
    }
}

/// What cannot be read is left out.
fn process(out: &mut String) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    // The name of the program, in parentheses, may have blanks.
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let status = read("/proc/self/status");
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let booted = read("/proc/stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let limits = read("/proc/self/limits");
    let files_max = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok());
    let known: [(&str, &str, &str, Option<f64>); 6] = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            fields.get(11).zip(fields.get(12)).map(|(user, system)| (user + system) / TICKS),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            booted.zip(fields.get(19)).map(|(booted, started)| booted + started / TICKS),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            kibibytes("VmRSS").map(|size| size * 1024.0),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            kibibytes("VmSize").map(|size| size * 1024.0),
        ),
        (
            "process_open_fds",
            "gauge",
            "Number of open file descriptors.",
            std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64),
        ),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", files_max),
    ];
    for (name, kind, help, value) in known {
        if let Some(value) = value {
            head(out, name, kind, help);
            line(out, name, value);
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, series: &str, value: f64) {
    _ = writeln!(out, "{series} {value}");
}
