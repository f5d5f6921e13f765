//! Output of guests as CRI log lines: `<RFC3339Nano> stdout F|P <text>`, split at 16 KiB, written to a file that the
//! agent opened. Lines of different instances never mix.

use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// As containerd splits: longer lines come in parts marked `P`.
const LINE_BYTES_MAX: usize = 16 << 10;
const WRITE_BYTES_MAX: usize = 64 << 10;
/// What may wait for the file; who has more to say then waits, too.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// The log file of one container. Who finds nobody writing writes; the others leave their lines to that one and go on.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    file: File,
    queue: Mutex<Queue>,
    room: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    is_written: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

impl Log {
    /// `file` is open for appending.
    pub fn new(file: File) -> Self {
        Self(Arc::new(Shared { file, queue: Mutex::default(), room: Condvar::new() }))
    }

    pub(crate) fn stream(&self, channel: Channel) -> LogStream {
        LogStream(Arc::new(Mutex::new(Lines { log: self.clone(), channel, pending: Vec::new() })))
    }

    /// A message of the host among the guest's own, on stderr.
    pub(crate) fn note(&self, text: &str) {
        let mut lines = Lines { log: self.clone(), channel: Channel::Stderr, pending: Vec::new() };
        lines.push(text.as_bytes());
    }

    fn append(&self, bytes: &[u8]) {
        let shared = &*self.0;
        {
            let mut queue = shared.queue.lock();
            shared.room.wait_while(&mut queue, |queue| queue.is_written && queue.lines.len() > QUEUE_BYTES_MAX);
            if queue.is_written {
                queue.lines.extend_from_slice(bytes);
                return;
            }
            queue.is_written = true;
        }
        shared.write(bytes);
        loop {
            let mut queue = shared.queue.lock();
            let lines = std::mem::take(&mut queue.lines);
            queue.is_written = !lines.is_empty();
            drop(queue);
            if lines.is_empty() {
                return;
            }
            shared.room.notify_all();
            shared.write(&lines);
        }
    }
}

impl Shared {
    /// A full disk loses log lines; it does not stop the guest.
    fn write(&self, bytes: &[u8]) {
        if let Err(error) = (&self.file).write_all(bytes) {
            tracing::debug!("cannot write a log: {error}");
        }
    }
}

/// One instance's stdout or stderr; what is left without a line end is written when it is dropped.
#[derive(Clone)]
pub(crate) struct LogStream(Arc<Mutex<Lines>>);

struct Lines {
    log: Log,
    channel: Channel,
    pending: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = &self.pending[start..];
            let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                line(&mut out, self.channel, 'F', &rest[..end]);
                start += end + 1;
            } else if rest.len() >= LINE_BYTES_MAX {
                line(&mut out, self.channel, 'P', &rest[..LINE_BYTES_MAX]);
                start += LINE_BYTES_MAX;
            } else {
                break;
            }
        }
        self.pending.drain(..start);
        if !out.is_empty() {
            self.log.append(&out);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            let mut out = Vec::new();
            line(&mut out, self.channel, 'F', &self.pending);
            self.log.append(&out);
        }
    }
}

fn line(out: &mut Vec<u8>, channel: Channel, tag: char, text: &[u8]) {
    let channel = match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
    };
    // Writing to memory cannot fail.
    let _ = write!(out, "{:.9} {channel} {tag} ", Timestamp::now());
    out.extend_from_slice(text);
    out.push(b'\n');
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Writes each piece, then drops the stream; times are left out, long texts shortened.
    fn check(pieces: &[&str], expected: Expect) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log::new(file.reopen().unwrap());
        let mut stream = log.stream(Channel::Stdout);
        for piece in pieces {
            stream.write(Bytes::copy_from_slice(piece.as_bytes())).unwrap();
        }
        drop(stream);
        let mut seen = String::new();
        for line in std::fs::read_to_string(file.path()).unwrap().lines() {
            let (time, rest) = line.split_once(' ').unwrap();
            assert_eq!(time.len(), "2026-01-01T00:00:00.000000000Z".len());
            let (head, text) = rest.split_at("stdout F ".len());
            let text = if text.len() > 20 { format!("{} bytes", text.len()) } else { text.to_owned() };
            seen.push_str(&format!("{head}{text}\n"));
        }
        expected.assert_eq(&seen);
    }

    #[test]
    fn a_line_is_written_when_it_is_complete_or_the_stream_ends() {
        check(
            &["one\ntw", "o\n", "\n", "rest"],
            expect![[r#"
            stdout F one
            stdout F two
            stdout F 
            stdout F rest
        "#]],
        );
    }

    #[test]
    fn lines_of_many_writers_are_all_there_and_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log::new(file.reopen().unwrap());
        let text = "x".repeat(5_000);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (log, text) = (&log, &text);
                scope.spawn(move || {
                    let mut stream = log.stream(Channel::Stdout);
                    for turn in 0..200 {
                        stream.write(format!("{writer} {turn} {text}\n").into()).unwrap();
                    }
                });
            }
        });
        let written = std::fs::read_to_string(file.path()).unwrap();
        let mut turns = [0; 8];
        for line in written.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!((words.len(), words[1], words[5]), (6, "stdout", &*text));
            let turn = &mut turns[words[3].parse::<usize>().unwrap()];
            assert_eq!(words[4].parse::<usize>().unwrap(), *turn, "each writer's lines are in order");
            *turn += 1;
        }
        assert_eq!(turns, [200; 8]);
    }

    #[test]
    fn long_lines_come_in_parts() {
        let long = "x".repeat(LINE_BYTES_MAX + 30);
        check(
            &[&long, "\n"],
            expect![[r#"
            stdout P 16384 bytes
            stdout F 30 bytes
        "#]],
        );
    }
}
