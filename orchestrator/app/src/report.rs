//! What `up` tells while it starts: one line each, on stderr; data goes to stdout.

use std::time::Instant;

/// Prints a line per step with the time since the start.
pub struct Report {
    started: Instant,
}

impl Report {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub fn line(&self, text: impl AsRef<str>) {
        eprintln!("{:>6.2} s  {}", self.started.elapsed().as_secs_f64(), text.as_ref());
    }
}
