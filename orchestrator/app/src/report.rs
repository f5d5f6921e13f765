//! What `up` tells while it starts: one line each, on stderr; data goes to stdout.

use std::io::{self, Write as _};
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

/// Writes data to stdout; a reader that has gone, as with `| head`, is no failure.
pub fn print(text: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
