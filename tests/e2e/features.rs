//! The feature table, executed: rows are written in `features/*.txt` (`features/script.rs` says how), each is a few shell
//! commands and what they must show. All rows share one cluster, each in a namespace of its own, several at a time; rows
//! that disturb others say `alone` and come last. `ROWS=7,taint` runs only these.

mod matching;
mod script;

use std::collections::{BTreeSet, VecDeque};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, amphipod, checked, kubectl_path, probe_wasm, root, toolbox_wasm};
use script::{Row, Step};

/// Rows of the whole table; those not written here are not served yet.
const ROWS_MAX: usize = 335;
/// Rows at a time.
const WORKERS: usize = 3;
/// How long a step may take, and how long a `~` step is tried again.
const STEP_SECONDS: u64 = 120;
const UNTIL_SECONDS: u64 = 60;

/// What every row may use.
struct Stage {
    cluster: Cluster,
    /// Names and values of the environment.
    words: Vec<(&'static str, String)>,
}

impl Stage {
    fn start() -> Self {
        let cluster = Cluster::start_in(
            tempfile::tempdir().unwrap(),
            &["--node-name", "node-1", "--node-label", "topology.kubernetes.io/zone=zone-1"],
        );
        let image = cluster.push("hello:v1", &root().join("examples/hello/hello.wasm"));
        let second = cluster.push("hello:v2", &root().join("examples/hello/hello.wasm"));
        let probe = cluster.push("probe:v1", &probe_wasm());
        let toolbox = cluster.push("toolbox:v1", &toolbox_wasm());
        let folders = [kubectl_path(), amphipod()].map(|program| program.parent().unwrap().display().to_string());
        let path = format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap_or_default());
        let words = vec![
            ("PATH", path),
            ("HOME", cluster.directory.path().display().to_string()),
            ("API", cluster.told("API server").to_owned()),
            ("REGISTRY", cluster.told("Registry").to_owned()),
            ("NODE", "node-1".to_owned()),
            ("IMAGE", image),
            ("IMAGE2", second),
            ("PROBE", probe),
            ("TOOLBOX", toolbox),
        ];
        Self { cluster, words }
    }

    /// Walks a row's steps; what went wrong with the first that did not fit.
    fn play(&self, row: &Row) -> Result<(), String> {
        let namespace = row.namespace();
        let folder = self.cluster.directory.path().join(&namespace);
        self.prepare(&namespace, &folder);
        let done = row.steps.iter().try_for_each(|step| self.step(step, &namespace, &folder));
        self.cluster.try_kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
        done.map_err(|why| format!("{} {}: {why}", row.name, row.title))
    }

    /// A namespace, and a folder with the shared manifests and a kubeconfig that leads there.
    fn prepare(&self, namespace: &str, folder: &std::path::Path) {
        std::fs::create_dir(folder).unwrap();
        for file in std::fs::read_dir(features().join("manifests")).unwrap() {
            let file = file.unwrap();
            let mut text = std::fs::read_to_string(file.path()).unwrap();
            for (word, value) in &self.words {
                text = text.replace(&format!("${{{word}}}"), value);
            }
            std::fs::write(folder.join(file.file_name()), text).unwrap();
        }
        let kubeconfig = folder.join("kubeconfig");
        std::fs::copy(self.cluster.kubeconfig(), &kubeconfig).unwrap();
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let setting = format!("--namespace={namespace}");
        checked(
            "set-context",
            self.cluster.try_kubectl(&["config", "set-context", "--current", &setting, &kubeconfig]),
        );
        checked("create namespace", self.cluster.try_kubectl(&["create", "namespace", namespace]));
        self.cluster.kubectl(&format!("wait --for=create sa/default -n {namespace} --timeout=30s"));
    }

    fn step(&self, step: &Step, namespace: &str, folder: &std::path::Path) -> Result<(), String> {
        let ends = Instant::now() + Duration::from_secs(UNTIL_SECONDS);
        loop {
            let (code, shown) = self.run(&step.command, namespace, folder);
            let fits = code == step.code && (step.shows.is_empty() || matching::fits(&step.shows, &shown));
            if fits {
                return Ok(());
            }
            if !step.until || Instant::now() > ends {
                let wanted = step.shows.join("\n");
                let place = format!("{}:{}", step.file, step.line);
                let command = &step.command;
                return Err(format!("{place}\n$ {command}\n{wanted}\n[{}]\n--- was\n{shown}[{code}]", step.code));
            }
        }
    }

    /// The exit code and everything that was printed.
    fn run(&self, command: &str, namespace: &str, folder: &std::path::Path) -> (i32, String) {
        let mut shell = Command::new("timeout");
        shell.args(["-k", "1", &STEP_SECONDS.to_string(), "sh"]).current_dir(folder);
        shell.envs(self.words.iter().map(|(name, value)| (name, value))).env("NAMESPACE", namespace);
        shell.env("KUBECONFIG", folder.join("kubeconfig")).env_remove("KUBERNETES_SERVICE_HOST");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        // Both streams in one, in order.
        let script = format!("exec 2>&1\n{command}\n");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn features() -> PathBuf {
    root().join("tests/e2e/features")
}

/// Every row, in the order of files and lines; only those that `ROWS` names when it is set.
fn rows() -> Vec<Row> {
    let mut files: Vec<_> = std::fs::read_dir(features()).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let all = files.iter().flat_map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        script::rows(&name, &std::fs::read_to_string(file).unwrap())
    });
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let wanted: BTreeSet<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    all.filter(|row| wanted.is_empty() || wanted.contains(row.name.as_str())).collect()
}

#[test]
fn every_row_shows_what_it_says() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "a row stands once");
    let stage = Stage::start();
    let failed = Mutex::new(Vec::new());
    let (last, first): (Vec<&Row>, Vec<&Row>) =
        rows.iter().filter(|row| row.missing.is_none()).partition(|row| row.alone);
    let played = first.len() + last.len();
    for (rows, workers) in [(first, WORKERS), (last, 1)] {
        let queue = Mutex::new(VecDeque::from(rows));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap().pop_front();
                        let Some(row) = next else { break };
                        if let Err(why) = stage.play(row) {
                            println!("{why}\n");
                            failed.lock().unwrap().push((row.name.clone(), why));
                        }
                    }
                });
            }
        });
    }
    let failed = failed.into_inner().unwrap();
    let is_shown = |row: &&Row| row.missing.is_none() && failed.iter().all(|(name, _)| *name != row.name);
    let shown = rows.iter().filter(is_shown).filter(|row| row.number().is_some()).count();
    println!("features: {shown} of {ROWS_MAX}; {played} rows played, {} failed", failed.len());
    for row in rows.iter() {
        if let Some(why) = &row.missing {
            println!("  {} {}: not yet, {why}", row.name, row.title);
        }
    }
    let told: Vec<String> = failed.into_iter().map(|(_, why)| why).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n\n"));
}
