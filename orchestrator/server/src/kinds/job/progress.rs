//! How a Job's status may change: clients count on it that what is finished stays so. Each rule holds for what a write
//! changes only, so that an old status that breaks one does not stop its Job.

use serde_json::Value;

use super::policies::count_indexes;
use super::rules::has_condition;
use crate::kinds::Problem;
use crate::kinds::json::{is_set, items, text};
use crate::kinds::table::{count, seconds};

pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let (status, before) = (&new["status"], &old["status"]);
    if status == before {
        return Vec::new();
    }
    let mut problems = validate_ends(status, before);
    problems.extend(validate_indexes(new, before));
    problems.extend(validate_uncounted(&status["uncountedTerminatedPods"]));
    for kind in ["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"] {
        if has_condition(before, kind) && !has_condition(status, kind) {
            let terminal = if kind == "SuccessCriteriaMet" { "" } else { "terminal " };
            problems.push(conditions(&format!("cannot disable the {terminal}{kind}=True condition")));
        }
    }
    let spec = &new["spec"];
    // Elastic jobs forget indexes that they have no more.
    let is_elastic = spec["completionMode"] == "Indexed" && spec["completions"] == spec["parallelism"];
    for (field, may_shrink) in [("failed", false), ("succeeded", is_elastic)] {
        if !may_shrink && count(&status[field]) < count(&before[field]) {
            let detail = format!("cannot decrease the {field} counter");
            problems.push(Problem::invalid(format!("status.{field}"), count(&status[field]), &detail));
        }
    }
    problems.extend(validate_times(status, before, spec["suspend"] == true));
    problems
}

fn conditions(detail: &str) -> Problem {
    Problem::invalid_unshown("status.conditions", detail)
}

fn validate_ends(status: &Value, before: &Value) -> Vec<Problem> {
    let is = |kind: &str| has_condition(status, kind);
    let newly = |kinds: &[&str]| kinds.iter().any(|kind| is(kind) != has_condition(before, kind));
    let finished = is("Complete") || is("Failed");
    let ends = finished != (has_condition(before, "Complete") || has_condition(before, "Failed"));
    let changed = |field: &str| ends || status[field] != before[field];
    let mut problems = Vec::new();
    for (last, first) in [("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")] {
        if is(last) && !is(first) && newly(&[last, first]) {
            problems.push(conditions(&format!("cannot set {last}=True condition without the {first}=true condition")));
        }
    }
    for field in ["active", "terminating"] {
        if finished && count(&status[field]) > 0 && changed(field) {
            let detail = format!("{field}>0 is invalid for finished job");
            problems.push(Problem::invalid(format!("status.{field}"), status[field].clone(), &detail));
        }
    }
    if finished && !is_set(&status["startTime"]) && changed("startTime") {
        problems.push(Problem::required("status.startTime", "startTime is required for finished job"));
    }
    let uncounted = &status["uncountedTerminatedPods"];
    let left = items(&uncounted["failed"]).len() + items(&uncounted["succeeded"]).len();
    if finished && left > 0 && changed("uncountedTerminatedPods") {
        let detail = "uncountedTerminatedPods needs to be empty for finished job";
        problems.push(Problem::invalid("status.uncountedTerminatedPods", uncounted.clone(), detail));
    }
    let differ = status["ready"] != before["ready"] || status["active"] != before["active"];
    if differ && count(&status["ready"]) > count(&status["active"]) {
        let detail = "cannot set more ready pods than active";
        problems.push(Problem::invalid("status.ready", status["ready"].clone(), detail));
    }
    problems
}

fn validate_indexes(new: &Value, before: &Value) -> Vec<Problem> {
    let (spec, status) = (&new["spec"], &new["status"]);
    let (completed, failed) = (&status["completedIndexes"], &status["failedIndexes"]);
    let [completed_changed, failed_changed] =
        ["completedIndexes", "failedIndexes"].map(|field| status[field] != before[field]);
    let mut problems = Vec::new();
    let mut refuse = |field: &str, value: &Value, detail: &str| {
        problems.push(Problem::invalid(format!("status.{field}"), value.clone(), detail));
    };
    if completed_changed && !text(completed).is_empty() && spec["completionMode"] != "Indexed" {
        refuse("completedIndexes", completed, "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if failed_changed && is_set(failed) && !is_set(&spec["backoffLimitPerIndex"]) {
        refuse("failedIndexes", failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    let Some(completions) = spec["completions"].as_i64() else { return problems };
    for (field, value, changed) in
        [("completedIndexes", completed, completed_changed), ("failedIndexes", failed, failed_changed)]
    {
        if let Err(why) = count_indexes(text(value), completions).map(drop)
            && changed
        {
            refuse(field, value, &format!("error parsing {field}: {why}"));
        }
    }
    let shared = overlap(text(completed), text(failed)).filter(|_| completed_changed || failed_changed);
    if let Some(index) = shared {
        refuse("failedIndexes", failed, &format!("failedIndexes and completedIndexes overlap at index: {index}"));
    }
    problems
}

/// The first index that both lists name.
fn overlap(one: &str, other: &str) -> Option<i64> {
    let runs = |text: &str| -> Vec<(i64, i64)> {
        let run = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        text.split(',').filter_map(run).collect()
    };
    let (one, other) = (runs(one), runs(other));
    let mut others = other.iter().peekable();
    for (first, last) in one {
        while others.next_if(|(_, end)| *end < first).is_some() {}
        if let Some((start, _)) = others.peek().filter(|(start, _)| *start <= last) {
            return Some(first.max(*start));
        }
    }
    None
}

fn validate_uncounted(uncounted: &Value) -> Vec<Problem> {
    let mut seen = std::collections::HashSet::new();
    let mut problems = Vec::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in items(&uncounted[list]).iter().enumerate() {
            let path = format!("status.uncountedTerminatedPods.{list}[{index}]");
            if text(uid).is_empty() {
                problems.push(Problem::invalid(path, "", "must not be empty"));
            } else if !seen.insert(text(uid)) {
                problems.push(Problem::duplicate(path, uid.clone()));
            }
        }
    }
    problems
}

fn validate_times(status: &Value, before: &Value, is_suspended: bool) -> Vec<Problem> {
    let [(start, started), (end, ended)] =
        ["startTime", "completionTime"].map(|field| (&status[field], &before[field]));
    let mut problems = Vec::new();
    let is_before = matches!((seconds(start), seconds(end)), (Some(start), Some(end)) if end < start);
    if is_before && (start != started || end != ended) {
        let detail = "completionTime cannot be set before startTime";
        problems.push(Problem::invalid("status.completionTime", end.clone(), detail));
    }
    if is_set(end) && is_set(ended) && end != ended {
        problems.push(Problem::invalid("status.completionTime", end.clone(), "completionTime cannot be mutated"));
    }
    if is_set(started) && start != started && !is_suspended {
        problems.push(Problem::required("status.startTime", "startTime cannot be removed for unsuspended job"));
    }
    problems
}
