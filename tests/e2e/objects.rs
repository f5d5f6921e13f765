//! Objects through kubectl: create, patch, watch, wait, explain, dry-run.

use crate::cluster::{Cluster, checked};

#[test]
fn objects_are_created_changed_watched_and_deleted() {
    let cluster = Cluster::start();
    assert!(cluster.kubectl("version").contains("Server Version: v1.37"));
    assert!(cluster.kubectl("api-resources").contains("deployments"));
    cluster.kubectl("create namespace team");
    cluster.kubectl("-n team create configmap app --from-literal=mode=dev");
    cluster.kubectl("-n team create secret generic key --from-literal=user=alice");
    assert_eq!(cluster.kubectl("-n team get secret key -o jsonpath={.data.user}"), "YWxpY2U=");
    cluster.kubectl("-n team label configmap app tier=web");
    assert_eq!(cluster.kubectl("-n team get configmaps -l tier=web -o name").trim(), "configmap/app");
    let patch = ["-n", "team", "patch", "configmap", "app", "--type=merge", "-p", r#"{"data":{"mode":"live"}}"#];
    checked("patch", cluster.try_kubectl(&patch));
    assert_eq!(cluster.kubectl("-n team get configmap app -o jsonpath={.data.mode}"), "live");
    assert!(cluster.kubectl("explain deployment.spec.strategy").contains("FIELDS"));
    cluster.kubectl("-n team create configmap ghost --dry-run=server");
    assert!(!cluster.try_kubectl(&["-n", "team", "get", "configmap", "ghost"]).status.success());
    cluster.kubectl("delete namespace team --timeout=60s");
    let gone = cluster.try_kubectl(&["-n", "team", "get", "configmaps", "-o", "name"]);
    assert_eq!(String::from_utf8_lossy(&gone.stdout), "");
}

#[test]
fn secrets_do_not_lie_readable_on_disk() {
    let cluster = Cluster::start();
    cluster.kubectl("create secret generic key --from-literal=user=a-very-rare-word");
    let directory = cluster.end(rustix::process::Signal::TERM);
    let data = directory.path().join("data");
    let found =
        std::process::Command::new("grep").args(["-r", "-l", "YS12ZXJ5LXJhcmUtd29yZA"]).arg(&data).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the value must be sealed");
    let plain = std::process::Command::new("grep").args(["-r", "-l", "kube-root-ca"]).arg(&data).output().unwrap();
    assert_ne!(String::from_utf8_lossy(&plain.stdout), "", "the search must be able to find what is plain");
}
