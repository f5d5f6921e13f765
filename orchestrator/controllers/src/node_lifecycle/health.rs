//! When a node counts as silent, and what its conditions say then. Pure; `node_lifecycle` keeps the watch.
//!
//! ```text
//!  registered ── no status for 60 s ──► Unknown (NodeStatusNeverUpdated)
//!  reporting ── no sign for 40 s ──► Unknown (NodeStatusUnknown) ── its agent reports ──► reporting
//! ```

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A node that reported once may be silent for this long.
const GRACE: Duration = Duration::from_secs(40);
/// A node that never reported may take this long to start.
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// The conditions that only the node itself can know.
const OWN: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What to do about a node's silence.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It has this much time left.
    Wait(Duration),
    /// These conditions change; the others stay as they are.
    Set(Vec<NodeCondition>),
    /// Everything is unknown already.
    Known,
}

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Judges a node that has given no sign of life for so long.
pub fn judge(node: &Node, silent_for: Duration, now: Timestamp) -> Verdict {
    let unknown: Vec<_> = OWN.iter().filter_map(|kind| unknown(node, kind, now)).collect();
    if unknown.is_empty() {
        return Verdict::Known;
    }
    let grace = if condition(node, "Ready").is_some() { GRACE } else { STARTUP_GRACE };
    match grace.checked_sub(silent_for).filter(|left| !left.is_zero()) {
        Some(left) => Verdict::Wait(left),
        None => Verdict::Set(unknown),
    }
}

/// The condition turned unknown; `None` when it is so already.
fn unknown(node: &Node, kind: &str, now: Timestamp) -> Option<NodeCondition> {
    let before = condition(node, kind);
    if before.is_some_and(|before| before.status == "Unknown") {
        return None;
    }
    let (reason, message) = match before {
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    let heartbeat = match before {
        Some(before) => before.last_heartbeat_time.clone(),
        None => node.metadata.creation_timestamp.clone(),
    };
    Some(NodeCondition {
        type_: kind.to_owned(),
        status: "Unknown".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: heartbeat,
        last_transition_time: Some(Time(now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(conditions: &[(&str, &str)], silent_for: u64, expect: Expect) {
        let conditions: Vec<_> =
            conditions.iter().map(|(kind, status)| json!({ "type": kind, "status": status })).collect();
        let node = json!({ "metadata": { "name": "n" }, "status": { "conditions": conditions } });
        let node: Node = serde_json::from_value(node).expect("a Node");
        let said = match judge(&node, Duration::from_secs(silent_for), Timestamp::UNIX_EPOCH) {
            Verdict::Wait(left) => format!("wait {left:?}"),
            Verdict::Known => "known".to_owned(),
            Verdict::Set(conditions) => {
                let line =
                    |c: &NodeCondition| format!("{} {} {}", c.type_, c.status, c.reason.as_deref().unwrap_or(""));
                conditions.iter().map(line).collect::<Vec<_>>().join("\n")
            }
        };
        expect.assert_eq(&said);
    }

    #[test]
    fn silence_has_its_limits() {
        check(&[("Ready", "True")], 0, expect!["wait 40s"]);
        check(&[("Ready", "False")], 39, expect!["wait 1s"]);
        check(&[], 40, expect!["wait 20s"]);
    }

    #[test]
    fn beyond_them_nothing_is_known() {
        check(
            &[
                ("Ready", "True"),
                ("MemoryPressure", "False"),
                ("DiskPressure", "False"),
                ("PIDPressure", "False"),
                ("NetworkUnavailable", "False"),
            ],
            40,
            expect![[r#"
            Ready Unknown NodeStatusUnknown
            MemoryPressure Unknown NodeStatusUnknown
            DiskPressure Unknown NodeStatusUnknown
            PIDPressure Unknown NodeStatusUnknown"#]],
        );
        check(
            &[("Ready", "Unknown"), ("PIDPressure", "True")],
            100,
            expect![[r#"
            MemoryPressure Unknown NodeStatusNeverUpdated
            DiskPressure Unknown NodeStatusNeverUpdated
            PIDPressure Unknown NodeStatusUnknown"#]],
        );
        check(
            &[
                ("Ready", "Unknown"),
                ("MemoryPressure", "Unknown"),
                ("DiskPressure", "Unknown"),
                ("PIDPressure", "Unknown"),
            ],
            100,
            expect!["known"],
        );
        check(
            &[],
            60,
            expect![[r#"
            Ready Unknown NodeStatusNeverUpdated
            MemoryPressure Unknown NodeStatusNeverUpdated
            DiskPressure Unknown NodeStatusNeverUpdated
            PIDPressure Unknown NodeStatusNeverUpdated"#]],
        );
    }
}
