//! How long a Job waits before it replaces a failed pod: 10 s, doubled with each failure since the last success.
//! Kept in memory only, as upstream does; an indexed Job with its own limits counts in its pods' annotations instead.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::member::{finished_at, index_failures};

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// A Job's failures since its last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    failures: u32,
    last: Option<Timestamp>,
}

impl Record {
    /// The record once these pods are counted, too.
    pub fn with<'a>(
        self,
        succeeded: impl IntoIterator<Item = &'a Pod>,
        failed: impl IntoIterator<Item = &'a Pod>,
    ) -> Self {
        let success = succeeded.into_iter().map(finished_at).max();
        let failed: Vec<Timestamp> =
            failed.into_iter().map(finished_at).filter(|at| success.is_none_or(|success| *at > success)).collect();
        let before = if success.is_some() { Self::default() } else { self };
        let failures = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        Self { failures: before.failures.saturating_add(failures), last: failed.into_iter().max().or(before.last) }
    }

    pub fn remaining(self, now: Timestamp) -> Duration {
        self.last.map_or(Duration::ZERO, |last| remaining(self.failures, last, now))
    }
}

/// The same for one index, from the pod that is to be replaced.
pub fn remaining_of_index(replaced: Option<&Pod>, now: Timestamp) -> Duration {
    let Some(pod) = replaced else { return Duration::ZERO };
    let (counted, ignored) = index_failures(pod);
    remaining(counted.saturating_add(ignored).unsigned_abs().saturating_add(1), finished_at(pod), now)
}

fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let wait = FIRST.saturating_mul(2_u32.saturating_pow(failures - 1)).min(LONGEST);
    match Duration::try_from(now.duration_since(last)) {
        Ok(elapsed) => wait.saturating_sub(elapsed),
        // Clocks differ: the end lies ahead.
        Err(_) => wait.saturating_add(now.duration_since(last).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(second: i64) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [{"name": "c", "image": "",
            "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "finishedAt": at(second)}}}]}}))
        .unwrap()
    }

    #[test]
    fn waits_double_and_a_success_ends_them() {
        let check = |record: Record, now: i64| record.remaining(at(now)).as_secs();
        let once = Record::default().with(&[], &[ended(100)]);
        assert_eq!(
            (check(Record::default(), 100), check(once, 100), check(once, 104), check(once, 200)),
            (0, 10, 6, 0)
        );
        let thrice = once.with(&[], &[ended(110), ended(105)]);
        assert_eq!(check(thrice, 110), 40);
        assert_eq!(check(thrice.with(&[], &vec![ended(111); 40]), 111), 600);
        assert_eq!(thrice.with(&[ended(120)], &[]), Record::default());
        let after_success = thrice.with(&[ended(120)], &[ended(119), ended(125)]);
        assert_eq!(check(after_success, 125), 10);
        assert_eq!(thrice.with(&[], &[]), thrice);
    }

    #[test]
    fn an_index_counts_for_itself() {
        let mut pod = ended(100);
        pod.metadata.annotations = Some([(super::super::member::INDEX_FAILURES.to_owned(), "2".to_owned())].into());
        assert_eq!(remaining_of_index(Some(&pod), at(110)).as_secs(), 30);
        assert_eq!(remaining_of_index(None, at(110)), Duration::ZERO);
    }
}
