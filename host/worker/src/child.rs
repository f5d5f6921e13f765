//! Starting a process of our own program in a hidden role, and what such a process does first. The control socket is
//! its standard input; when that closes, because the parent let go or died, the child ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

/// Only these reach a child: no token or password of the parent's environment does.
const ENVIRONMENT: [&str; 4] = ["RUST_LOG", "RUST_BACKTRACE", "TZ", "AMPHIPOD_TEST"];

/// A child in its role. Dropping it closes nothing by itself: it ends when its socket does, or by [`Process::kill`].
pub(crate) struct Process(Child);

/// # Errors
/// When the process cannot be started.
pub(crate) fn spawn(program: &Path, arguments: &[String]) -> io::Result<(Process, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/").stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let child = command.spawn()?;
    Ok((Process(child), ours.into()))
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
    }

    /// Blocks until it has ended.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

/// In the child: the control socket, moved away from standard input.
///
/// # Errors
/// When standard input is no socket.
pub(crate) fn control() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin().as_fd(), 3)?;
    rustix::net::sockopt::socket_type(&socket)?;
    Ok(socket)
}

/// In the child: ends the process when the parent's end of the socket is closed, whatever the rest of it does.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn end_with_parent(socket: &OwnedFd) -> io::Result<()> {
    let socket = socket.try_clone()?;
    let watch = move || loop {
        let mut watched = [PollFd::new(&socket, PollFlags::RDHUP)];
        match poll(&mut watched, None) {
            Ok(_) => std::process::exit(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::process::exit(1),
        }
    };
    std::thread::Builder::new().name("parent".into()).stack_size(64 << 10).spawn(watch).map(drop)
}
