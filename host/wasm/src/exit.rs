//! How a guest's end becomes the exit code, reason and message of its container.

use amphipod_runtime::Exit;
use jiff::Timestamp;
use wasmtime_wasi::I32Exit;

use crate::limits::Budget;

/// As the termination message of a container.
const MESSAGE_BYTES_MAX: usize = 4096;
const TRAPPED: i32 = 134;
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

pub(crate) fn exit(started_at: Timestamp, code: i32, reason: &str, message: String) -> Exit {
    Exit { code, reason: reason.into(), message: shorten(message), started_at, finished_at: Timestamp::now() }
}

pub(crate) fn code(started_at: Timestamp, code: i32) -> Exit {
    exit(started_at, code, if code == 0 { "Completed" } else { "Error" }, String::new())
}

/// Asked to end, and did.
pub(crate) fn terminated(started_at: Timestamp) -> Exit {
    code(started_at, TERMINATED)
}

/// Did not end in its grace period.
pub(crate) fn killed(started_at: Timestamp) -> Exit {
    code(started_at, KILLED)
}

pub(crate) fn out_of_memory(started_at: Timestamp) -> Exit {
    exit(started_at, KILLED, "OOMKilled", String::new())
}

/// A run that returned an error: its own exit code, the memory limit, or a trap.
pub(crate) fn failed(started_at: Timestamp, error: &wasmtime::Error, budget: &Budget) -> Exit {
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return self::code(started_at, *code);
    }
    if budget.is_exceeded() {
        return out_of_memory(started_at);
    }
    exit(started_at, TRAPPED, "Error", format!("{error:?}"))
}

fn shorten(mut message: String) -> String {
    let mut end = MESSAGE_BYTES_MAX.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}
