//! What `/metrics` tells of scheduling, under upstream's names. Handles are made once.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use crate::plugins::{PLUGINS, Plugin};
use crate::queue::Lengths;

/// How often what waits is told by plugin.
const PERIOD: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Scheduled,
    Unschedulable,
    Error,
}

struct Profile {
    attempts: [Counter; 3],
    seconds: [Histogram; 3],
    refused: Vec<(Plugin, Gauge)>,
}

pub struct Measures {
    profiles: HashMap<String, Profile>,
    pending: [Gauge; 4],
    decided: Histogram,
    tries: Histogram,
    preemptions: Counter,
    victims: Histogram,
    nodes: Gauge,
    told_at: Option<Instant>,
}

impl Measures {
    pub fn new(names: &[String]) -> Self {
        let profile = |name: &String| (name.clone(), Profile::new(name));
        let pending = |queue: &'static str| gauge!("scheduler_pending_pods", "queue" => queue);
        Self {
            profiles: names.iter().map(profile).collect(),
            pending: ["active", "backoff", "unschedulable", "gated"].map(pending),
            decided: histogram!("scheduler_scheduling_algorithm_duration_seconds"),
            tries: histogram!("scheduler_pod_scheduling_attempts"),
            preemptions: counter!("scheduler_preemption_attempts_total"),
            victims: histogram!("scheduler_preemption_victims"),
            nodes: gauge!("scheduler_cache_size", "type" => "nodes"),
            told_at: None,
        }
    }

    /// Deciding took this long.
    pub fn decided(&self, took: Duration) {
        self.decided.record(took);
    }

    /// An attempt, binding included.
    pub fn attempted(&self, profile: &str, outcome: Outcome, took: Duration) {
        let Some(profile) = self.profiles.get(profile) else { return };
        profile.attempts[outcome as usize].increment(1);
        profile.seconds[outcome as usize].record(took);
    }

    /// A pod has its node after so many attempts, so long after it came.
    pub fn bound(&self, attempts: u32, took: Duration) {
        self.tries.record(f64::from(attempts));
        let attempts = if attempts > 15 { "15+".to_owned() } else { attempts.to_string() };
        histogram!("scheduler_pod_scheduling_sli_duration_seconds", "attempts" => attempts).record(took);
    }

    pub fn preempted(&self, victims: Option<usize>) {
        self.preemptions.increment(1);
        victims.into_iter().for_each(|victims| self.victims.record(victims as f64));
    }

    pub fn woken(&self, event: &'static str, pods: usize) {
        if pods > 0 {
            counter!("scheduler_queue_incoming_pods_total", "queue" => "backoff", "event" => event)
                .increment(pods as u64);
        }
    }

    /// What waits now. True when it is time to tell `refused`, too.
    pub fn waiting(&mut self, lengths: Lengths, nodes: usize, now: Instant) -> bool {
        let Lengths { active, backing_off, unschedulable, gated } = lengths;
        let counts = [active, backing_off, unschedulable, gated];
        self.pending.iter().zip(counts).for_each(|(gauge, count)| gauge.set(count as f64));
        self.nodes.set(nodes as f64);
        let is_time = self.told_at.is_none_or(|at| now >= at + PERIOD);
        if is_time {
            self.told_at = Some(now);
        }
        is_time
    }

    /// How many parked pods each plugin keeps.
    pub fn refused(&self, refusals: &HashMap<Plugin, usize>) {
        for (plugin, gauge) in self.profiles.values().take(1).flat_map(|profile| &profile.refused) {
            gauge.set(refusals.get(plugin).copied().unwrap_or_default() as f64);
        }
    }
}

impl Profile {
    fn new(name: &str) -> Self {
        const RESULTS: [&str; 3] = ["scheduled", "unschedulable", "error"];
        let labels = |result: &'static str| [("profile", name.to_owned()), ("result", result.to_owned())];
        let of = |plugin: Plugin| {
            let labels = [("plugin", plugin.to_string()), ("profile", name.to_owned())];
            (plugin, gauge!("scheduler_unschedulable_pods", &labels))
        };
        Self {
            attempts: RESULTS.map(|result| counter!("scheduler_schedule_attempts_total", &labels(result))),
            seconds: RESULTS.map(|result| histogram!("scheduler_scheduling_attempt_duration_seconds", &labels(result))),
            refused: PLUGINS.into_iter().map(of).collect(),
        }
    }
}
