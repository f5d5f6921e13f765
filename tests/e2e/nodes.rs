//! What a node may, and how it and users come to their certificates.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use crate::cluster::{Cluster, amphipod, checked};
use crate::grants::api;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_node_reads_what_its_pods_use_and_writes_what_is_its_own() {
    let cluster = api(&[]);
    let as_node = |node: &str, words: &[&str]| {
        let user = format!("--as=system:node:{node}");
        cluster.try_kubectl(&[words, &[&user, "--as-group=system:nodes"]].concat())
    };
    cluster.kubectl("create secret generic used --from-literal=a=b");
    cluster.kubectl("create secret generic other --from-literal=a=b");
    cluster.kubectl("wait serviceaccount/default --for=create --timeout=30s");
    cluster.apply(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"nodeName":"a","containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":"used"}}]}]}}"#,
    );
    checked("its pod's secret", as_node("a", &["get", "secret", "used"]));
    let refused = said(&as_node("a", &["get", "secret", "other"]));
    assert!(refused.contains("no relationship found between node 'a' and this object"), "{refused}");
    assert!(!as_node("b", &["get", "secret", "used"]).status.success());
    let all = said(&as_node("a", &["get", "secrets"]));
    assert!(all.contains("No Object name found"), "{all}");
    let pods = said(&as_node("a", &["get", "pods"]));
    assert!(pods.contains("can only list/watch pods with spec.nodeName field selector"), "{pods}");
    checked("its pods", as_node("a", &["get", "pods", "--field-selector=spec.nodeName=a"]));

    let create = |name: &str, label: &str| {
        let node =
            format!(r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}","labels":{{"{label}":"x"}}}}}}"#);
        said(&cluster.kubectl_in("create -f - --as=system:node:a --as-group=system:nodes", &node))
    };
    let foreign = create("b", "x");
    assert!(foreign.contains(r#"nodes "b" is forbidden: node "a" is not allowed to modify node "b""#), "{foreign}");
    let labelled = create("a", "node-role.kubernetes.io/control-plane");
    assert!(
        labelled
            .contains(r#"node "a" is not allowed to set the following labels: node-role.kubernetes.io/control-plane"#),
        "{labelled}"
    );
    assert!(create("a", "node.kubernetes.io/x").contains("created"));
    let tainted = said(&as_node("a", &["taint", "node", "a", "k=v:NoSchedule"]));
    assert!(tainted.contains(r#"node "a" is not allowed to modify taints"#), "{tainted}");
    let token = said(&as_node("a", &["create", "token", "default"]));
    assert!(token.contains("node requested token not bound to a pod"), "{token}");
}

/// A key and a certificate request for it, by openssl.
fn request(folder: &std::path::Path, subject: &str) -> String {
    let (key, csr) = (folder.join("key.pem"), folder.join("csr.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject])
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), csr.as_os_str()])
        .output()
        .expect("openssl runs");
    checked("openssl req", made);
    base64(&std::fs::read(csr).unwrap())
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap().as_str().unwrap().to_owned()
}

fn ask(cluster: &Cluster, name: &str, (signer, subject): (&str, &str), flags: &str) -> Output {
    let request = request(cluster.directory.path(), subject);
    let body = format!(
        r#"{{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{{"name":"{name}"}},"spec":{{"request":"{request}","signerName":"kubernetes.io/{signer}","expirationSeconds":3600,"usages":["digital signature","client auth"]}}}}"#
    );
    cluster.kubectl_in(&format!("create -f - {flags}"), &body)
}

#[test]
fn certificates_are_approved_signed_and_let_their_owners_in() {
    let cluster = api(&[]);
    let client = "kube-apiserver-client";
    checked("create", ask(&cluster, "alice", (client, "/O=dev/CN=alice"), ""));
    cluster.kubectl("create clusterrole approver --verb=get,update --resource=certificatesigningrequests,certificatesigningrequests/approval");
    cluster.kubectl("create clusterrolebinding approvers --clusterrole=approver --user=bob");
    let bob = said(&cluster.try_kubectl(&["certificate", "approve", "alice", "--as=bob"]));
    assert!(
        bob.contains(r#"user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client""#),
        "{bob}"
    );
    cluster.kubectl("certificate approve alice");
    cluster.kubectl("wait csr/alice --for=jsonpath={.status.certificate} --timeout=30s");
    let certificate = cluster.kubectl("get csr alice -o go-template={{.status.certificate|base64decode}}");
    let path = cluster.directory.path().join("alice.crt");
    std::fs::write(&path, certificate).unwrap();
    let key = cluster.directory.path().join("key.pem");
    let whoami = cluster.try_kubectl(&[
        "--kubeconfig=/dev/null",
        "--insecure-skip-tls-verify",
        &format!("--server={}", cluster.told("API server")),
        &format!("--client-certificate={}", path.display()),
        &format!("--client-key={}", key.display()),
        "auth",
        "whoami",
    ]);
    let whoami = checked("whoami", whoami);
    assert!(whoami.contains("alice") && whoami.contains("[dev system:authenticated]"), "{whoami}");

    let masters = said(&ask(&cluster, "root", (client, "/O=system:masters/CN=root"), ""));
    assert!(
        masters.contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"),
        "{masters}"
    );
    let kubelet = "kube-apiserver-client-kubelet";
    let node = "--as=system:node:a --as-group=system:nodes";
    checked("create", ask(&cluster, "node-a", (kubelet, "/O=system:nodes/CN=system:node:a"), node));
    cluster.kubectl("wait csr/node-a --for=jsonpath={.status.certificate} --timeout=30s");
    let why = cluster.kubectl("get csr node-a -o jsonpath={.status.conditions[0].message}");
    assert_eq!(why, "Auto approving self kubelet client certificate after SubjectAccessReview.");
    checked("create", ask(&cluster, "wrong", (kubelet, "/O=system:masters/CN=system:node:a"), node));
    cluster.kubectl("certificate approve wrong");
    cluster.kubectl("wait csr/wrong --for=condition=Failed --timeout=30s");
}

#[test]
fn kubeconfigs_are_made_from_the_data_directory_alone() {
    let cluster = api(&[]);
    let data = cluster.directory.path().join("data");
    let run_in = |data: &std::path::Path, arguments: &[&str]| {
        let mut command = std::process::Command::new(amphipod());
        command.arg("kubeconfig").arg("--data-dir").arg(data).args(arguments);
        command.env("HOME", cluster.directory.path()).env_remove("KUBECONFIG").output().unwrap()
    };
    let run = |arguments: &[&str]| run_in(&data, arguments);
    let file = cluster.directory.path().join("alice");
    checked(
        "kubeconfig",
        run(&["--user=alice", "--group=dev", "--group=ops", "--group=on-call", "--output", file.to_str().unwrap()]),
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let with = |path: &std::path::Path, words: &[&str]| {
        let flag = format!("--kubeconfig={}", path.display());
        cluster.try_kubectl(&[&[flag.as_str()], words].concat())
    };
    let whoami = checked("whoami", with(&file, &["auth", "whoami"]));
    assert!(whoami.contains("alice") && whoami.contains("[dev ops on-call system:authenticated]"), "{whoami}");
    assert!(!with(&file, &["get", "secrets"]).status.success());

    let merged = cluster.directory.path().join(".kube/config");
    checked("merge", run(&["--user=alice", "--merge"]));
    checked("merge", run(&["--merge"]));
    let contexts = checked("contexts", with(&merged, &["config", "get-contexts", "-o=name"]));
    assert_eq!(contexts, "alice@amphipod\namphipod\n");
    checked("the administrator", with(&merged, &["get", "secrets", "-A"]));
    let nowhere = run_in("/nonexistent".as_ref(), &[]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", said(&nowhere));
    assert!(said(&nowhere).contains("no cluster was started here"), "{}", said(&nowhere));
}
