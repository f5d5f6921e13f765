//! Who is pushed out, where, and why nobody is.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::{Cluster, cpu, merge, node, plain, pod};
use crate::need::Need;
use crate::outlook::Outlook;
use crate::preempt::{Budget, preempt};
use crate::schedule::{Asked, explain};

fn placed(name: &str, priority: i32, amount: &str) -> Value {
    let mut whole =
        json!({"metadata": {"name": name, "uid": name, "labels": {"app": name}}, "spec": {"priority": priority}});
    merge(&mut whole["spec"], cpu(amount));
    whole
}

fn started(mut whole: Value, at: &str) -> Value {
    whole["status"] = json!({"startTime": format!("2026-01-01T{at}:00Z")});
    whole
}

fn budget(app: &str, allowed: i32) -> PodDisruptionBudget {
    serde_json::from_value(json!({
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
    }))
    .unwrap()
}

/// `node: victims (violations)`, or what is said.
fn check(cluster: &mut Cluster, incoming: Value, budgets: &[PodDisruptionBudget], expected: &str) {
    let need = Need::of(&pod(incoming));
    let budgets: Vec<Budget> = budgets.iter().map(Budget::of).collect();
    let outlook = Outlook::of(&need, &mut cluster.snapshot);
    let asked = Asked { uid: "incoming", need: &need, outlook: &outlook, wanted: None };
    let why = explain(&asked, &mut cluster.snapshot, None);
    let position = cluster.snapshot.position();
    let said = match preempt(&asked, &why, &mut cluster.snapshot, &budgets, 0) {
        Ok(victims) => {
            let names: Vec<&str> = victims.pods.iter().map(|pod| pod.facts.name.as_str()).collect();
            format!("{}: {} ({})", cluster.snapshot.at(victims.slot).name, names.join(" "), victims.violations)
        }
        Err(said) => said,
    };
    assert_eq!(said, expected);
    assert_eq!(cluster.snapshot.position(), position, "trying it out leaves no trace");
    assert_eq!(explain(&asked, &mut cluster.snapshot, None), why);
}

fn wanting(amount: &str) -> Value {
    placed("incoming", 100, amount)
}

#[test]
fn the_fewest_and_least_important_go() {
    let one = || Cluster::of([plain("a")]);
    let mut cluster = one().holds("a", placed("low", 1, "1")).holds("a", placed("mid", 50, "500m"));
    check(&mut cluster, wanting("1"), &[], "a: low (0)");
    check(&mut cluster, wanting("2"), &[], "a: mid low (0)");
    let mut cluster = one().holds("a", placed("equal", 100, "2"));
    check(&mut cluster, wanting("1"), &[], "0/1 nodes are available: 1 No preemption victims found for incoming pod.");
}

#[test]
fn who_runs_longest_is_spared() {
    let mut cluster = Cluster::of([plain("a")])
        .holds("a", started(placed("young", 1, "1"), "02:00"))
        .holds("a", started(placed("old", 1, "1"), "01:00"));
    check(&mut cluster, wanting("1"), &[], "a: young (0)");
}

#[test]
fn why_nobody_goes_is_counted_by_node() {
    let tainted = node("b", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    let mut cluster = Cluster::of([plain("a"), tainted, plain("c"), plain("d")])
        .holds("a", placed("equal", 100, "2"))
        .holds("c", placed("low", 1, "100m"))
        .holds("c", placed("high", 900, "1900m"))
        .holds("d", placed("huge", 900, "2"));
    check(
        &mut cluster,
        wanting("1"),
        &[],
        "0/4 nodes are available: 1 Insufficient cpu, 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.",
    );
    check(&mut cluster, wanting("64"), &[], "0/4 nodes are available: 4 Preemption is not helpful for scheduling.");
}

#[test]
fn who_is_told_never_to_push_does_not() {
    let mut cluster = Cluster::of([plain("a")]).holds("a", placed("low", 1, "2"));
    let mut polite = wanting("1");
    polite["spec"]["preemptionPolicy"] = "Never".into();
    check(&mut cluster, polite, &[], "not eligible due to preemptionPolicy=Never.");
}

#[test]
fn budgets_are_broken_only_where_nothing_else_helps() {
    let two =
        || Cluster::of([plain("a"), plain("b")]).holds("a", placed("kept", 1, "2")).holds("b", placed("free", 50, "2"));
    check(&mut two(), wanting("1"), &[], "a: kept (0)");
    check(&mut two(), wanting("1"), &[budget("kept", 0)], "b: free (0)");
    check(&mut two(), wanting("1"), &[budget("kept", 1)], "a: kept (0)");
    check(&mut two(), wanting("1"), &[budget("kept", 0), budget("free", 0)], "a: kept (1)");
    // On one node the guarded pod is spared first.
    let mut one = Cluster::of([plain("a")]).holds("a", placed("kept", 1, "1")).holds("a", placed("free", 50, "1"));
    check(&mut one, wanting("1"), &[budget("kept", 0)], "a: free (0)");
}

#[test]
fn nodes_are_compared_in_upstreams_order() {
    let on = |pods: &[(&str, &str, i32, &str)]| {
        let mut cluster = Cluster::of([plain("a"), plain("b")]);
        for (node, name, priority, amount) in pods {
            cluster.place(node, placed(name, *priority, amount));
        }
        cluster
    };
    // The lowest most important victim.
    check(&mut on(&[("a", "x", 9, "2"), ("b", "y", 5, "2")]), wanting("2"), &[], "b: y (0)");
    // Then the smaller sum of priorities.
    let pods = [("a", "x", 9, "1"), ("a", "x2", 8, "1"), ("b", "y", 9, "1"), ("b", "y2", 1, "1")];
    check(&mut on(&pods), wanting("2"), &[], "b: y y2 (0)");
    // Then fewer victims: a sum counts each of them.
    check(&mut on(&[("a", "x", 9, "1"), ("a", "x2", 9, "1"), ("b", "y", 9, "2")]), wanting("2"), &[], "b: y (0)");
    let negative = [("a", "x", -5, "1"), ("a", "x2", -5, "1"), ("b", "y", -5, "2")];
    check(&mut on(&negative), wanting("2"), &[], "b: y (0)");
    // Then who began last.
    let mut late = Cluster::of([plain("a"), plain("b")])
        .holds("a", started(placed("x", 1, "2"), "01:00"))
        .holds("b", started(placed("y", 1, "2"), "02:00"));
    check(&mut late, wanting("2"), &[], "b: y (0)");
}

#[test]
fn who_has_pushed_waits_for_its_victims() {
    let mut leaving = placed("low", 1, "2");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    leaving["status"] = json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},
    ]});
    let mut cluster = Cluster::of([plain("a"), plain("b")]).holds("a", leaving).holds("b", placed("other", 1, "2"));
    let nominee = crate::snapshot::Nominee {
        uid: "incoming".into(),
        name: "incoming".into(),
        slot: 0,
        need: std::sync::Arc::new(Need::of(&pod(wanting("1")))),
    };
    cluster.snapshot.nominate(nominee);
    check(&mut cluster, wanting("1"), &[], "not eligible due to a terminating pod on the nominated node.");
}

#[test]
fn pods_that_keep_others_away_are_pushed_out_too() {
    let alone = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "incoming"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let mut shy = placed("shy", 1, "100m");
    merge(&mut shy["spec"], alone);
    let mut cluster = Cluster::of([plain("a")]).holds("a", shy).holds("a", placed("calm", 1, "100m"));
    check(&mut cluster, wanting("1"), &[], "a: shy (0)");
}
