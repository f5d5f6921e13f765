//! The pod's conditions, in the kubelet's order and words.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Facts;
use crate::slot::{Phase, Role, Slot};

/// Conditions that the agent owns; all others are somebody else's and stay as they are.
pub const OWNED: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

type Verdict = Result<(), (&'static str, String)>;

pub fn conditions(pod: &Pod, slots: &[Slot], phase: &str, facts: &Facts) -> Vec<PodCondition> {
    let completed = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let sandbox = match (facts.pod_ip, completed) {
        (Some(_), None) => Ok(()),
        _ => Err(("", String::new())),
    };
    let containers = match completed {
        Some(reason) => Err((reason, String::new())),
        None => ready(slots),
    };
    let all = [sandbox, initialized(slots, phase), containers.clone().and_then(|()| gates(pod)), containers, Ok(())];
    let before = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions: Vec<_> =
        OWNED.iter().zip(all).map(|(type_, verdict)| condition(pod, type_, verdict, facts)).collect();
    conditions.extend(before.filter(|condition| !OWNED.contains(&condition.type_.as_str())).cloned());
    if phase == "Succeeded"
        && let Some(initialized) = conditions.get_mut(1)
    {
        initialized.reason = Some("PodCompleted".into());
    }
    conditions
}

fn condition(pod: &Pod, type_: &str, verdict: Verdict, facts: &Facts) -> PodCondition {
    let known = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let before = known.and_then(|all| all.iter().find(|condition| condition.type_ == type_));
    let status = if verdict.is_ok() { "True" } else { "False" };
    let (reason, message) = verdict.err().unzip();
    let same = before.filter(|before| before.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
        message: message.filter(|message| !message.is_empty()),
        last_transition_time: same.and_then(|before| before.last_transition_time.clone()).or(Some(Time(facts.now))),
        last_probe_time: None,
        observed_generation: pod.metadata.generation,
    }
}

fn initialized(slots: &[Slot], phase: &str) -> Verdict {
    let mains_ran = slots
        .iter()
        .any(|slot| slot.role == Role::Main && (slot.last.is_some() || !matches!(slot.phase, Phase::Waiting(_))));
    let left: Vec<&str> = slots
        .iter()
        .filter(|slot| slot.role != Role::Main && !slot.initialized())
        .map(|slot| slot.name.as_str())
        .collect();
    if left.is_empty() || mains_ran || phase == "Succeeded" {
        return Ok(());
    }
    Err(("ContainersNotInitialized", format!("containers with incomplete status: [{}]", left.join(" "))))
}

fn ready(slots: &[Slot]) -> Verdict {
    let unready = |slot: &&Slot| slot.role != Role::Init && !(slot.running().is_some() && slot.started && slot.ready);
    let names: Vec<&str> = slots.iter().filter(unready).map(|slot| slot.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(("ContainersNotReady", format!("containers with unready status: [{}]", names.join(" "))))
}

fn gates(pod: &Pod) -> Verdict {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let known: Vec<&PodCondition> = pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).collect();
    let unmet = gates.filter_map(|gate| {
        let name = &gate.condition_type;
        match known.iter().find(|condition| condition.type_ == *name) {
            None => Some(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(condition) if condition.status == "True" => None,
            Some(condition) => {
                Some(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", condition.status))
            }
        }
    });
    let unmet: Vec<String> = unmet.collect();
    if unmet.is_empty() { Ok(()) } else { Err(("ReadinessGatesNotReady", unmet.join(", "))) }
}
