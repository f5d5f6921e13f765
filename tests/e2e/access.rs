//! Who may do what: the generated kubeconfig everything, others what RBAC grants, strangers nothing.

use std::os::unix::fs::PermissionsExt as _;

use crate::cluster::{Cluster, checked};

#[test]
fn a_user_without_rights_is_refused_until_a_role_grants_them() {
    let cluster = Cluster::start();
    let mode = std::fs::metadata(cluster.kubeconfig()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the kubeconfig is the owner's alone");
    assert_eq!(cluster.kubectl("auth can-i create deployments").trim(), "yes");

    cluster.kubectl("create serviceaccount guest");
    let token = cluster.kubectl("create token guest");
    let token = token.trim();
    let as_guest = |arguments: &[&str]| {
        let server = format!("--server={}", cluster.told("API server"));
        let token = format!("--token={token}");
        let mut words = vec!["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", &server, &token];
        words.extend_from_slice(arguments);
        cluster.try_kubectl(&words)
    };
    let refused = as_guest(&["get", "configmaps"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    let expected = r#"User "system:serviceaccount:default:guest" cannot list resource "configmaps" in API group "" in the namespace "default""#;
    assert!(said.contains(expected), "{said}");

    cluster.kubectl("create role reader --verb=get,list --resource=configmaps");
    cluster.kubectl("create rolebinding guests-read --role=reader --serviceaccount=default:guest");
    cluster.kubectl("wait rolebinding/guests-read --for=create --timeout=30s");
    checked("list as guest", as_guest(&["get", "configmaps"]));
    assert!(!as_guest(&["delete", "configmap", "kube-root-ca.crt"]).status.success());
}

#[test]
fn strangers_and_wrong_tokens_change_nothing() {
    let cluster = Cluster::start();
    let server = format!("--server={}", cluster.told("API server"));
    let plain = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", server.as_str()];
    let wrong = [&plain[..], &["--token=nonsense", "get", "pods"]].concat();
    let output = cluster.try_kubectl(&wrong);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("You must be logged in to the server"), "{said}");
    let anonymous = [&plain[..], &["--username=", "create", "configmap", "x"]].concat();
    assert!(!cluster.try_kubectl(&anonymous).status.success());
}
