//! What bad input gets: a clear Status, one event, or one line and exit 2; the cluster goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::cluster::{Cluster, amphipod, checked};

/// Runs `up` that must refuse: its one line.
fn refused(directory: &std::path::Path, flags: &[&str]) -> String {
    let output = Cluster::command(directory, flags).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let complaint: Vec<_> = said.lines().filter(|line| line.starts_with("amphipod: ")).collect();
    assert_eq!(complaint.len(), 1, "one line says it: {said}");
    complaint[0].to_owned()
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    assert!(refused(directory.path(), &["--port", &port]).contains(&port));
}

#[test]
fn wrong_flags_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(refused(directory.path(), &["--cluster-cidr", "10.0.0.0/99"]).contains("10.0.0.0/99"));
    assert!(refused(directory.path(), &["--node-taint", "nonsense"]).contains("nonsense"));
    assert!(refused(directory.path(), &["--node-name", "Not A Name"]).contains("Not A Name"));
    assert!(refused(directory.path(), &["--node-label", "a b=c"]).contains("a b=c"));
}

#[test]
fn a_data_directory_of_another_format_is_left_alone() {
    let directory = Cluster::start().end(rustix::process::Signal::TERM);
    let format = directory.path().join("data/server/db/format");
    assert!(format.exists(), "the store keeps its format number in {}", format.display());
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, text.replacen("amphipod-store 1", "amphipod-store 999", 1)).unwrap();
    assert!(refused(directory.path(), &[]).contains("999"));
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("data"), "").unwrap();
    assert!(refused(directory.path(), &[]).contains("data"));
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let cluster = Cluster::start();
    assert!(refused(cluster.directory.path(), &[]).contains("in use"));
    cluster.kubectl("get nodes");
}

#[test]
fn a_registry_that_does_not_answer_is_told_in_an_event() {
    let cluster = Cluster::start();
    cluster.kubectl("run nowhere --image=127.0.0.1:1/none:v1");
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    cluster.kubectl(&format!("wait pod/nowhere --for={waiting}=ImagePullBackOff --timeout=60s"));
    let events = cluster.kubectl("events --for pod/nowhere");
    assert!(events.contains("Failed to pull image"), "{events}");
}

#[test]
fn a_component_that_is_none_says_so() {
    let cluster = Cluster::start();
    let file = cluster.directory.path().join("broken.wasm");
    std::fs::write(&file, b"\0asm this is no module").unwrap();
    let reference = format!("{}/broken:v1", cluster.told("Registry"));
    let pushed = cluster.amphipod(&["push", file.to_str().unwrap(), &reference]);
    assert_eq!(pushed.status.code(), Some(2), "{}", String::from_utf8_lossy(&pushed.stderr));
    cluster.kubectl("get nodes");
}

#[test]
fn manifests_that_are_none_are_refused_and_nothing_is_written() {
    let cluster = Cluster::start();
    let output = cluster.kubectl_in("apply -f -", "{{ not yaml");
    assert!(!output.status.success());
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, imagee: y}]}\n";
    let output = cluster.kubectl_in("apply -f -", pod);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(r#"unknown field "spec.containers[0].imagee""#), "{said}");
    assert_eq!(cluster.kubectl("get pods -o name"), "");
}

#[test]
fn unreadable_files_and_unknown_kinds_end_in_one_line() {
    let cluster = Cluster::start();
    for arguments in [&["apply", "-f", "/nowhere.yaml"][..], &["push", "/nowhere.wasm", "localhost:1/x:v1"]] {
        let output = cluster.amphipod(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
    for arguments in [&["get", "unicorns"][..], &["get", "pod", "none"], &["logs", "none"]] {
        let output = cluster.amphipod(arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.lines().count() == 1 && !said.contains("Status"), "{arguments:?}: {said}");
    }
    checked("the cluster lives", cluster.amphipod(&["get", "nodes"]));
}

#[test]
fn a_read_only_data_directory_is_refused() {
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere: a folder below /proc stands in for one that nobody can write.
        let output = std::process::Command::new(amphipod()).args(["up", "--data-dir", "/proc/none"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::fs::set_permissions(directory.path().join("data"), std::fs::Permissions::from_mode(0o500)).unwrap();
    assert!(refused(directory.path(), &[]).contains("data"));
}
