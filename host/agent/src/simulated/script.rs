//! What a simulated pod claims to do: read from its annotations, then from its node's. Pure. The keys are
//! `amphipod_api::labels::simulation`.

use std::collections::BTreeMap;
use std::time::Duration;

use amphipod_api::labels::simulation::{
    EXIT_CODE, FAILURE_RATE, RUN_FOR, START_DELAY, START_FAILURE, USAGE_CPU, USAGE_MEMORY,
};
use amphipod_api::quantity::Quantity;
use amphipod_runtime::fake::Behaviour;
use amphipod_runtime::{Curve, Error};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::slot::containers_of;

/// Without a word about it, and of what is not requested.
const USAGE: &str = "50%";
const CORES_UNASKED: f64 = 0.1;
const BYTES_UNASKED: f64 = (128 << 20) as f64;
/// How long a container lives that fails.
const FAILS_AFTER: Duration = Duration::from_secs(1);

type Annotations = Option<BTreeMap<String, String>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    pub start_delay: Duration,
    run_for: Option<Duration>,
    exit_code: i32,
    failure_rate: f64,
    start_failure: Option<String>,
    cpu: String,
    memory: String,
}

impl Script {
    /// And what of it could not be read.
    pub fn of(pod: &Annotations, node: &Annotations) -> (Self, Vec<String>) {
        let said = |key: &str| pod.iter().chain(node).find_map(|all| all.get(key));
        let mut wrong = Vec::new();
        let read = |key: &str| said(key).cloned();
        let mut script = Self {
            start_failure: read(START_FAILURE),
            cpu: read(USAGE_CPU).unwrap_or_else(|| USAGE.to_owned()),
            memory: read(USAGE_MEMORY).unwrap_or_else(|| USAGE.to_owned()),
            ..Self::default()
        };
        let mut complain = |key: &str, text: &str| wrong.push(format!("{key}: {text:?} cannot be read"));
        if let Some(text) = said(START_DELAY) {
            duration(text).map_or_else(|| complain(START_DELAY, text), |delay| script.start_delay = delay);
        }
        if let Some(text) = said(RUN_FOR) {
            duration(text).map_or_else(|| complain(RUN_FOR, text), |time| script.run_for = Some(time));
        }
        if let Some(text) = said(EXIT_CODE) {
            text.parse().map_or_else(|_| complain(EXIT_CODE, text), |code| script.exit_code = code);
        }
        if let Some(text) = said(FAILURE_RATE) {
            text.parse().map_or_else(|_| complain(FAILURE_RATE, text), |rate| script.failure_rate = rate);
        }
        for (key, text) in [(USAGE_CPU, &mut script.cpu), (USAGE_MEMORY, &mut script.memory)] {
            if curve(text, 1.0).is_none() {
                complain(key, text);
                USAGE.clone_into(text);
            }
        }
        (script, wrong)
    }

    /// `uid` and `run` decide whether this start fails, the same way each time.
    pub fn behaviour(&self, container: &Container, uid: &str, run: u32) -> Behaviour {
        let says = || "the annotation amphipod.dev/start-failure says so".to_owned();
        let fail = self.start_failure.as_deref().map(|why| match why {
            "image" => Error::Image(says()),
            "config" => Error::Config(says()),
            _ => Error::Runtime(says()),
        });
        let exit = match self.failure_rate > chance(uid, &container.name, run) {
            true => Some((self.run_for.unwrap_or(FAILS_AFTER), self.exit_code.max(1))),
            false => self.run_for.map(|time| (time, self.exit_code)),
        };
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let requested = |resource: &str| {
            let milli = Quantity::parse(&requests?.get(resource)?.0)?.milli();
            Some(milli as f64 / 1_000.0)
        };
        let usage = |text: &str, resource: &str, unasked: f64| {
            curve(text, requested(resource).unwrap_or(unasked)).unwrap_or_default()
        };
        Behaviour {
            exit,
            fail,
            cpu: usage(&self.cpu, "cpu", CORES_UNASKED),
            memory: usage(&self.memory, "memory", BYTES_UNASKED),
            ..Behaviour::default()
        }
    }
}

pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    containers_of(pod.spec.as_ref()?).map(|(_, container)| container).find(|container| container.name == name)
}

fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok())
}

/// `AMOUNT`, or `LOW..HIGH/PERIOD`; `%` is of `whole`.
fn curve(text: &str, whole: f64) -> Option<Curve> {
    let amount = |text: &str| -> Option<f64> {
        let amount = match text.trim().strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().ok()? / 100.0 * whole,
            None => {
                let milli = Quantity::parse(text.trim())?.milli();
                milli as f64 / 1_000.0
            }
        };
        (amount.is_finite() && amount >= 0.0).then_some(amount)
    };
    let Some((low, rest)) = text.split_once("..") else { return amount(text).map(Curve::constant) };
    let (high, period) = rest.split_once('/')?;
    let period = duration(period.trim()).filter(|period| !period.is_zero())?;
    Some(Curve { low: amount(low)?, high: amount(high)?, period: Some(period) })
}

/// Between 0 and 1, evenly spread (FNV).
fn chance(uid: &str, container: &str, run: u32) -> f64 {
    let bytes = uid.bytes().chain(container.bytes()).chain(run.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The low bits of this hash are the better mixed ones.
    f64::from((hash ^ (hash >> 32)) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn annotations(pairs: &str) -> Annotations {
        let pairs = pairs.split(' ').filter_map(|pair| pair.split_once('='));
        Some(pairs.map(|(key, value)| (format!("amphipod.dev/{key}"), value.to_owned())).collect())
    }

    fn check(pod: &str, node: &str, expected: Expect) {
        let (script, wrong) = Script::of(&annotations(pod), &annotations(node));
        let container = json!({ "name": "c", "resources": { "requests": { "cpu": "500m", "memory": "1Ki" } } });
        let does = script.behaviour(&serde_json::from_value(container).unwrap(), "uid", 0);
        let amounts = |curve: Curve| format!("{}..{} {:?}", curve.low, curve.high, curve.period);
        let (cpu, memory) = (amounts(does.cpu), amounts(does.memory));
        let fail = does.fail.map(|error| format!("{error:?}"));
        expected.assert_eq(&format!(
            "delay {:?} exit {:?} fail {fail:?}\ncpu {cpu} memory {memory}\nwrong {wrong:?}",
            script.start_delay, does.exit
        ));
    }

    #[test]
    fn without_a_word_half_of_what_is_requested_is_used() {
        check(
            "",
            "",
            expect![[r#"
            delay 0ns exit None fail None
            cpu 0.25..0.25 None memory 512..512 None
            wrong []"#]],
        );
    }

    #[test]
    fn a_pods_word_counts_before_its_nodes() {
        check(
            "usage-cpu=200m..80%/10m run-for=1m30s exit-code=3",
            "usage-cpu=1 start-delay=250ms usage-memory=2Ki",
            expect![[r#"
            delay 250ms exit Some((90s, 3)) fail None
            cpu 0.2..0.4 Some(600s) memory 2048..2048 None
            wrong []"#]],
        );
    }

    #[test]
    fn failures_are_asked_for_and_mistakes_told() {
        check(
            "failure-rate=1 start-failure=image",
            "",
            expect![[r#"
            delay 0ns exit Some((1s, 1)) fail Some("Image(\"the annotation amphipod.dev/start-failure says so\")")
            cpu 0.25..0.25 None memory 512..512 None
            wrong []"#]],
        );
        check(
            "usage-cpu=much start-delay=soon",
            "",
            expect![[r#"
            delay 0ns exit None fail None
            cpu 0.25..0.25 None memory 512..512 None
            wrong ["amphipod.dev/start-delay: \"soon\" cannot be read", "amphipod.dev/usage-cpu: \"much\" cannot be read"]"#]],
        );
    }

    #[test]
    fn chance_is_evenly_spread() {
        let all = (0..10_000).filter(|number| chance(&format!("uid-{number}"), "c", 0) < 0.1).count();
        assert!((800..1_200).contains(&all), "{all}");
    }
}
