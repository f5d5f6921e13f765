//! From a proposal to the number that is set: stabilised by what was proposed before, limited by rates and bounds. Pure;
//! upstream's rules, words included.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// How long a higher proposal holds a lower one up, unless the autoscaler says otherwise.
const DOWN_WINDOW: Duration = Duration::from_secs(300);
/// Without behaviour: at most doubled, and at least to four.
const UP_FACTOR: f64 = 2.0;
const UP_MINIMUM: f64 = 4.0;

/// A number and when it was said.
type Dated = (i32, Timestamp);

/// What one autoscaler remembers; lost with the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    proposals: Vec<Dated>,
    /// Replicas added and taken away.
    ups: Vec<Dated>,
    downs: Vec<Dated>,
}

#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    pub min: i32,
    pub max: i32,
    pub behavior: Option<&'a HorizontalPodAutoscalerBehavior>,
}

/// Reason and message of a condition.
pub type Words = (&'static str, &'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub replicas: i32,
    pub able_to_scale: Words,
    pub is_limited: bool,
    pub limit: Words,
}

const READY: Words = ("ReadyForNewScale", "recommended size matches current size");
const UP_STABILIZED: Words = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: Words = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const WITHIN: Words = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: Words = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: Words = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: Words = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: Words =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

impl History {
    /// The first look at a workload counts as a proposal of what it has.
    pub fn begin(&mut self, replicas: i32, now: Timestamp) {
        if self.proposals.is_empty() {
            self.proposals.push((replicas, now));
        }
    }

    /// The number was set. Only behaviours look at it.
    pub fn scaled(&mut self, bounds: Bounds<'_>, (before, after): (i32, i32), now: Timestamp) {
        let Some(behavior) = bounds.behavior else { return };
        let (events, rules, change) = if after > before {
            (&mut self.ups, &behavior.scale_up, after - before)
        } else {
            (&mut self.downs, &behavior.scale_down, before - after)
        };
        let policies = rules.iter().flat_map(|rules| rules.policies.iter().flatten());
        let longest = policies.map(|policy| policy.period_seconds).max().unwrap_or(0);
        events.retain(|(_, at)| *at >= ago(now, seconds(longest)));
        events.push((change, now));
    }
}

/// What becomes of a proposal; it is remembered.
pub fn settle(history: &mut History, current: i32, proposed: i32, bounds: Bounds<'_>, now: Timestamp) -> Settled {
    let (stable, able_to_scale) = match bounds.behavior {
        None => stabilize(history, proposed, now),
        Some(behavior) => stabilize_by(history, (current, proposed), behavior, now),
    };
    let able_to_scale = if stable == proposed { READY } else { able_to_scale };
    let (replicas, limit) = match bounds.behavior {
        None => limit(current, stable, bounds),
        Some(behavior) => limit_by(history, (current, stable), (bounds, behavior), now),
    };
    Settled { replicas, able_to_scale, is_limited: replicas != stable, limit }
}

fn ago(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_sub(time).unwrap_or(Timestamp::MIN)
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

fn stabilize(history: &mut History, proposed: i32, now: Timestamp) -> (i32, Words) {
    history.proposals.retain(|(_, at)| *at >= ago(now, DOWN_WINDOW));
    let highest = history.proposals.iter().map(|(replicas, _)| *replicas).max().unwrap_or(proposed);
    history.proposals.push((proposed, now));
    (highest.max(proposed), DOWN_STABILIZED)
}

fn stabilize_by(
    history: &mut History,
    (current, proposed): (i32, i32),
    behavior: &HorizontalPodAutoscalerBehavior,
    now: Timestamp,
) -> (i32, Words) {
    let window = |rules: &Option<HPAScalingRules>, usual: Duration| {
        let said = rules.as_ref().and_then(|rules| rules.stabilization_window_seconds);
        ago(now, said.map_or(usual, seconds))
    };
    let (up, down) = (window(&behavior.scale_up, Duration::ZERO), window(&behavior.scale_down, DOWN_WINDOW));
    let within = |since: Timestamp| history.proposals.iter().filter(move |(_, at)| *at > since).map(|(one, _)| *one);
    let least = within(up).fold(proposed, i32::min);
    let most = within(down).fold(proposed, i32::max);
    history.proposals.retain(|(_, at)| *at >= up || *at >= down);
    history.proposals.push((proposed, now));
    let words = if proposed >= current { UP_STABILIZED } else { DOWN_STABILIZED };
    (current.max(least).min(most), words)
}

fn limit(current: i32, wanted: i32, bounds: Bounds<'_>) -> (i32, Words) {
    let fastest = (UP_FACTOR * f64::from(current)).max(UP_MINIMUM) as i32;
    let (most, words) = if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    match wanted {
        _ if wanted < bounds.min => (bounds.min, TOO_FEW),
        _ if wanted > most => (most, words),
        _ => (wanted, WITHIN),
    }
}

fn limit_by(
    history: &History,
    (current, wanted): (i32, i32),
    (bounds, behavior): (Bounds<'_>, &HorizontalPodAutoscalerBehavior),
    now: Timestamp,
) -> (i32, Words) {
    if wanted > current {
        let fastest = behavior.scale_up.as_ref().map_or(i32::MAX, |rules| up_limit(history, current, rules, now));
        let fastest = fastest.max(current);
        let (most, words) = if bounds.max > fastest { (fastest, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
        if wanted > most {
            return (most, words);
        }
    } else if wanted < current {
        let fastest = behavior.scale_down.as_ref().map_or(0, |rules| down_limit(history, current, rules, now));
        let fastest = fastest.min(current);
        let (least, words) = if bounds.min < fastest { (fastest, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
        if wanted < least {
            return (least, words);
        }
    }
    (wanted, WITHIN)
}

/// What there was when a policy's period began.
fn at_start(history: &History, current: i32, period_seconds: i32, now: Timestamp) -> i32 {
    let since = ago(now, seconds(period_seconds));
    let sum = |events: &[Dated]| events.iter().filter(|(_, at)| *at > since).map(|(change, _)| change).sum::<i32>();
    current - sum(&history.ups) + sum(&history.downs)
}

/// The lowest or the highest of what the policies allow, as the rules select; `None`: nothing is allowed.
fn selected(
    rules: &HPAScalingRules,
    each: impl Fn(i32, bool, i32) -> i32,
    least_change: fn(i32, i32) -> i32,
    most_change: fn(i32, i32) -> i32,
) -> Option<i32> {
    let select = match rules.select_policy.as_deref() {
        Some("Disabled") => return None,
        Some("Min") => least_change,
        _ => most_change,
    };
    let policies = rules.policies.iter().flatten();
    policies.map(|policy| each(policy.period_seconds, policy.type_ == "Percent", policy.value)).reduce(select)
}

fn up_limit(history: &History, current: i32, rules: &HPAScalingRules, now: Timestamp) -> i32 {
    let allowed = |period: i32, is_percent: bool, value: i32| {
        let start = at_start(history, current, period, now);
        match is_percent {
            // Rounded up: else a small workload would never grow.
            true => (f64::from(start) * (1.0 + f64::from(value) / 100.0)).ceil() as i32,
            false => start.saturating_add(value),
        }
    };
    selected(rules, allowed, i32::min, i32::max).unwrap_or(current)
}

fn down_limit(history: &History, current: i32, rules: &HPAScalingRules, now: Timestamp) -> i32 {
    let allowed = |period: i32, is_percent: bool, value: i32| {
        let start = at_start(history, current, period, now);
        match is_percent {
            true => (f64::from(start) * (1.0 - f64::from(value) / 100.0)) as i32,
            false => start.saturating_sub(value),
        }
    };
    selected(rules, allowed, i32::max, i32::min).unwrap_or(current)
}

#[cfg(test)]
mod tests;
