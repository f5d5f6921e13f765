//! What roles give, and that nobody gives more than they hold.

use std::process::Output;

use crate::cluster::{Cluster, checked};

/// The program, its API only: nothing here needs a node.
pub fn api(flags: &[&str]) -> Cluster {
    let flags = [&["--disable", "scheduler,node,registry"], flags].concat();
    Cluster::start_in(tempfile::tempdir().unwrap(), &flags)
}

fn refused(output: Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn nobody_grants_or_binds_what_they_do_not_hold() {
    let cluster = api(&[]);
    cluster.kubectl("create clusterrole manager --verb=create,get,update --resource=roles,rolebindings");
    cluster.kubectl("create clusterrolebinding managers --clusterrole=manager --user=bob");
    cluster.kubectl("create role reader --verb=get --resource=secrets");
    let said = refused(cluster.try_kubectl(&["create", "role", "x", "--verb=get", "--resource=secrets", "--as=bob"]));
    let expected = "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    assert!(said.contains(expected), "{said}");
    let bind = ["create", "rolebinding", "b", "--role=reader", "--user=bob", "--as=bob"];
    let said = refused(cluster.try_kubectl(&bind));
    assert!(said.contains("rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"bob\""), "{said}");
    let lost = refused(cluster.try_kubectl(&["create", "rolebinding", "b", "--role=none", "--user=bob", "--as=bob"]));
    assert!(lost.contains("roles.rbac.authorization.k8s.io \"none\" not found"), "{lost}");

    cluster.kubectl("create role binder --verb=bind --resource=roles --resource-name=reader");
    cluster.kubectl("create rolebinding binders --role=binder --user=bob");
    cluster.kubectl("wait rolebinding/binders --for=create --timeout=30s");
    checked("bind", cluster.try_kubectl(&bind));
    assert_eq!(cluster.kubectl("auth can-i get secrets --as=bob").trim(), "yes");
    checked(
        "grant what is held",
        cluster.try_kubectl(&["create", "role", "x", "--verb=get", "--resource=secrets", "--as=bob"]),
    );
}

#[test]
fn aggregated_roles_follow_their_parts() {
    let cluster = api(&[]);
    let whole = r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"whole"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"part":"whole"}}]},"rules":[]}"#;
    cluster.apply(whole);
    cluster.kubectl("create clusterrole part --verb=list --resource=configmaps");
    cluster.kubectl("label clusterrole part part=whole");
    let rules = "jsonpath={.rules[0].resources[0]}=configmaps";
    cluster.kubectl(&format!("wait clusterrole/whole --for={rules} --timeout=30s"));
    // The roles that charts extend.
    cluster.kubectl("label clusterrole part rbac.authorization.k8s.io/aggregate-to-view=true");
    cluster.kubectl("create clusterrole custom --verb=get --resource=leases.coordination.k8s.io");
    cluster.kubectl("label clusterrole custom rbac.authorization.k8s.io/aggregate-to-view=true");
    cluster.kubectl("create rolebinding viewers --clusterrole=view --user=carol");
    let held =
        || cluster.try_kubectl(&["auth", "can-i", "get", "leases.coordination.k8s.io", "--as=carol"]).status.success();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !held() {
        assert!(std::time::Instant::now() < until, "view takes in what is labelled for it");
    }
    assert!(!cluster.try_kubectl(&["auth", "can-i", "create", "pods", "--as=carol"]).status.success());
}

#[test]
fn reviews_answer_for_others_and_refuse_nonsense() {
    let cluster = api(&[]);
    let review = |spec: &str| {
        let body = format!(r#"{{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{spec}}}"#);
        cluster.kubectl_in("create -o jsonpath={.status.allowed} -f -", &body)
    };
    let masters =
        review(r#"{"user":"x","groups":["system:masters"],"resourceAttributes":{"verb":"get","resource":"pods"}}"#);
    assert_eq!(checked("review", masters), "true");
    let nobody = review(r#"{"user":"x","nonResourceAttributes":{"verb":"get","path":"/metrics"}}"#);
    assert_eq!(checked("review", nobody), "false");
    let said = refused(review(r#"{"resourceAttributes":{"verb":"get","resource":"pods"}}"#));
    let expected = r#"The SubjectAccessReview "" is invalid: spec.user: Invalid value: "": at least one of user or group must be specified"#;
    assert!(said.contains(expected), "{said}");
    let listed = cluster.kubectl("auth can-i --list --as=system:serviceaccount:default:default");
    assert!(listed.contains("selfsubjectreviews.authentication.k8s.io"), "{listed}");
    assert!(cluster.kubectl("auth whoami").contains("amphipod-admin"));
}

#[test]
fn strangers_see_health_and_version_and_no_more() {
    let cluster = api(&[]);
    let ask = |path: &str| cluster.try_kubectl(&["get", "--raw", path, "--as=system:anonymous"]);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert!(ask(path).status.success(), "{path}");
    }
    for path in ["/api", "/apis", "/metrics", "/openapi/v3", "/openid/v1/jwks", "/api/v1/namespaces"] {
        let said = refused(ask(path));
        assert!(said.contains("Forbidden") && said.contains("system:anonymous"), "{path}: {said}");
    }
}
