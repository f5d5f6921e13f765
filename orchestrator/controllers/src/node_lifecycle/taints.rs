//! The taints that a node's conditions and `spec.unschedulable` ask for. Pure; `node_lifecycle` writes them.
//!
//! ```text
//!  Ready True ─► none    False ─► not-ready    Unknown ─► unreachable        (each NoSchedule and NoExecute)
//! ```

use amphipod_api::labels::{TAINT_NOT_READY, TAINT_UNREACHABLE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::health::condition;

pub const NO_SCHEDULE: &str = "NoSchedule";
pub const NO_EXECUTE: &str = "NoExecute";
const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that keep new pods away while they are `True`.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The node's whole list of taints as it ought to be; `None` when it is so already. Taints of users stay.
pub fn wanted(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let asked = asked_for(node, present);
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|taint| !is_ours(taint) || asked.contains(&(taint.key.as_str(), taint.effect.as_str())))
        .cloned()
        .collect();
    for (key, effect) in asked {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (taints != present).then_some(taints)
}

fn asked_for(node: &Node, present: &[Taint]) -> Vec<(&'static str, &'static str)> {
    let mut asked = Vec::new();
    match condition(node, "Ready").map(|ready| ready.status.as_str()) {
        Some("True") => {}
        Some("Unknown") => asked.extend([(TAINT_UNREACHABLE, NO_SCHEDULE), (TAINT_UNREACHABLE, NO_EXECUTE)]),
        Some(_) => asked.extend([(TAINT_NOT_READY, NO_SCHEDULE), (TAINT_NOT_READY, NO_EXECUTE)]),
        // It has said nothing yet: it keeps the taint that it was born with.
        None if present.iter().any(|taint| taint.key == TAINT_NOT_READY) => asked.push((TAINT_NOT_READY, NO_SCHEDULE)),
        None => {}
    }
    let presses = |kind: &str| condition(node, kind).is_some_and(|pressure| pressure.status == "True");
    asked.extend(PRESSURES.iter().filter(|(kind, _)| presses(kind)).map(|(_, key)| (*key, NO_SCHEDULE)));
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        asked.push((TAINT_UNSCHEDULABLE, NO_SCHEDULE));
    }
    asked
}

fn is_ours(taint: &Taint) -> bool {
    let by_readiness = taint.key == TAINT_NOT_READY || taint.key == TAINT_UNREACHABLE;
    let by_pressure = PRESSURES.iter().any(|(_, key)| *key == taint.key) || taint.key == TAINT_UNSCHEDULABLE;
    match taint.effect.as_str() {
        NO_SCHEDULE => by_readiness || by_pressure,
        NO_EXECUTE => by_readiness,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(taints: &[&str], conditions: &[(&str, &str)], unschedulable: Option<bool>, expect: Expect) {
        let taint = |text: &&str| {
            let (key, effect) = text.split_once(':').expect("key:effect");
            json!({ "key": key, "effect": effect })
        };
        let conditions: Vec<Value> =
            conditions.iter().map(|(kind, status)| json!({ "type": kind, "status": status })).collect();
        let node = json!({
            "metadata": { "name": "n" },
            "spec": { "taints": taints.iter().map(taint).collect::<Vec<_>>(), "unschedulable": unschedulable },
            "status": { "conditions": conditions },
        });
        let node: Node = serde_json::from_value(node).expect("a Node");
        let line = |taint: &Taint| {
            let new = if taint.time_added.is_some() { " new" } else { "" };
            format!("{}:{}{new}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)
        };
        let said = match wanted(&node, Timestamp::UNIX_EPOCH) {
            Some(taints) => format!("[{}]", taints.iter().map(line).collect::<Vec<_>>().join(", ")),
            None => "as it is".to_owned(),
        };
        expect.assert_eq(&said);
    }

    const BORN: &str = "node.kubernetes.io/not-ready:NoSchedule";

    #[test]
    fn readiness_has_two_taints_or_none() {
        check(&[BORN], &[], None, expect!["as it is"]);
        check(&[], &[], None, expect!["as it is"]);
        check(&[BORN], &[("Ready", "True")], None, expect!["[]"]);
        check(
            &[BORN, "node.kubernetes.io/not-ready:NoExecute", "user:NoExecute"],
            &[("Ready", "True")],
            None,
            expect!["[user:NoExecute]"],
        );
        check(&[], &[("Ready", "True")], None, expect!["as it is"]);
        check(&[BORN], &[("Ready", "False")], None, expect!["[not-ready:NoSchedule, not-ready:NoExecute new]"]);
        check(
            &[BORN],
            &[("Ready", "Unknown")],
            None,
            expect!["[unreachable:NoSchedule new, unreachable:NoExecute new]"],
        );
        check(
            &["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"],
            &[("Ready", "False")],
            None,
            expect!["[not-ready:NoSchedule new, not-ready:NoExecute new]"],
        );
    }

    #[test]
    fn pressure_and_cordon_keep_new_pods_away() {
        let all = [
            ("MemoryPressure", "True"),
            ("DiskPressure", "True"),
            ("PIDPressure", "True"),
            ("NetworkUnavailable", "True"),
        ];
        check(
            &[],
            &all,
            Some(true),
            expect![
                "[memory-pressure:NoSchedule new, disk-pressure:NoSchedule new, pid-pressure:NoSchedule new, network-unavailable:NoSchedule new, unschedulable:NoSchedule new]"
            ],
        );
        let ours = ["node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"];
        check(&ours, &[("MemoryPressure", "Unknown")], Some(false), expect!["[]"]);
        check(&["node.kubernetes.io/memory-pressure:NoExecute"], &[], None, expect!["as it is"]);
    }
}
