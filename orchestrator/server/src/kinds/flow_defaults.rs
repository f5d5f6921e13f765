//! The flow control objects that every cluster has: data, as upstream fixes it. The mandatory ones may not be changed.

use serde_json::{Value, json};

/// `(name, shares, lendable percent, (queues, hand size, queue length))`; without queues a level rejects.
type Level = (&'static str, i64, i64, Option<(i64, i64, i64)>);

const LEVELS: [Level; 7] = [
    ("catch-all", 5, 0, None),
    ("system", 30, 33, Some((64, 6, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
    ("global-default", 20, 50, Some((128, 6, 50))),
];
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// `(name, spec)` of every PriorityLevelConfiguration.
pub fn levels() -> Vec<(&'static str, Value)> {
    let exempt = json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } });
    let limited = |(name, shares, lendable, queuing): Level| {
        let response = match queuing {
            None => json!({ "type": "Reject" }),
            Some((queues, hand, length)) => json!({
                "type": "Queue",
                "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": length },
            }),
        };
        let limited =
            json!({ "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response });
        (name, json!({ "type": "Limited", "limited": limited }))
    };
    std::iter::once(("exempt", exempt)).chain(LEVELS.map(limited)).collect()
}

/// `(name, spec)` of every FlowSchema, by precedence.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let everyone = || groups(&["system:unauthenticated", "system:authenticated"]);
    let leases = || resources(&["get", "create", "update"], ("coordination.k8s.io", &["leases"]), &["*"]);
    let locks =
        |namespaces: &[&str]| resources(&["get", "create", "update"], ("", &["endpoints", "configmaps"]), namespaces);
    let system_accounts = || vec![account("*")];
    let probes = json!({ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] });
    let mut nodes = resources(&["*"], ("", &["nodes", "nodes/status"]), &["*"]);
    nodes["clusterScope"] = true.into();
    let leaders = [users(&["system:kube-controller-manager", "system:kube-scheduler"]), system_accounts()].concat();
    let endpoints = [
        users(&["system:kube-controller-manager"]),
        vec![account("endpoint-controller"), account("endpointslicemirroring-controller")],
    ]
    .concat();
    let node_leases = resources(&["*"], ("coordination.k8s.io", &["leases"]), &["*"]);
    vec![
        ("exempt", schema("exempt", (1, ""), all(groups(&["system:masters"])))),
        ("probes", schema("exempt", (2, ""), json!({ "subjects": everyone(), "nonResourceRules": [probes] }))),
        (
            "system-leader-election",
            schema("leader-election", (100, "ByUser"), only(leaders, vec![locks(&["kube-system"]), leases()])),
        ),
        (
            "endpoint-controller",
            schema(
                "workload-high",
                (150, "ByUser"),
                only(endpoints, vec![resources(&["get", "create", "update"], ("", &["endpoints"]), &["*"])]),
            ),
        ),
        (
            "workload-leader-election",
            schema("leader-election", (200, "ByUser"), only(system_accounts(), vec![locks(&["*"]), leases()])),
        ),
        (
            "system-node-high",
            schema("node-high", (400, "ByUser"), only(groups(&["system:nodes"]), vec![nodes, node_leases])),
        ),
        ("system-nodes", schema("system", (500, "ByUser"), all(groups(&["system:nodes"])))),
        (
            "kube-controller-manager",
            schema("workload-high", (800, "ByNamespace"), all(users(&["system:kube-controller-manager"]))),
        ),
        ("kube-scheduler", schema("workload-high", (800, "ByNamespace"), all(users(&["system:kube-scheduler"])))),
        ("kube-system-service-accounts", schema("workload-high", (900, "ByNamespace"), all(system_accounts()))),
        ("service-accounts", schema("workload-low", (9_000, "ByUser"), all(groups(&["system:serviceaccounts"])))),
        ("global-default", schema("global-default", (9_900, "ByUser"), all(everyone()))),
        ("catch-all", schema("catch-all", (10_000, "ByUser"), all(everyone()))),
    ]
}

/// The spec that a mandatory FlowSchema must have.
pub(super) fn mandatory_schema(name: &str) -> Option<Value> {
    find(name, schemas)
}

/// The spec that a mandatory PriorityLevelConfiguration must have.
pub(super) fn mandatory_level(name: &str) -> Option<Value> {
    find(name, levels)
}

fn find(name: &str, among: fn() -> Vec<(&'static str, Value)>) -> Option<Value> {
    if !MANDATORY.contains(&name) {
        return None;
    }
    among().into_iter().find(|(one, _)| *one == name).map(|(_, spec)| spec)
}

fn schema(level: &str, (precedence, method): (i64, &str), rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence, "rules": [rule],
    });
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({ "type": method });
    }
    spec
}

fn all(subjects: Vec<Value>) -> Value {
    let mut everything = resources(&["*"], ("*", &["*"]), &["*"]);
    everything["clusterScope"] = true.into();
    let paths = json!({ "verbs": ["*"], "nonResourceURLs": ["*"] });
    json!({ "subjects": subjects, "resourceRules": [everything], "nonResourceRules": [paths] })
}

fn only(subjects: Vec<Value>, rules: Vec<Value>) -> Value {
    json!({ "subjects": subjects, "resourceRules": rules })
}

fn resources(verbs: &[&str], (group, resources): (&str, &[&str]), namespaces: &[&str]) -> Value {
    json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": namespaces })
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({ "kind": "Group", "group": { "name": name } })).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({ "kind": "User", "user": { "name": name } })).collect()
}

fn account(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "serviceAccount": { "name": name, "namespace": "kube-system" } })
}
