//! When a CronJob is due. Pure: the schedule, the zone, the last time and now decide.

use std::time::Duration;

use amphipod_api::schedule::Schedule;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;

/// So much later than due it is looked again: clocks differ a little.
const LATER: Duration = Duration::from_millis(100);
/// Above this someone should hear of it.
const MISSED_MAX: i64 = 100;
const TOO_DENSE: &str = "time difference between two schedules is less than 1 second";

pub struct Times<'a> {
    pub cron_job: &'a CronJob,
    pub schedule: &'a Schedule,
    pub zone: &'a TimeZone,
    pub now: Timestamp,
}

/// The time that is due, and whether very many before it were missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    pub missed_many: bool,
}

struct Recent {
    /// The last time that was met, or the CronJob's creation.
    from: Timestamp,
    /// The last one since then; `None` also where times are so uneven that none is found.
    at: Option<Timestamp>,
    missed: i64,
}

impl Times<'_> {
    /// `None`: nothing is. The error is for the user, whose schedule has no times.
    pub fn due(&self) -> Result<Option<Due>, &'static str> {
        let recent = self.recent(true)?;
        Ok(recent.at.map(|at| Due { at, missed_many: recent.missed > MISSED_MAX }))
    }

    /// Until the next time, whether or not one is due now.
    pub fn until_next(&self) -> Option<Duration> {
        let from = match self.recent(false) {
            Ok(Recent { at: Some(at), .. }) => at,
            Ok(Recent { from, missed: 0, .. }) => from,
            Ok(_) | Err(_) => self.now,
        };
        let next = self.next(from)?.checked_add(LATER).ok()?;
        Some(Duration::try_from(next.duration_since(self.now)).unwrap_or_default())
    }

    /// Whether it is too late for a time.
    pub fn is_past_deadline(&self, at: Timestamp) -> bool {
        let deadline = self.cron_job.spec.starting_deadline_seconds;
        deadline.is_some_and(|seconds| self.now.as_second() - at.as_second() > seconds)
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, self.zone)
    }

    fn recent(&self, within_deadline: bool) -> Result<Recent, &'static str> {
        let created = self.cron_job.creation_timestamp();
        let last = self.cron_job.status.as_ref().and_then(|status| status.last_schedule_time.clone());
        let mut from = last.or(created).map_or(self.now, |time| time.0);
        let deadline = self.cron_job.spec.starting_deadline_seconds;
        if let Some(deadline) = deadline.filter(|_| within_deadline) {
            let earliest = Duration::from_secs(u64::try_from(deadline).unwrap_or(0));
            from = from.max(self.now.checked_sub(earliest).unwrap_or(from));
        }
        let first = self.next(from).ok_or(TOO_DENSE)?;
        if self.now < first {
            return Ok(Recent { from, at: None, missed: 0 });
        }
        let second = self.next(first).filter(|second| self.now >= *second);
        let Some(second) = second else { return Ok(Recent { from, at: Some(first), missed: 0 }) };
        let between = second.as_second() - first.as_second();
        if between < 1 {
            return Err(TOO_DENSE);
        }
        // Not every time since then is walked: most are leapt over, by the first distance.
        let missed = (self.now.as_second() - first.as_second()) / between + 1;
        let mut at = None;
        let mut next = Timestamp::from_second(first.as_second() + (missed - 2) * between).ok();
        while let Some(time) = next.and_then(|next| self.next(next)).filter(|time| *time <= self.now) {
            (at, next) = (Some(time), Some(time));
        }
        Ok(Recent { from, at, missed })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    /// `created|last now [deadline]`, times of one day.
    fn check(schedule: &str, words: &str, expected: Expect) {
        let mut words = words.split_whitespace();
        let mut time = || words.next().map(str::to_owned);
        let (since, now, deadline) = (time().unwrap(), time().unwrap(), time());
        let at = |clock: &str| format!("2026-01-0{}T{}Z", &clock[..1], &clock[2..]);
        let (created, last) = since.split_once('|').unwrap();
        let last = Some(last).filter(|last| !last.is_empty()).map(at);
        let cron_job = json!({
            "metadata": {"creationTimestamp": at(created)},
            "spec": {"schedule": schedule, "jobTemplate": {},
                "startingDeadlineSeconds": deadline.map(|seconds| seconds.parse::<i64>().unwrap())},
            "status": {"lastScheduleTime": last},
        });
        let cron_job = serde_json::from_value(cron_job).unwrap();
        let times = Times {
            cron_job: &cron_job,
            schedule: &Schedule::parse(schedule).unwrap(),
            zone: &TimeZone::UTC,
            now: at(&now).parse().unwrap(),
        };
        let due = match times.due() {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(due)) => {
                let late = if times.is_past_deadline(due.at) { ", too late" } else { "" };
                let many = if due.missed_many { ", many missed" } else { "" };
                format!("{}{many}{late}", due.at)
            }
            Err(why) => why.to_owned(),
        };
        let next = times.until_next().map_or("never".to_owned(), |next| format!("{:.1} s", next.as_secs_f64()));
        expected.assert_eq(&format!("{due}; next in {next}"));
    }

    #[test]
    fn the_last_time_that_has_come_is_due() {
        check("0 * * * *", "1-09:30:00| 1-09:59:59", expect!["nothing; next in 1.1 s"]);
        check("0 * * * *", "1-09:30:00| 1-10:00:00", expect!["2026-01-01T10:00:00Z; next in 3600.1 s"]);
        check("0 * * * *", "1-09:30:00|1-10:00:00 1-10:00:01", expect!["nothing; next in 3599.1 s"]);
        check("0 * * * *", "1-09:30:00|1-10:00:00 1-13:30:00", expect!["2026-01-01T13:00:00Z; next in 1800.1 s"]);
        check(
            "* * * * *",
            "1-09:30:00|1-10:00:00 1-13:30:05",
            expect!["2026-01-01T13:30:00Z, many missed; next in 55.1 s"],
        );
        check("@every 1h", "1-09:30:05| 1-12:00:00", expect!["2026-01-01T11:30:05Z; next in 1805.1 s"]);
    }

    #[test]
    fn a_deadline_bounds_what_is_made_up_for() {
        check("0 * * * *", "1-09:30:00| 1-10:00:30 60", expect!["2026-01-01T10:00:00Z; next in 3570.1 s"]);
        check("0 * * * *", "1-09:30:00| 1-10:05:00 60", expect!["nothing; next in 3300.1 s"]);
        check("* * * * *", "1-09:30:00| 3-10:05:00 150", expect!["2026-01-03T10:05:00Z; next in 60.1 s"]);
    }

    #[test]
    fn uneven_and_empty_schedules_hold_nobody_up() {
        check(
            "30 6-16/4 * * 1-5",
            "1-06:30:00|1-06:30:00 5-07:00:00",
            expect!["2026-01-05T06:30:00Z; next in 12600.1 s"],
        );
        check(
            "0 0 31 2 *",
            "1-09:30:00| 1-10:00:00",
            expect!["time difference between two schedules is less than 1 second; next in never"],
        );
    }
}
