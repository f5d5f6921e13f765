//! The audit log, in a file and sent on, and the limit of what one user may ask at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::grants::api;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: RequestResponse, omitManagedFields: true, resources: [{group: "", resources: [configmaps]}], namespaces: [default]}
- {level: Metadata, userGroups: ["system:authenticated"], resources: [{group: "", resources: [secrets]}]}
- {level: Metadata, users: [""]}
- {level: None}
"#;

fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the log holds such an event.
#[allow(clippy::disallowed_methods, reason = "another process's file has no event to await")]
fn until(log: &std::path::Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(found) = events(&text).into_iter().find(&wanted) {
            return found;
        }
        assert!(Instant::now() < limit, "no such event in:\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_policy_says_what_the_log_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let (policy, log) = (directory.path().join("policy.yaml"), directory.path().join("audit.log"));
    std::fs::write(&policy, POLICY).unwrap();
    let flags = ["--audit-policy-file", policy.to_str().unwrap(), "--audit-log-path", log.to_str().unwrap()];
    let cluster = api(&flags);
    cluster.kubectl("create configmap seen --from-literal=a=b");
    let created = until(&log, |event| event["verb"] == "create" && event["objectRef"]["name"] == "seen");
    assert_eq!(created["stage"], "ResponseComplete");
    assert_eq!(created["level"], "RequestResponse");
    assert_eq!(created["user"]["username"], "amphipod-admin");
    assert_eq!(created["requestObject"]["data"]["a"], "b", "protobuf is kept as JSON: {created}");
    assert_eq!(created["responseObject"]["metadata"]["managedFields"], Value::Null);
    assert_eq!(
        (&created["responseStatus"]["code"], &created["annotations"]["authorization.k8s.io/decision"]),
        (&201.into(), &"allow".into())
    );

    cluster.try_kubectl(&["get", "secret", "none", "--as=dave"]);
    let denied = until(&log, |event| event["objectRef"]["name"] == "none");
    assert_eq!(denied["impersonatedUser"]["username"], "dave");
    assert_eq!(
        (&denied["responseStatus"]["code"], &denied["responseStatus"]["reason"]),
        (&403.into(), &"Forbidden".into())
    );
    assert_eq!(denied["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(denied["requestObject"], Value::Null);
    let server = format!("--server={}", cluster.told("API server"));
    cluster.try_kubectl(&[
        "--kubeconfig=/dev/null",
        "--insecure-skip-tls-verify",
        &server,
        "--token=nonsense",
        "get",
        "pods",
    ]);
    let unknown = until(&log, |event| event["responseStatus"]["code"] == 401);
    assert_eq!(unknown["responseStatus"]["reason"], "Unauthorized");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(events(&text).iter().all(|event| event["objectRef"]["resource"] != "leases"), "level None keeps nothing");
}

/// Takes one POST and gives its body.
fn receive(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length, mut first) = (String::new(), 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if first.is_empty() {
            first = line.clone();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    assert!(first.starts_with("POST /events HTTP/1.1"), "{first}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn events_are_sent_on_in_batches() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("webhook");
    let address = listener.local_addr().unwrap();
    let text = format!(
        "{{apiVersion: v1, kind: Config, clusters: [{{name: a, cluster: {{server: \"http://{address}/events\"}}}}], users: [{{name: a, user: {{}}}}], contexts: [{{name: a, context: {{cluster: a, user: a}}}}], current-context: a}}"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let cluster =
        api(&["--audit-webhook-config-file", kubeconfig.to_str().unwrap(), "--audit-webhook-batch-max-wait=0.2"]);
    cluster.kubectl("create configmap sent");
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let list: Value = serde_json::from_str(&receive(&listener)).unwrap();
        assert_eq!((&list["kind"], &list["apiVersion"]), (&"EventList".into(), &"audit.k8s.io/v1".into()));
        let items = list["items"].as_array().unwrap();
        if items.iter().any(|event| event["objectRef"]["name"] == "sent") {
            break;
        }
        assert!(Instant::now() < limit, "the event never comes");
    }
}

#[test]
fn wrong_access_flags_are_refused_before_anything_listens() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.yaml");
    std::fs::write(&policy, "apiVersion: v1\nkind: Policy\nrules: []\n").unwrap();
    let refused = |flags: &[&str], text: &str| {
        let output = Cluster::command(directory.path(), flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(text), "{said}");
    };
    refused(&["--audit-policy-file", policy.to_str().unwrap()], "it is v1 Policy, not audit.k8s.io/v1 Policy");
    refused(&["--audit-log-path=/nonexistent/audit.log"], "--audit-log-path /nonexistent/audit.log: cannot be written");
    refused(&["--oidc-issuer-url=http://x", "--oidc-client-id=x"], "must be an https:// address");
    refused(&["--max-requests-per-user=0"], "must be more than 0");
    refused(&["--disable-admission-plugins=ServiceAccount,None"], "\"None\" is none of CertificateApproval, ");
}
