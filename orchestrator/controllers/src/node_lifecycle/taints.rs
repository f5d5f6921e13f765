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
