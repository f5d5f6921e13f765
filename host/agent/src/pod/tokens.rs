//! Tokens that are mounted are renewed before they end: at four fifths of their life, at the latest after a day.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};

use super::{Event, Task};
use crate::backoff::after;
use crate::volumes;

const SECONDS_DEFAULT: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;
/// A refused renewal is tried again after this: the old token still holds for a fifth of its life.
const TRY_AGAIN: Duration = Duration::from_secs(30);

impl Task {
    /// Renews what is due. Returns when to look again.
    pub(super) fn renew_tokens(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.finished || self.ending() || self.renewing {
            return None;
        }
        let sandbox = self.sandbox.clone()?;
        let period = period(&self.pod)?;
        let due = *self.tokens_due.get_or_insert_with(|| after(now, period));
        if now < due {
            return Some(due);
        }
        self.renewing = true;
        let (host, pod) = (self.host.clone(), self.pod.clone());
        self.jobs.spawn(async move { Event::Renewed(volumes::renew_tokens(&host, &pod, &sandbox).await) });
        None
    }

    pub(super) fn absorb_renewed(&mut self, result: Result<(), String>) {
        self.renewing = false;
        let now = Timestamp::now();
        let wait = match result {
            Ok(()) => period(&self.pod).unwrap_or(TRY_AGAIN),
            Err(error) => {
                tracing::warn!(pod = %self.name.name, namespace = %self.name.namespace, error, "the tokens could not be renewed");
                TRY_AGAIN
            }
        };
        self.tokens_due = Some(after(now, wait));
    }
}

/// How often the pod's shortest-lived token is renewed; `None`: it mounts none.
fn period(pod: &Pod) -> Option<Duration> {
    let lives = volumes::tokens(pod).map(life_seconds);
    lives.min().map(|seconds| Duration::from_secs((seconds * 4 / 5).clamp(1, DAY_SECONDS).unsigned_abs()))
}

fn life_seconds(token: &ServiceAccountTokenProjection) -> i64 {
    token.expiration_seconds.unwrap_or(SECONDS_DEFAULT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(seconds: &[Option<i64>], expected: Option<u64>) {
        let token = |seconds: &Option<i64>| json!({"serviceAccountToken": {"path": "t", "expirationSeconds": seconds}});
        let sources: Vec<_> = seconds.iter().map(token).collect();
        let volumes = json!([{"name": "v", "projected": {"sources": sources}}, {"name": "e", "emptyDir": {}}]);
        let pod = json!({"metadata": {}, "spec": {"containers": [], "volumes": volumes}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(period(&pod).map(|period| period.as_secs()), expected, "{seconds:?}");
    }

    #[test]
    fn the_shortest_life_decides() {
        check(&[], None);
        check(&[Some(3_607)], Some(2_885));
        check(&[None, Some(600)], Some(480));
        check(&[Some(1 << 31)], Some(86_400));
    }
}
