//! The status of a pod, as the kubelet would report it: pure, from the pod, its slots and a few facts. `pod.rs` sends it.

mod conditions;
mod containers;
mod quality;

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::slot::{Phase, RestartPolicy, Role, Slot};

pub use conditions::OWNED;
pub use quality::quality_of_service;

/// What the status depends on besides the pod and its slots.
#[derive(Debug, Clone)]
pub struct Facts {
    pub host_ip: IpAddr,
    /// Once the pod has its sandbox, and ever after.
    pub pod_ip: Option<IpAddr>,
    pub start_time: Timestamp,
    /// It was ended by the agent: `DeadlineExceeded` and the like, with a message.
    pub ended: Option<(String, String)>,
    /// Everything has stopped because the pod is deleted or was ended.
    pub stopped: bool,
    pub now: Timestamp,
}

/// The whole status. `lastTransitionTime` of a condition that did not change and conditions of others are kept from
/// the pod's present status.
pub fn status(pod: &Pod, slots: &[Slot], facts: &Facts) -> PodStatus {
    let spec = pod.spec.clone().unwrap_or_default();
    let before = pod.status.clone().unwrap_or_default();
    let policy = RestartPolicy::of(&spec);
    let phase = phase(slots, policy, facts);
    let ending = facts.stopped || facts.ended.is_some() || pod.metadata.deletion_timestamp.is_some();
    let meta = &pod.metadata;
    let [name, namespace, uid] =
        [&meta.name, &meta.namespace, &meta.uid].map(|text| text.as_deref().unwrap_or_default());
    let label = format!("{name}_{namespace}({uid})");
    let view = containers::View { spec: &spec, slots, label, policy, ending, now: facts.now };
    let inits = view.statuses(|role| role != Role::Main);
    let (reason, message) = facts.ended.clone().unzip();
    let pod_ip = facts.pod_ip.map(|ip| ip.to_string()).or(before.pod_ip.clone());
    PodStatus {
        conditions: Some(conditions::conditions(pod, slots, phase, facts)),
        container_statuses: Some(view.statuses(|role| role == Role::Main)),
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        host_ip: Some(facts.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: facts.host_ip.to_string() }]),
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        phase: Some(phase.to_owned()),
        start_time: Some(Time(facts.start_time)),
        qos_class: Some(before.qos_class.unwrap_or_else(|| quality_of_service(&spec).to_owned())),
        observed_generation: pod.metadata.generation,
        reason,
        message,
        ..PodStatus::default()
    }
}

/// The kubelet's rules, in its order.
fn phase(slots: &[Slot], policy: RestartPolicy, facts: &Facts) -> &'static str {
    let failed = |slot: &Slot| matches!(&slot.phase, Phase::Exited(ended) if ended.exit.code != 0);
    let mains = || slots.iter().filter(|slot| slot.role == Role::Main);
    let never_ran = |slot: &Slot| matches!(slot.phase, Phase::Waiting(_)) && slot.last.is_none();
    if facts.ended.is_some() {
        return "Failed";
    }
    if facts.stopped {
        return if mains().any(|slot| failed(slot) || never_ran(slot)) { "Failed" } else { "Succeeded" };
    }
    let mains_ran = !mains().all(never_ran);
    if !mains_ran && slots.iter().any(|slot| slot.role != Role::Main && !slot.initialized()) {
        let init_failed = slots.iter().any(|slot| slot.role == Role::Init && failed(slot));
        return if init_failed && policy == RestartPolicy::Never { "Failed" } else { "Pending" };
    }
    if mains().any(never_ran) {
        return "Pending";
    }
    if mains().any(|slot| slot.running().is_some()) {
        return "Running";
    }
    let waiting_again = mains().any(|slot| matches!(slot.phase, Phase::Waiting(_)));
    match policy {
        RestartPolicy::Always => "Running",
        _ if waiting_again => "Running",
        _ if !mains().any(failed) => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

#[cfg(test)]
mod tests;
