//! How the program ends when it cannot do what it was asked: one line on stderr, exit 2 for what the caller must
//! mend (flags, files, ports), exit 1 for the rest.

use std::fmt;
use std::process::ExitCode;

use amphipod_api::answer;

/// The caller's input is wrong; nothing was started. The text says what, why, and what to do.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A [`Refused`] as an error of the program.
pub fn refuse(text: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Refused(text.into()))
}

/// Prints the one line and gives the exit code that belongs to it.
pub fn print(error: &anyhow::Error) -> ExitCode {
    eprintln!("amphipod: {}", answer::chain(error.as_ref()));
    if error.chain().any(|cause| cause.is::<Refused>()) { ExitCode::from(2) } else { ExitCode::FAILURE }
}
