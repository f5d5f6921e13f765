//! A running `amphipod up` and the kubectl that talks to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The program, built by the same cargo run as this test.
pub fn amphipod() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let program = profile.join("amphipod");
    assert!(program.exists(), "{} is missing: build the workspace", program.display());
    program
}

pub fn kubectl_path() -> PathBuf {
    let path = root().join("target/tools/bin/kubectl");
    assert!(path.exists(), "{} is missing: tests/run.sh installs it", path.display());
    path
}

/// The sample component, built once for all tests.
pub fn hello_wasm() -> PathBuf {
    static BUILT: Once = Once::new();
    guest(&BUILT, "examples/hello", "hello.wasm")
}

/// A command whose first argument says what it does, built once for all tests.
pub fn probe_wasm() -> PathBuf {
    static BUILT: Once = Once::new();
    guest(&BUILT, "tests/guests/probe", "probe.wasm")
}

/// A shell and its tools, built once for all tests.
pub fn toolbox_wasm() -> PathBuf {
    static BUILT: Once = Once::new();
    guest(&BUILT, "examples/toolbox", "toolbox.wasm")
}

fn guest(built: &Once, folder: &str, file: &str) -> PathBuf {
    let target = root().join("target/guests");
    built.call_once(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--target", "wasm32-wasip2", "--target-dir"])
            .arg(&target)
            .current_dir(root().join(folder))
            .status();
        assert!(status.expect("cargo runs").success(), "{folder} must build");
    });
    target.join("wasm32-wasip2/release").join(file)
}

/// What `up` was asked and what it answered. Dropping it ends the cluster as Ctrl-C would.
pub struct Cluster {
    pub directory: tempfile::TempDir,
    pub process: Child,
    /// What it printed until it was ready.
    pub summary: String,
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), &[])
    }

    /// Continues where a data directory was left, or starts anew in an empty one.
    pub fn start_in(directory: tempfile::TempDir, flags: &[&str]) -> Self {
        let mut process =
            Self::command(directory.path(), flags).stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut summary = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("the summary is text");
            summary.push_str(&line);
            summary.push('\n');
            if line.starts_with("Next:") {
                return Self { directory, process, summary };
            }
        }
        let status = process.wait().expect("it ended");
        panic!("`up` ended with {status} before it was ready:\n{summary}");
    }

    /// `amphipod up` on this folder, all ports free ones.
    pub fn command(directory: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(amphipod());
        command.arg("up").arg("--data-dir").arg(directory.join("data"));
        command.arg("--kubeconfig").arg(directory.join("kubeconfig"));
        if !flags.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        if !flags.contains(&"--registry-port") {
            command.args(["--registry-port", "0"]);
        }
        command.args(flags);
        command
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The value behind a label of the summary: `Registry`, `API server`.
    pub fn told(&self, label: &str) -> &str {
        let line = self.summary.lines().find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in:\n{}", self.summary)).trim()
    }

    /// Runs kubectl and gives its output whatever the exit code.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_command(arguments).output().expect("kubectl runs")
    }

    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(kubectl_path());
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.directory.path()).args(arguments);
        command
    }

    /// Runs kubectl, which must succeed; its stdout.
    pub fn kubectl(&self, arguments: &str) -> String {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let output = self.try_kubectl(&words);
        checked(&format!("kubectl {arguments}"), output)
    }

    /// Runs kubectl with a manifest on stdin.
    pub fn kubectl_in(&self, arguments: &str, manifest: &str) -> Output {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = self.kubectl_command(&words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl");
        child.stdin.take().expect("stdin is piped").write_all(manifest.as_bytes()).expect("kubectl reads");
        child.wait_with_output().expect("kubectl ends")
    }

    pub fn apply(&self, manifest: &str) -> String {
        checked("kubectl apply -f -", self.kubectl_in("apply -f -", manifest))
    }

    /// Runs a client command of the program itself.
    pub fn amphipod(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(amphipod());
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.directory.path()).args(arguments);
        command.output().expect("the program runs")
    }

    /// Pushes the sample component under this name and gives the reference for pods.
    pub fn push_hello(&self, name: &str) -> String {
        self.push(name, &hello_wasm())
    }

    pub fn push(&self, name: &str, wasm: &Path) -> String {
        let reference = format!("{}/{name}", self.told("Registry"));
        let output = self.amphipod(&["push", wasm.to_str().expect("the path is text"), &reference]);
        checked("amphipod push", output);
        reference
    }

    /// Ends the cluster with this signal and gives the folder, for another `up`.
    pub fn end(mut self, signal: rustix::process::Signal) -> tempfile::TempDir {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).expect("it still runs");
        self.process.wait().expect("it ends");
        let empty = tempfile::tempdir().expect("a temporary folder");
        std::mem::replace(&mut self.directory, empty)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let describe = self.try_kubectl(&["get", "pods,events", "-A"]);
            eprintln!("{}", String::from_utf8_lossy(&describe.stdout));
        }
        if self.process.try_wait().ok().flatten().is_none() {
            let pid = rustix::process::Pid::from_child(&self.process);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.process.wait();
        }
    }
}

/// The stdout of a command that must have succeeded.
pub fn checked(what: &str, output: Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}
