//! CronJob: jobs at given times. The texts of schedules are read by `amphipod_api::schedule`.

use amphipod_api::schedule::Schedule;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::json::{child, fill, fill_text, is_set, items, present, set, text};
use super::pod_spec::{self, one_of};
use super::table::{AGE, NAME, age, containers, integer, name, since, string, wide};
use super::{Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, job, keep_status, labels, metadata, names};

/// A job's name has eleven characters more than its cron job's, and 63 at most.
const NAME_MAX: usize = 52;
const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];
const ZONE_PART_MAX: usize = 14;

pub static CRON_JOB: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[STATUS],
    schema: "io.k8s.api.batch.v1.CronJob",
    storage: "batch/cronjobs",
    update: WITH_SPEC,
    defaults: |cron_job| {
        child(cron_job, "status");
        let Some(spec) = child(cron_job, "spec") else { return };
        fill_text(spec, "concurrencyPolicy", "Allow");
        fill(spec, "suspend", false);
        fill(spec, "successfulJobsHistoryLimit", 3);
        fill(spec, "failedJobsHistoryLimit", 1);
        let job = present(spec, "jobTemplate").and_then(|job| present(job, "spec"));
        if let Some(pod) = job.and_then(|job| present(job, "template")).and_then(|pod| present(pod, "spec")) {
            pod_spec::fill_spec(pod);
        }
    },
    prepare_create: |cron_job| set(cron_job, "status", json!({})),
    prepare_update: keep_status,
    validate,
    validate_create: validate_name,
    columns: &[
        NAME,
        string("Schedule", "The schedule in Cron format."),
        string("Timezone", "The time zone name for the given schedule."),
        string("Suspend", "Tells the controller to suspend subsequent executions."),
        integer("Active", "How many jobs are running now."),
        string("Last Schedule", "When a job was last successfully scheduled."),
        AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "A label query over pods that should match the pod count."),
    ],
    row,
    ..PLAIN
};

fn validate(cron_job: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(cron_job, Scope::Namespaced, names::subdomain);
    let spec = &cron_job["spec"];
    problems.extend(validate_schedule(text(&spec["schedule"])));
    problems.extend(super::workload::not_negative(spec, "startingDeadlineSeconds"));
    if is_set(&spec["timeZone"]) {
        problems.extend(validate_zone(text(&spec["timeZone"])));
    }
    match text(&spec["concurrencyPolicy"]) {
        known if POLICIES.contains(&known) => {}
        _ => problems.extend(one_of(&spec["concurrencyPolicy"], "spec.concurrencyPolicy", &POLICIES)),
    }
    let (job, path) = (&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec");
    problems.extend(job::validate_spec(job, path));
    if is_set(&job["selector"]) {
        let detail = "`selector` will be auto-generated";
        problems.push(Problem::invalid(format!("{path}.selector"), job["selector"].clone(), detail));
    }
    if job["manualSelector"] == true {
        problems.push(Problem::not_supported(format!("{path}.manualSelector"), "true", &["nil", "false"]));
    }
    problems.extend(super::workload::not_negative(spec, "successfulJobsHistoryLimit"));
    problems.extend(super::workload::not_negative(spec, "failedJobsHistoryLimit"));
    problems
}

/// Older names may be longer: they stay as they are.
fn validate_name(cron_job: &Value) -> Vec<Problem> {
    let own = text(&cron_job["metadata"]["name"]);
    let too_long = || Problem::invalid("metadata.name", own, "must be no more than 52 characters");
    (own.len() > NAME_MAX).then(too_long).into_iter().collect()
}

fn validate_schedule(schedule: &str) -> Vec<Problem> {
    let path = "spec.schedule";
    if schedule.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let mut problems = Vec::new();
    if let Err(why) = Schedule::parse(schedule) {
        problems.push(Problem::invalid(path, schedule, &why));
    }
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        problems.push(Problem::invalid(path, schedule, detail));
    }
    problems
}

fn validate_zone(zone: &str) -> Option<Problem> {
    let path = "spec.timeZone";
    if zone.is_empty() {
        return Some(Problem::invalid(path, zone, "timeZone must be nil or non-empty string"));
    }
    let fits = |part: &str| {
        let letters = part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b));
        letters && (1..=ZONE_PART_MAX).contains(&part.len()) && !matches!(part, "." | "..") && !part.starts_with('-')
    };
    let unknown = || Problem::invalid(path, zone, &format!("unknown time zone {zone}"));
    if !zone.split('/').all(fits) {
        return Some(unknown());
    }
    if zone.eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        return Some(Problem::invalid(path, zone, detail));
    }
    TimeZone::get(zone).is_err().then(unknown)
}

fn row(cron_job: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&cron_job["spec"], &cron_job["status"]);
    let job = &spec["jobTemplate"]["spec"];
    let [names, images] = containers(&job["template"]["spec"]);
    let zone = spec["timeZone"].as_str().unwrap_or("<none>");
    let suspend = match spec["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = &status["lastScheduleTime"];
    vec![
        name(cron_job),
        text(&spec["schedule"]).into(),
        zone.into(),
        suspend.into(),
        items(&status["active"]).len().into(),
        if is_set(last) { since(last, now).into() } else { "<none>".into() },
        age(cron_job, now),
        names,
        images,
        labels::print_selector(&job["selector"]).into(),
    ]
}
