//! Tokens of service accounts: asked for, kept in Secrets, reviewed, and taken by another cluster as ID tokens.

use std::net::TcpListener;

use serde_json::Value;

use crate::cluster::{Cluster, checked};
use crate::grants::api;

fn with_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> std::process::Output {
    let (server, token) = (format!("--server={}", cluster.told("API server")), format!("--token={token}"));
    let plain = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", &server, &token];
    cluster.try_kubectl(&[&plain, arguments].concat())
}

fn decoded(cluster: &Cluster, secret: &str, key: &str) -> String {
    let template = format!("go-template={{{{index .data {key:?}|base64decode}}}}");
    checked("get secret", cluster.try_kubectl(&["get", "secret", secret, "-o", &template]))
}

#[test]
fn a_secret_is_filled_with_a_token_and_goes_with_its_account() {
    let cluster = api(&[]);
    cluster.kubectl("create serviceaccount robot");
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"robot-token","annotations":{"kubernetes.io/service-account.name":"robot"}},"type":"kubernetes.io/service-account-token"}"#;
    cluster.apply(secret);
    assert_eq!(decoded(&cluster, "robot-token", "namespace"), "default");
    assert!(decoded(&cluster, "robot-token", "ca.crt").contains("BEGIN CERTIFICATE"));
    let token = decoded(&cluster, "robot-token", "token");
    let whoami = checked("whoami", with_token(&cluster, &token, &["auth", "whoami"]));
    assert!(whoami.contains("system:serviceaccount:default:robot"), "{whoami}");
    cluster.kubectl("delete serviceaccount robot");
    assert!(!with_token(&cluster, &token, &["auth", "whoami"]).status.success(), "its account is gone");
    cluster.kubectl("wait secret/robot-token --for=delete --timeout=30s");
}

#[test]
fn tokens_are_for_their_audiences_and_die_with_what_they_are_bound_to() {
    let cluster = api(&["--service-account-max-token-expiration", "7200"]);
    cluster.kubectl("wait serviceaccount/default --for=create --timeout=30s");
    let review = |token: &str, audiences: &str| -> Value {
        let body = format!(
            r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{{"token":{token:?},"audiences":{audiences}}}}}"#
        );
        let answer = checked("review", cluster.kubectl_in("create -o json -f -", &body));
        serde_json::from_str::<Value>(&answer).unwrap()["status"].clone()
    };
    let vault = cluster.kubectl("create token default --audience=vault");
    let status = review(vault.trim(), r#"["vault","other"]"#);
    assert_eq!(
        (&status["authenticated"], &status["audiences"][0]),
        (&Value::from(true), &Value::from("vault")),
        "{status}"
    );
    assert_eq!(review(vault.trim(), "[]")["authenticated"], Value::Null, "not for the API");
    assert!(!with_token(&cluster, vault.trim(), &["auth", "whoami"]).status.success());

    cluster.kubectl("create secret generic tie");
    let bound = cluster.kubectl("create token default --bound-object-kind=Secret --bound-object-name=tie");
    checked("whoami", with_token(&cluster, bound.trim(), &["auth", "whoami"]));
    cluster.kubectl("delete secret tie");
    assert!(!with_token(&cluster, bound.trim(), &["auth", "whoami"]).status.success(), "what it is bound to is gone");
    let long = cluster.try_kubectl(&["create", "token", "default", "--duration=3h"]);
    let said = String::from_utf8_lossy(&long.stderr);
    assert!(said.contains("requested expiration of 10800 seconds shortened to 7200 seconds"), "{said}");
    let short = cluster.try_kubectl(&["create", "token", "default", "--duration=5m"]);
    assert!(String::from_utf8_lossy(&short.stderr).contains("may not specify a duration less than 10 minutes"));
}

#[test]
fn another_cluster_takes_this_ones_tokens_as_id_tokens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let issuer = format!("https://127.0.0.1:{port}");
    let provider = api(&["--port", &port.to_string(), "--service-account-issuer", &issuer]);
    let bind = "create clusterrolebinding open --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated";
    provider.kubectl(bind);
    let discovery: Value =
        serde_json::from_str(&provider.kubectl("get --raw /.well-known/openid-configuration")).unwrap();
    assert_eq!(discovery["issuer"], issuer.as_str());
    assert_eq!(discovery["jwks_uri"], format!("{issuer}/openid/v1/jwks"));

    let ca = provider.directory.path().join("data/server/tls/ca.crt");
    let cluster = api(&[
        "--oidc-issuer-url",
        &issuer,
        "--oidc-client-id=other",
        "--oidc-username-prefix=far:",
        "--oidc-signing-algs=ES256",
        "--oidc-ca-file",
        ca.to_str().unwrap(),
    ]);
    provider.kubectl("wait serviceaccount/default --for=create --timeout=30s");
    let token = provider.kubectl("create token default --audience=other");
    let whoami = checked("whoami", with_token(&cluster, token.trim(), &["auth", "whoami"]));
    assert!(whoami.contains("far:system:serviceaccount:default:default"), "{whoami}");
    let elsewhere = provider.kubectl("create token default --audience=elsewhere");
    assert!(!with_token(&cluster, elsewhere.trim(), &["auth", "whoami"]).status.success());
}
