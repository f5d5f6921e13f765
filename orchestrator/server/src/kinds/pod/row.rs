//! A pod in `kubectl get`: one word for the state of all its containers. People and scripts read it, so the
//! rules are upstream's, oddities included.

use serde_json::Value;

use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::table::{age, count, duration, name, seconds};

/// What one walk over the container statuses finds.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    restarted_at: Option<i64>,
}

pub fn row(pod: &Value, now: i64) -> Vec<Value> {
    let status = &pod["status"];
    let summary = summarize(pod);
    let restarts = match summary.restarted_at {
        Some(at) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, duration(now - at)),
        _ => summary.restarts.to_string(),
    };
    let address = match items(&status["podIPs"]).first() {
        Some(first) => text(&first["ip"]),
        None => text(&status["podIP"]),
    };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(address),
        or_none(text(&pod["spec"]["nodeName"])),
        or_none(text(&status["nominatedNodeName"])),
        gates(pod).into(),
    ]
}

fn summarize(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars = items(&spec["initContainers"]).iter().filter(|container| is_sidecar(container)).count();
    let mut summary = Summary {
        reason: first_reason(status),
        ready: 0,
        total: items(&spec["containers"]).len() + sidecars,
        restarts: 0,
        restarted_at: None,
    };
    let initializing = summary.walk_init(pod);
    if !initializing || condition(status, "Initialized") {
        summary.restarts = 0;
        summary.restarted_at = None;
        for one in items(&status["initContainerStatuses"]) {
            if names_sidecar(spec, text(&one["name"])) {
                summary.count_restarts(one);
            }
        }
        summary.walk(status);
    }
    if is_set(&pod["metadata"]["deletionTimestamp"]) {
        if text(&status["reason"]) == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// The phase, unless the status gives a reason or a gate holds the pod.
fn first_reason(status: &Value) -> String {
    let conditions = items(&status["conditions"]);
    let gated = conditions.iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    match (gated, text(&status["reason"])) {
        (true, _) => "SchedulingGated",
        (false, "") => text(&status["phase"]),
        (false, reason) => reason,
    }
    .to_owned()
}

impl Summary {
    /// Stops at the first init container that is not done; true when there is one.
    fn walk_init(&mut self, pod: &Value) -> bool {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let planned = items(&spec["initContainers"]).len();
        for (index, one) in items(&status["initContainerStatuses"]).iter().enumerate() {
            self.count_restarts(one);
            let (terminated, waiting) = (&one["state"]["terminated"], &one["state"]["waiting"]);
            if is_set(terminated) && count(&terminated["exitCode"]) == 0 {
                continue;
            }
            if names_sidecar(spec, text(&one["name"])) && one["started"] == true {
                self.ready += usize::from(one["ready"] == true);
                continue;
            }
            let waits_for = text(&waiting["reason"]);
            self.reason = if is_set(terminated) {
                format!("Init:{}", ended(terminated))
            } else if !waits_for.is_empty() && waits_for != "PodInitializing" {
                format!("Init:{waits_for}")
            } else {
                format!("Init:{index}/{planned}")
            };
            return true;
        }
        false
    }

    /// The last container's reason wins, hence from the end to the start.
    fn walk(&mut self, status: &Value) {
        let mut running = false;
        for one in items(&status["containerStatuses"]).iter().rev() {
            self.count_restarts(one);
            let (terminated, waiting) = (&one["state"]["terminated"], &one["state"]["waiting"]);
            if !is_empty(&waiting["reason"]) {
                self.reason = text(&waiting["reason"]).to_owned();
            } else if is_set(terminated) {
                self.reason = ended(terminated);
            } else if one["ready"] == true && is_set(&one["state"]["running"]) {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += count(&status["restartCount"]);
        let ended = seconds(&status["lastState"]["terminated"]["finishedAt"]);
        self.restarted_at = self.restarted_at.max(ended);
    }
}

fn ended(terminated: &Value) -> String {
    let (reason, signal) = (text(&terminated["reason"]), count(&terminated["signal"]));
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", count(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn names_sidecar(spec: &Value, name: &str) -> bool {
    items(&spec["initContainers"]).iter().any(|container| container["name"] == name && is_sidecar(container))
}

fn condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
}

fn gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    let open = gates.iter().filter(|gate| condition(&pod["status"], text(&gate["conditionType"]))).count();
    if gates.is_empty() { "<none>".to_owned() } else { format!("{open}/{}", gates.len()) }
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>" } else { text }.into()
}
