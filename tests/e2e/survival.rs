//! What outlives what: data outlives the process, no process outlives its cluster.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::Cluster;

/// Processes whose command line names this folder or that descend from the given process.
fn family(root: u32) -> HashSet<u32> {
    let mut members = HashSet::from([root]);
    loop {
        let before = members.len();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            if parent.is_some_and(|parent| members.contains(&parent)) {
                members.insert(pid);
            }
        }
        if members.len() == before {
            return members;
        }
    }
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn run_one_pod(cluster: &Cluster) {
    let image = cluster.push_hello("hello:v1");
    cluster.kubectl(&format!("create deployment hello --image={image} --port=8080"));
    cluster.kubectl("rollout status deploy/hello --timeout=60s");
}

#[test]
fn nothing_outlives_a_killed_cluster_and_the_data_does() {
    let cluster = Cluster::start();
    run_one_pod(&cluster);
    cluster.kubectl("create configmap kept --from-literal=a=b");
    let members = family(cluster.process.id());
    assert!(members.len() > 1, "guests run in processes of their own");
    let directory = cluster.end(Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(5);
    while members.iter().any(|pid| alive(*pid)) {
        assert!(Instant::now() < deadline, "a process outlived kill -9 of its cluster");
        std::thread::yield_now();
    }
    let cluster = Cluster::start_in(directory, &[]);
    assert_eq!(cluster.kubectl("get configmap kept -o jsonpath={.data.a}"), "b");
    cluster.kubectl("wait deploy/hello --for=jsonpath={.status.readyReplicas}=1 --timeout=60s");
}

#[test]
fn a_terminated_cluster_ends_in_time_and_continues() {
    let cluster = Cluster::start();
    run_one_pod(&cluster);
    let members = family(cluster.process.id());
    let asked = Instant::now();
    let directory = cluster.end(Signal::TERM);
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    while members.iter().any(|pid| alive(*pid)) {
        assert!(asked.elapsed() < Duration::from_secs(5), "something that it started outlives it");
        std::thread::yield_now();
    }
    let cluster = Cluster::start_in(directory, &[]);
    cluster.kubectl("wait deploy/hello --for=jsonpath={.status.readyReplicas}=1 --timeout=60s");
}

#[test]
fn two_clusters_live_side_by_side() {
    let (one, two) = (Cluster::start(), Cluster::start());
    one.kubectl("create configmap only-here");
    assert!(!two.try_kubectl(&["get", "configmap", "only-here"]).status.success());
    run_one_pod(&one);
    run_one_pod(&two);
}

#[test]
fn watches_end_in_good_order_with_their_cluster() {
    let cluster = Cluster::start();
    let words = ["get", "--raw", "/api/v1/namespaces/default/configmaps?watch=1"];
    let mut watch = cluster.kubectl_command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(seen.next().unwrap().unwrap().contains("kube-root-ca.crt"), "it is under way");
    let asked = Instant::now();
    let _directory = cluster.end(Signal::TERM);
    assert!(asked.elapsed() < Duration::from_secs(4), "a watch held the end up: {:?}", asked.elapsed());
    // Not cut off: kubectl would say `unexpected EOF`.
    seen.for_each(drop);
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
