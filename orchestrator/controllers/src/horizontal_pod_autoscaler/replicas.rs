//! How many replicas a measured amount asks for: upstream's replica calculator, pure. `measure.rs` brings the samples,
//! `plan.rs` holds the proposal to limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use kube::ResourceExt;

use crate::pods::{condition, is_ready, phase};

/// CPU that is used for starting is no load.
const CPU_INITIALIZATION: Duration = Duration::from_secs(300);
/// Readiness that was lost so soon after the start was never there.
const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// What one pod used, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub milli: i64,
    pub at: Timestamp,
    pub window: Duration,
}

/// By the name of the pod.
pub type Samples = BTreeMap<String, Sample>;

/// How far from its target an amount may lie without consequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    pub down: f64,
    pub up: f64,
}

impl Tolerances {
    fn cover(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// The workload as a proposal depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    pub replicas: i32,
    /// All that its selector matches.
    pub pods: &'a [Arc<Pod>],
    pub tolerances: Tolerances,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub replicas: i32,
    /// Percent of the requests.
    pub utilization: Option<i32>,
    /// The mean over the pods, in thousandths.
    pub milli: i64,
}

/// A share of what the pods (or one container of each) request, in percent.
pub fn by_utilization(
    workload: Workload<'_>,
    mut samples: Samples,
    (resource, container): (&str, Option<&str>),
    target_percent: i32,
) -> Result<Proposal, String> {
    let groups = Groups::of(workload, &mut samples, resource)?;
    let requests = requests(workload.pods, resource, container)?;
    let utilization = |samples: &Samples| utilization(samples, &requests, target_percent);
    let (ratio, percent, mean) = utilization(&samples)?;
    let proposal = |replicas| Proposal { replicas, utilization: Some(percent), milli: mean };
    if groups.are_complete(ratio) {
        return Ok(proposal(workload.direct(ratio, groups.ready)));
    }
    let share = i64::from(target_percent.max(100));
    groups.fill(&mut samples, ratio, |pod| requests.get(pod).copied().unwrap_or(0) * share / 100);
    let (filled, ..) = utilization(&samples)?;
    Ok(proposal(workload.cautious(ratio, filled, samples.len())))
}

/// An amount for each pod, in thousandths; `resource` is empty for what is not one.
pub fn by_average(
    workload: Workload<'_>,
    mut samples: Samples,
    resource: &str,
    target_milli: i64,
) -> Result<Proposal, String> {
    let groups = Groups::of(workload, &mut samples, resource)?;
    let usage = |samples: &Samples| {
        let mean = samples.values().map(|sample| sample.milli).sum::<i64>() / samples.len() as i64;
        (mean as f64 / target_milli as f64, mean)
    };
    let (ratio, mean) = usage(&samples);
    let proposal = |replicas| Proposal { replicas, utilization: None, milli: mean };
    if groups.are_complete(ratio) {
        return Ok(proposal(workload.direct(ratio, groups.ready)));
    }
    groups.fill(&mut samples, ratio, |_| target_milli);
    let (filled, _) = usage(&samples);
    Ok(proposal(workload.cautious(ratio, filled, samples.len())))
}

/// One amount for the whole workload, in thousandths.
pub fn by_value(workload: Workload<'_>, milli: i64, target_milli: i64) -> Result<i32, String> {
    let ratio = milli as f64 / target_milli as f64;
    if workload.replicas == 0 {
        return Ok(ceiling(ratio));
    }
    if workload.tolerances.cover(ratio) {
        return Ok(workload.replicas);
    }
    if workload.pods.is_empty() {
        let none = "no pods returned by selector while calculating replica count";
        return Err(format!("unable to calculate ready pods: {none}"));
    }
    let ready = workload.pods.iter().filter(|pod| phase(pod) == "Running" && is_ready(pod)).count();
    Ok(ceiling(ratio * ready as f64))
}

/// One amount that the pods share: replicas, and what falls to each of those that there are.
pub fn by_shared_value(replicas: i32, tolerances: Tolerances, milli: i64, target_milli: i64) -> (i32, i64) {
    let ratio = milli as f64 / (target_milli as f64 * f64::from(replicas));
    let wanted = if tolerances.cover(ratio) { replicas } else { ceiling(milli as f64 / target_milli as f64) };
    (wanted, (milli as f64 / f64::from(replicas.max(1))).ceil() as i64)
}

/// Saturates, as casts of floats do.
fn ceiling(amount: f64) -> i32 {
    amount.ceil() as i32
}

impl Workload<'_> {
    /// Every pod is known.
    fn direct(self, ratio: f64, ready: usize) -> i32 {
        if self.tolerances.cover(ratio) { self.replicas } else { ceiling(ratio * ready as f64) }
    }

    /// Some pods are guessed at: a guess may weaken a change, never turn it.
    fn cautious(self, ratio: f64, filled: f64, pods: usize) -> i32 {
        let turned = (ratio < 1.0 && filled > 1.0) || (ratio > 1.0 && filled < 1.0);
        if self.tolerances.cover(filled) || turned {
            return self.replicas;
        }
        let wanted = ceiling(filled * pods as f64);
        let backwards = (filled < 1.0 && wanted > self.replicas) || (filled > 1.0 && wanted < self.replicas);
        if backwards { self.replicas } else { wanted }
    }
}

/// Whose samples count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl Groups {
    /// Takes the samples of pods that do not count away.
    fn of(workload: Workload<'_>, samples: &mut Samples, resource: &str) -> Result<Self, String> {
        if workload.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        let mut groups = Self::default();
        for pod in workload.pods {
            let name = pod.name_any();
            if pod.metadata.deletion_timestamp.is_some() || phase(pod) == "Failed" {
                samples.remove(&name);
            } else if phase(pod) == "Pending" {
                groups.unready.insert(name);
            } else if let Some(sample) = samples.get(&name) {
                if resource == "cpu" && is_starting(pod, sample, workload.now) {
                    groups.unready.insert(name);
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.insert(name);
            }
        }
        samples.retain(|name, _| !groups.unready.contains(name));
        if samples.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
        }
        Ok(groups)
    }

    fn grows_with_unready(&self, ratio: f64) -> bool {
        !self.unready.is_empty() && ratio > 1.0
    }

    fn are_complete(&self, ratio: f64) -> bool {
        !self.grows_with_unready(ratio) && self.missing.is_empty()
    }

    /// On the way down the missing use what they may, on the way up nothing, as the unready then.
    fn fill(&self, samples: &mut Samples, ratio: f64, full: impl Fn(&str) -> i64) {
        let sample = |milli| Sample { milli, at: Timestamp::UNIX_EPOCH, window: Duration::ZERO };
        for name in &self.missing {
            if ratio < 1.0 {
                samples.insert(name.clone(), sample(full(name)));
            } else if ratio > 1.0 {
                samples.insert(name.clone(), sample(0));
            }
        }
        if self.grows_with_unready(ratio) {
            samples.extend(self.unready.iter().map(|name| (name.clone(), sample(0))));
        }
    }
}

/// Its CPU does not tell of its load yet.
fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (condition(pod, "Ready"), started) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let later = |time: Timestamp, wait: Duration| time.checked_add(wait).unwrap_or(Timestamp::MAX);
    if later(started.0, CPU_INITIALIZATION) > now {
        return ready.status == "False" || sample.at < later(changed, sample.window);
    }
    ready.status == "False" && later(started.0, INITIAL_READINESS) > changed
}

/// Ratio to the target, percent of the requests, mean.
fn utilization(samples: &Samples, requests: &BTreeMap<String, i64>, target: i32) -> Result<(f64, i32, i64), String> {
    let known: Vec<(i64, i64)> =
        samples.iter().filter_map(|(name, sample)| Some((sample.milli, *requests.get(name)?))).collect();
    let (used, requested) = known.iter().fold((0, 0), |sum: (i64, i64), one| (sum.0 + one.0, sum.1 + one.1));
    if requested == 0 {
        return Err("no metrics returned matched known pods".to_owned());
    }
    let percent = i32::try_from(used.saturating_mul(100) / requested).unwrap_or(i32::MAX);
    Ok((f64::from(percent) / f64::from(target), percent, used / known.len() as i64))
}

/// What each pod requests, in thousandths.
fn requests(pods: &[Arc<Pod>], resource: &str, container: Option<&str>) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((pod.name_any(), request(pod, resource, container)?))).collect()
}

fn amount(resources: Option<&ResourceRequirements>, resource: &str) -> Option<i64> {
    quantity::milli(&resources?.requests.as_ref()?.get(resource)?.0)
}

fn request(pod: &Pod, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let name = pod.name_any();
    let Some(spec) = &pod.spec else { return Ok(0) };
    let own = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let inits = spec.init_containers.iter().flatten();
    let sidecars = inits.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let containers: Vec<&Container> = spec.containers.iter().chain(sidecars).collect();
    if own.is_some_and(|own| !own.is_empty()) && container.is_none() {
        let of_containers =
            || containers.iter().filter_map(|one| amount(one.resources.as_ref(), resource)).reduce(|a, b| a + b);
        return amount(spec.resources.as_ref(), resource)
            .or_else(of_containers)
            .ok_or_else(|| format!("missing pod-level request for {resource} in Pod {name}"));
    }
    let mut sum = 0;
    for one in containers.iter().filter(|one| container.is_none_or(|wanted| one.name == wanted)) {
        let asked = amount(one.resources.as_ref(), resource);
        sum +=
            asked.ok_or_else(|| format!("missing request for {resource} in container {} of Pod {name}", one.name))?;
    }
    match container {
        Some(wanted) if !containers.iter().any(|one| one.name == wanted) => {
            Err(format!("container {wanted} not found in Pod {name}"))
        }
        _ => Ok(sum),
    }
}

#[cfg(test)]
mod tests;
