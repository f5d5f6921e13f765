//! What busybox is for OCI images, as a Wasm component: `sh -c` and a few tools. What to do is read from argv, as a
//! container's `command` and `args` write it.

mod arithmetic;
mod control;
mod glob;
mod io;
mod redirect;
mod shell;
mod simple;
#[cfg(test)]
mod tests;
mod tools;
mod words;

use std::time::{Duration, SystemTime};

use io::Io;
use shell::{Shell, Stop};

#[expect(clippy::disallowed_methods, reason = "a guest has one thread, which sleeps when a script says so")]
fn main() {
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut shell = Shell::new(std::env::vars().collect(), folder(), clock, std::thread::sleep);
    let words: Vec<String> = std::env::args().collect();
    let io = Io::of_process();
    let code = run(&mut shell, &words, &io);
    let _ = io.output.borrow_mut().flush();
    exit(code)
}

/// Runs what argv asks for; the exit code. A name that is no tool's stands for the toolbox itself: its first argument is
/// the tool then, as with a container that has `args` but no `command`.
pub(crate) fn run(shell: &mut Shell, words: &[String], io: &Io) -> i32 {
    let first = words.iter().position(|word| tools::find(word).is_some()).filter(|at| *at < 2);
    let Some((word, tool)) = first.and_then(|at| Some((at, tools::find(&words[at])?))) else {
        return match words.get(1) {
            None => {
                io.say(&format!("The toolbox has: {}\n", tools::names().join(" ")));
                0
            }
            Some(name) => {
                io.complain(&format!("toolbox: {name}: not found"));
                127
            }
        };
    };
    match tool(shell, &words[word + 1..], io) {
        Ok(code) | Err(Stop::Exit(code) | Stop::Return(code)) => code,
        Err(Stop::Break(_) | Stop::Continue(_)) => 0,
        Err(Stop::Failed(text)) => {
            io.complain(&text);
            1
        }
        Err(Stop::Refused(text)) => {
            io.complain(&format!("sh: {text}"));
            2
        }
    }
}

/// Waits may be longer than a clock counts.
pub(crate) const FOREVER: Duration = Duration::from_secs(1 << 32);

#[cfg(target_os = "wasi")]
fn folder() -> std::path::PathBuf {
    wasip2::cli::environment::initial_cwd().unwrap_or_else(|| "/".to_owned()).into()
}

#[cfg(not(target_os = "wasi"))]
fn folder() -> std::path::PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "/".into())
}

#[cfg(target_os = "wasi")]
fn exit(code: i32) -> ! {
    wasip2::cli::exit::exit_with_code(u8::try_from(code & 0xff).unwrap_or(1));
    unreachable!("the host ended this instance")
}

#[cfg(not(target_os = "wasi"))]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
