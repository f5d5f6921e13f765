//! The suite that every [`Runtime`] passes: what the agent relies on, and no more. A runtime's own tests call
//! [`check`] with three containers of theirs; it panics on the first property that does not hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Container, ContainerId, Exit, Image, Limits, Observed, PodName, Runtime, Sandbox, State};

/// How long any awaited change may take before the suite gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime with containers that behave as their names say.
pub struct Subject {
    pub runtime: Arc<dyn Runtime>,
    /// Ends when it is stopped, well before a grace of ten seconds.
    pub runs_forever: Container,
    pub exits_with_3: Container,
    /// Writes the line `hello` to its standard output and ends with 0.
    pub says_hello: Container,
    /// An empty directory for logs.
    pub directory: PathBuf,
}

/// A container with nothing but an image and arguments; its name is `main`.
pub fn container(image: &Image, args: &[&str]) -> Container {
    Container {
        name: "main".into(),
        image: image.clone(),
        command: Vec::new(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: Vec::new(),
        working_directory: None,
        mounts: Vec::new(),
        limits: Limits::default(),
        ports: Vec::new(),
        restart_count: 0,
        log_path: PathBuf::new(),
        trust_domain: "conformance".into(),
    }
}

/// A pod without listeners.
pub fn sandbox(directory: &Path) -> Sandbox {
    Sandbox {
        pod: PodName { namespace: "default".into(), name: "pod".into(), uid: "uid-1".into() },
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        hostname: "pod".into(),
        log_directory: directory.to_owned(),
        listeners: BTreeMap::new(),
    }
}

/// Runs every check, one after the other, on the one runtime.
pub async fn check(subject: &Subject) {
    unknown_ids_are_no_error(subject).await;
    a_started_container_is_listed_until_it_is_removed(subject).await;
    a_container_that_ends_reports_its_code(subject).await;
    output_becomes_cri_lines(subject).await;
}

async fn unknown_ids_are_no_error(subject: &Subject) {
    let unknown = ContainerId(format!("{}://0", subject.runtime.name()));
    subject.runtime.stop(&unknown, Duration::ZERO).await.expect("stop of an unknown id");
    subject.runtime.remove(&unknown).await.expect("remove of an unknown id");
    assert!(!subject.runtime.stats().await.expect("stats").contains_key(&unknown), "nobody can know its figures");
}

async fn a_started_container_is_listed_until_it_is_removed(subject: &Subject) {
    let changed = subject.runtime.changed();
    let before = *changed.borrow();
    let id = start(subject, &subject.runs_forever, "forever.log").await;
    let observed = find(subject, &id).await.expect("a started container is listed");
    assert!(matches!(observed.state, State::Running { .. }), "{observed:?}");
    assert_eq!((observed.pod.uid.as_str(), observed.container.as_str()), ("uid-1", subject.runs_forever.name.as_str()));
    assert!(*changed.borrow() > before, "a start is a change");
    assert!(subject.runtime.stats().await.expect("stats").contains_key(&id), "what runs has figures");
    assert!(id.0.starts_with(&format!("{}://", subject.runtime.name())), "{id:?}");

    subject.runtime.stop(&id, Duration::from_secs(10)).await.expect("stop");
    let exit = exit_of(subject, &id).await;
    assert!(exit.finished_at >= exit.started_at, "{exit:?}");
    assert!(!subject.runtime.stats().await.expect("stats").contains_key(&id), "what ended uses nothing");
    subject.runtime.stop(&id, Duration::ZERO).await.expect("stopping twice is no error");
    subject.runtime.remove(&id).await.expect("remove");
    assert!(find(subject, &id).await.is_none(), "a removed container is forgotten");
}

async fn a_container_that_ends_reports_its_code(subject: &Subject) {
    let id = start(subject, &subject.exits_with_3, "three.log").await;
    let exit = exit_of(subject, &id).await;
    assert_eq!((exit.code, exit.reason.as_str()), (3, "Error"));
    subject.runtime.remove(&id).await.expect("remove");
}

async fn output_becomes_cri_lines(subject: &Subject) {
    let id = start(subject, &subject.says_hello, "hello.log").await;
    let exit = exit_of(subject, &id).await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    let log = std::fs::read_to_string(subject.directory.join("hello.log")).expect("the log exists when it has ended");
    let line = log.lines().find(|line| line.ends_with(" stdout F hello")).unwrap_or_else(|| panic!("log is {log:?}"));
    let time = line.split(' ').next().expect("split yields at least one piece");
    time.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{time:?}: {error}"));
    subject.runtime.remove(&id).await.expect("remove");
}

async fn start(subject: &Subject, container: &Container, log: &str) -> ContainerId {
    let container = Container { log_path: subject.directory.join(log), ..container.clone() };
    subject.runtime.prepare(&container.image).await.expect("prepare");
    subject.runtime.start(&sandbox(&subject.directory), &container).await.expect("start")
}

async fn find(subject: &Subject, id: &ContainerId) -> Option<Observed> {
    subject.runtime.list().await.expect("list").into_iter().find(|observed| observed.id == *id)
}

/// Waits by `changed`, as the agent does.
async fn exit_of(subject: &Subject, id: &ContainerId) -> Exit {
    let mut changed = subject.runtime.changed();
    let ended = async {
        loop {
            changed.mark_unchanged();
            if let Some(Observed { state: State::Exited(exit), .. }) = find(subject, id).await {
                return exit;
            }
            changed.changed().await.expect("the runtime outlives its containers");
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("an end is noticed through `changed`")
}
