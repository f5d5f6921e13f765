//! What a small policy allows, and in which words it refuses.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::index::RoleName;
use super::*;

fn policy() -> Rbac {
    let rbac = Rbac::default();
    let put = |kind: &str, mut value: Value| {
        value["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        value["kind"] = json!(kind);
        let policy = match kind {
            "Role" => Policy::Role(serde_json::from_value(value).unwrap()),
            "ClusterRole" => Policy::ClusterRole(serde_json::from_value(value).unwrap()),
            "RoleBinding" => Policy::RoleBinding(serde_json::from_value(value).unwrap()),
            _ => Policy::ClusterRoleBinding(serde_json::from_value(value).unwrap()),
        };
        rbac.update(|index| index.apply(policy));
    };
    let rule = |verbs: &[&str], groups: &[&str], resources: &[&str]| json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    let reference =
        |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    put(
        "ClusterRole",
        json!({"metadata": {"name": "reader"}, "rules": [rule(&["get", "list"], &["", "apps"], &["pods", "deployments"])]}),
    );
    put(
        "ClusterRole",
        json!({"metadata": {"name": "scaler"}, "rules": [rule(&["update"], &["*"], &["*/scale"]), {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]}]}),
    );
    put(
        "Role",
        json!({"metadata": {"name": "one", "namespace": "y"}, "rules": [{"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["c"]}]}),
    );
    put(
        "ClusterRoleBinding",
        json!({"metadata": {"name": "readers"}, "roleRef": reference("ClusterRole", "reader"), "subjects": [{"kind": "Group", "name": "dev"}]}),
    );
    put(
        "ClusterRoleBinding",
        json!({"metadata": {"name": "scalers"}, "roleRef": reference("ClusterRole", "scaler"), "subjects": [{"kind": "User", "name": "x"}]}),
    );
    put(
        "RoleBinding",
        json!({"metadata": {"name": "ones", "namespace": "y"}, "roleRef": reference("Role", "one"), "subjects": [{"kind": "ServiceAccount", "name": "sa", "namespace": "y"}, {"kind": "User", "name": "x"}]}),
    );
    put(
        "RoleBinding",
        json!({"metadata": {"name": "lost", "namespace": "z"}, "roleRef": reference("Role", "gone"), "subjects": [{"kind": "User", "name": "x"}]}),
    );
    rbac
}

fn wants(verb: &str, what: &str, namespace: &str, name: &str) -> Attributes {
    let (group, resource) = what.split_once(':').unwrap_or(("", what));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let [verb, group, resource, subresource, namespace, name] =
        [verb, group, resource, subresource, namespace, name].map(str::to_owned);
    Attributes { verb, group, resource, subresource, namespace, name, ..Attributes::default() }
}

fn check(rbac: &Rbac, identity: &Identity, attributes: Attributes, expected: Expect) {
    let text = match rbac.authorize(identity, &attributes) {
        Decision::Allowed { reason } => format!("yes {reason}"),
        Decision::Denied { reason } => denial(identity, &attributes, &reason).message,
    };
    expected.assert_eq(&text);
}

#[test]
fn bindings_allow_what_their_roles_say_and_nothing_else() {
    let rbac = policy();
    let x = Identity::new("x", &["dev"]);
    check(
        &rbac,
        &x,
        wants("list", "apps:deployments", "y", ""),
        expect![[r#"yes RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev""#]],
    );
    check(
        &rbac,
        &x,
        wants("update", "apps:deployments/scale", "y", "d"),
        expect![[r#"yes RBAC: allowed by ClusterRoleBinding "scalers" of ClusterRole "scaler" to User "x""#]],
    );
    check(
        &rbac,
        &x,
        wants("update", "configmaps", "y", "c"),
        expect![[r#"yes RBAC: allowed by RoleBinding "ones/y" of Role "one" to User "x""#]],
    );
    check(
        &rbac,
        &x,
        wants("update", "configmaps", "y", "d"),
        expect![[
            r#"configmaps "d" is forbidden: User "x" cannot update resource "configmaps" in API group "" in the namespace "y""#
        ]],
    );
    check(
        &rbac,
        &x,
        wants("get", "pods/log", "y", "p"),
        expect![[
            r#"pods "p" is forbidden: User "x" cannot get resource "pods/log" in API group "" in the namespace "y""#
        ]],
    );
    check(
        &rbac,
        &x,
        wants("update", "configmaps", "z", "c"),
        expect![[
            r#"configmaps "c" is forbidden: User "x" cannot update resource "configmaps" in API group "" in the namespace "z": RBAC: role.rbac.authorization.k8s.io "gone" not found"#
        ]],
    );
    let nobody = Identity::new("x2", &[]);
    check(
        &rbac,
        &nobody,
        wants("list", "apps:deployments", "y", ""),
        expect![[
            r#"deployments.apps is forbidden: User "x2" cannot list resource "deployments" in API group "apps" in the namespace "y""#
        ]],
    );
    check(
        &rbac,
        &nobody,
        wants("list", "nodes", "", ""),
        expect![[r#"nodes is forbidden: User "x2" cannot list resource "nodes" in API group "" at the cluster scope"#]],
    );
    let account = Identity::new("system:serviceaccount:y:sa", &[]);
    check(
        &rbac,
        &account,
        wants("update", "configmaps", "y", "c"),
        expect![[r#"yes RBAC: allowed by RoleBinding "ones/y" of Role "one" to ServiceAccount "sa/y""#]],
    );
    check(&rbac, &Identity::system_masters(), wants("list", "nodes", "", ""), expect!["yes "]);
}

#[test]
fn paths_match_whole_or_by_a_trailing_star() {
    let rbac = policy();
    let path = |path: &str| Attributes { verb: "get".into(), path: Some(path.into()), ..Attributes::default() };
    let x = Identity::new("x", &[]);
    check(
        &rbac,
        &x,
        path("/metrics/a"),
        expect![[r#"yes RBAC: allowed by ClusterRoleBinding "scalers" of ClusterRole "scaler" to User "x""#]],
    );
    check(&rbac, &x, path("/healthz/b"), expect![[r#"forbidden: User "x" cannot get path "/healthz/b""#]]);
}

#[test]
fn removed_bindings_and_roles_grant_nothing() {
    let rbac = policy();
    let dev = Identity::new("d", &["dev"]);
    let asked = || wants("list", "pods", "y", "");
    let reader = json!({"metadata": {"name": "reader"}});
    rbac.update(|index| index.remove(&Policy::ClusterRole(serde_json::from_value(reader).unwrap())));
    assert!(matches!(rbac.authorize(&dev, &asked()), Decision::Denied { .. }), "its role is gone");
    let rbac = policy();
    rbac.update(|index| index.replace("clusterrolebindings", Vec::new()));
    assert!(matches!(rbac.authorize(&dev, &asked()), Decision::Denied { .. }));
    let x = Identity::new("x", &[]);
    assert!(
        matches!(rbac.authorize(&x, &wants("update", "configmaps", "y", "c")), Decision::Allowed { .. }),
        "role bindings stay"
    );
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let rbac = policy();
    let dev = Identity::new("d", &["dev", "system:authenticated"]);
    let rules = |value: Value| serde_json::from_value::<Vec<PolicyRule>>(value).unwrap();
    let held = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]));
    assert_eq!(rbac.may_grant(&dev, ("y", "r"), &held), Ok(()));
    let more = rules(
        json!([{"verbs": ["get", "delete", "create"], "apiGroups": ["", "apps"], "resources": ["pods"]}, {"verbs": ["get"], "nonResourceURLs": ["/logs"]}]),
    );
    expect![[r#"
        user "d" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["delete" "create"]}
        {APIGroups:["apps"], Resources:["pods"], Verbs:["delete" "create"]}
        {NonResourceURLs:["/logs"], Verbs:["get"]}"#]]
    .assert_eq(&rbac.may_grant(&dev, ("y", "r"), &more).unwrap_err());
    assert_eq!(rbac.may_grant(&Identity::system_masters(), ("", "r"), &more), Ok(()));
    let cluster = |name: &str| RoleName::Cluster(name.into());
    assert_eq!(rbac.may_bind(&dev, "y", (&cluster("reader"), &held)), Ok(()));
    assert!(rbac.may_bind(&dev, "y", (&cluster("scaler"), &more)).is_err());
    expect![[r#"
        must have cluster-admin privileges to use the aggregationRule: user "d" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:["*"], Resources:["*"], Verbs:["*"]}
        {NonResourceURLs:["*"], Verbs:["*"]}"#]]
    .assert_eq(&rbac.may_aggregate(&dev, "x").unwrap_err());
}

#[test]
fn rules_are_listed_for_review() {
    let rules = policy().rules(&Identity::new("x", &[]), "y");
    let text = serde_json::to_string(&(rules.resource, rules.non_resource)).unwrap();
    expect![[r#"[[{"apiGroups":["*"],"resources":["*/scale"],"verbs":["update"]},{"apiGroups":[""],"resourceNames":["c"],"resources":["configmaps"],"verbs":["update"]}],[{"nonResourceURLs":["/healthz","/metrics/*"],"verbs":["get"]}]]"#]]
    .assert_eq(&text);
}
