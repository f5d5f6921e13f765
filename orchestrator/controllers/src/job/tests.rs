//! Tables of passes, and whole lives of Jobs in which every pass may be cut short.
//!
//! A pod is written `name[:index]state[@second][-]`: `p`ending, `r`unning, `s`ucceeded, `f`ailed, `d`eleted and running;
//! `-` has no finalizer any more.

use std::collections::HashSet;
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::account::{Account, Done, account, settle};
use super::backoff::Record;
use super::member::{FINALIZER, INDEX, has_succeeded, is_tracked};
use super::plan::{Step, plan};
use super::verdict::verdict;
use super::view::{View, is_finished};

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn pod(word: &str) -> Arc<Pod> {
    let (word, finalizers) = match word.strip_suffix('-') {
        Some(word) => (word, json!([])),
        None => (word, json!([FINALIZER])),
    };
    let (word, second) = word.split_once('@').unwrap_or((word, "-100"));
    let (name, state) = word.split_at(word.len() - 1);
    let (name, index) = name.split_once(':').map_or((name, None), |(name, index)| (name, Some(index)));
    let phase = match state {
        "p" => "Pending",
        "r" | "d" => "Running",
        "s" => "Succeeded",
        "f" => "Failed",
        other => panic!("no state {other}"),
    };
    let ended = at(second.parse().unwrap());
    let state_of_container = match state {
        "s" | "f" => json!({"terminated": {"exitCode": i32::from(state == "f"), "finishedAt": ended}}),
        _ => json!({"running": {}}),
    };
    let ready = if state == "r" { "True" } else { "False" };
    let annotations = index.map(|index| json!({(INDEX): index}));
    let deleted = (state == "d").then(|| at(-1));
    let value = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name, "finalizers": finalizers,
            "annotations": annotations, "deletionTimestamp": deleted},
        "spec": {"nodeName": "n", "containers": []},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state_of_container}]},
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn job(spec: Value, status: Value) -> Job {
    let mut all = json!({"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
        "suspend": false, "template": {"spec": {"containers": []}}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let metadata = json!({"name": "j", "namespace": "d", "uid": "j"});
    serde_json::from_value(json!({"metadata": metadata, "spec": all, "status": status})).unwrap()
}

fn names(pods: &[Arc<Pod>]) -> String {
    pods.iter().map(|pod| pod.name_any()).collect::<Vec<_>>().join(" ")
}

fn told(step: &Step) -> String {
    match step {
        Step::Rest => "rest".into(),
        Step::Stop(pods) => format!("stop {}", names(pods)).trim_end().to_owned(),
        Step::Drop(pods) => format!("drop {}", names(pods)),
        Step::Wait(wait) => format!("wait {} s", wait.as_secs()),
        Step::Create(places) => {
            let place = |place: &super::plan::Place| {
                let replaced = place.replaces.as_ref().map(|pod| format!("<{}", pod.name_any())).unwrap_or_default();
                format!(" {}{replaced}", place.index.map_or("-".into(), |index| index.to_string()))
            };
            format!("create{}", places.iter().map(place).collect::<String>())
        }
    }
}

/// The status without times.
fn shown(status: &JobStatus) -> String {
    let mut value = serde_json::to_value(status).unwrap();
    let conditions = status.conditions.iter().flatten();
    let conditions: Vec<String> = conditions
        .map(|c| {
            format!(
                "{}={} {}: {}",
                c.type_,
                c.status,
                c.reason.as_deref().unwrap_or(""),
                c.message.as_deref().unwrap_or("")
            )
        })
        .collect();
    let fields = value.as_object_mut().unwrap();
    fields.remove("conditions");
    fields.remove("completionTime");
    if status.start_time.as_ref().is_some_and(|start| start.0 == at(0)) {
        fields.insert("startTime".into(), "now".into());
    }
    format!("{value}\n{}", conditions.join("\n")).trim_end().to_owned()
}

/// What one pass does with all that it wants succeeding.
fn pass(job: &Job, pods: &[Arc<Pod>]) -> (Step, Account) {
    let view = View::new(job, pods.to_vec(), at(0)).unwrap();
    let pods = |pods: &[Arc<Pod>]| pods.iter().map(|pod| (**pod).clone()).collect::<Vec<_>>();
    let record = Record::default().with(&pods(&view.new_succeeded), &pods(&view.new_failed));
    let verdict = verdict(&view);
    let step = plan(&view, verdict.is_some(), record);
    let done = match &step {
        Step::Create(places) => Done { created: places.len(), deleted: Vec::new() },
        Step::Stop(pods) | Step::Drop(pods) => Done { created: 0, deleted: pods.clone() },
        Step::Rest | Step::Wait(_) => Done::default(),
    };
    let account = account(&view, verdict, &done);
    (step, account)
}

fn check(spec: Value, status: Value, pods: &str, expected: Expect) {
    let job = job(spec, status);
    let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
    let (step, account) = pass(&job, &pods);
    let release = names(&account.release);
    let end = account.end.as_ref().map_or("-", |end| end.type_.as_str());
    expected.assert_eq(&format!("{}; release {release}; end {end}\n{}", told(&step), shown(&account.status)));
}

#[test]
fn pods_are_made_up_to_what_is_missing() {
    check(
        json!({"parallelism": 2, "completions": 6}),
        json!({}),
        "",
        expect![[r#"
            create - -; release ; end -
            {"active":2,"ready":0,"startTime":"now","terminating":0,"uncountedTerminatedPods":{}}"#]],
    );
    check(
        json!({"parallelism": 3, "completions": 3}),
        json!({"startTime": at(-9), "succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["b"]}}),
        "ar bs cr",
        expect![[r#"
            drop a; release b; end -
            {"active":1,"ready":1,"startTime":"1970-01-12T13:46:31Z","succeeded":1,"terminating":1,"uncountedTerminatedPods":{"succeeded":["b"]}}"#]],
    );
    check(
        json!({"parallelism": 2, "completions": null}),
        json!({"startTime": at(-9)}),
        "as br",
        expect![[r#"
            rest; release a; end -
            {"active":1,"ready":1,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{"succeeded":["a"]}}"#]],
    );
}

#[test]
fn a_success_ends_in_two_steps() {
    check(
        json!({}),
        json!({"startTime": at(-9), "active": 1}),
        "as",
        expect![[r#"
            rest; release a; end Complete
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{"succeeded":["a"]}}
            SuccessCriteriaMet=True CompletionsReached: Reached expected number of succeeded pods"#]],
    );
}

#[test]
fn failures_wait_and_then_end_the_job() {
    check(
        json!({}),
        json!({"startTime": at(-9)}),
        "af@-4",
        expect![[r#"
            wait 6 s; release a; end -
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{"failed":["a"]}}"#]],
    );
    check(
        json!({"backoffLimit": 1, "parallelism": 2, "completions": 2}),
        json!({"startTime": at(-9), "failed": 1}),
        "af br",
        expect![[r#"
            stop b; release a b; end Failed
            {"failed":1,"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":1,"uncountedTerminatedPods":{"failed":["a","b"]}}
            FailureTarget=True BackoffLimitExceeded: Job has reached the specified backoff limit"#]],
    );
    check(
        json!({"activeDeadlineSeconds": 9}),
        json!({"startTime": at(-9)}),
        "ar",
        expect![[r#"
            stop a; release a; end Failed
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":1,"uncountedTerminatedPods":{"failed":["a"]}}
            FailureTarget=True DeadlineExceeded: Job was active longer than specified deadline"#]],
    );
}

#[test]
fn deleted_pods_are_replaced_at_once_or_at_their_end() {
    check(
        json!({}),
        json!({"startTime": at(-9)}),
        "ad@-100",
        expect![[r#"
            wait 9 s; release a; end -
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":1,"uncountedTerminatedPods":{"failed":["a"]}}"#]],
    );
    check(
        json!({"podReplacementPolicy": "Failed"}),
        json!({"startTime": at(-9)}),
        "ad",
        expect![[r#"
            rest; release ; end -
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":1,"uncountedTerminatedPods":{}}"#]],
    );
}

#[test]
fn a_suspended_job_has_no_pods_and_no_start() {
    check(
        json!({"suspend": true}),
        json!({"startTime": at(-9), "active": 1}),
        "ar",
        expect![[r#"
            drop a; release ; end -
            {"ready":0,"terminating":1,"uncountedTerminatedPods":{}}
            Suspended=True JobSuspended: Job suspended"#]],
    );
    check(
        json!({"suspend": true}),
        json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]}),
        "as",
        expect![[r#"
            rest; release a; end Complete
            {"ready":0,"startTime":"now","terminating":0,"uncountedTerminatedPods":{"succeeded":["a"]}}
            Suspended=True JobSuspended: 
            SuccessCriteriaMet=True CompletionsReached: Reached expected number of succeeded pods"#]],
    );
    check(
        json!({"activeDeadlineSeconds": 5}),
        json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]}),
        "",
        expect![[r#"
            create -; release ; end -
            {"active":1,"ready":0,"startTime":"now","terminating":0,"uncountedTerminatedPods":{}}
            Suspended=False JobResumed: Job resumed"#]],
    );
}

// tidy: long because it is a table
#[test]
fn indexes_are_kept_apart() {
    let indexed = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 3});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    check(
        indexed(json!({})),
        json!({"startTime": at(-9), "completedIndexes": "1", "succeeded": 1}),
        "a:0s b:2r",
        expect![[r#"
            create 3 4; release a; end -
            {"active":3,"completedIndexes":"0,1","ready":1,"startTime":"1970-01-12T13:46:31Z","succeeded":2,"terminating":0,"uncountedTerminatedPods":{}}"#]],
    );
    // Twins, strangers, and what lies beyond after a shrinking.
    check(
        indexed(json!({"completions": 2, "parallelism": 2})),
        json!({"startTime": at(-9), "completedIndexes": "1,4", "succeeded": 2}),
        "a:0r b:0p c:3r e:xr",
        expect![[r#"
            drop e c b; release ; end -
            {"active":1,"completedIndexes":"1","ready":1,"startTime":"1970-01-12T13:46:31Z","succeeded":1,"terminating":3,"uncountedTerminatedPods":{}}"#]],
    );
    let limited = |more: Value| {
        let mut spec = indexed(json!({"backoffLimitPerIndex": 1, "backoffLimit": 99}));
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    check(
        limited(json!({})),
        json!({"startTime": at(-9)}),
        "a:0f b:1f@-1 c:2r",
        expect![[r#"
            create 0<a; release ; end -
            {"active":2,"failedIndexes":"","ready":1,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{}}"#]],
    );
    check(
        limited(json!({"backoffLimitPerIndex": 0, "completions": 2})),
        json!({"startTime": at(-9), "completedIndexes": "0", "succeeded": 1}),
        "b:1f",
        expect![[r#"
            stop; release b; end Failed
            {"completedIndexes":"0","failedIndexes":"1","ready":0,"startTime":"1970-01-12T13:46:31Z","succeeded":1,"terminating":0,"uncountedTerminatedPods":{"failed":["b"]}}
            FailureTarget=True FailedIndexes: Job has failed indexes"#]],
    );
    check(
        limited(json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0})),
        json!({"startTime": at(-9)}),
        "b:1f c:2r",
        expect![[r#"
            stop c; release b c; end Failed
            {"failedIndexes":"1","ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":1,"uncountedTerminatedPods":{"failed":["b","c"]}}
            FailureTarget=True MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes"#]],
    );
    check(
        indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "0"}]}})),
        json!({"startTime": at(-9)}),
        "a:0s b:1r c:2r",
        expect![[r#"
            stop b c; release a b c; end Complete
            {"completedIndexes":"0","ready":0,"startTime":"1970-01-12T13:46:31Z","succeeded":1,"terminating":2,"uncountedTerminatedPods":{}}
            SuccessCriteriaMet=True SuccessPolicy: Matched rules at index 0"#]],
    );
}

#[test]
fn a_policy_decides_what_a_failure_means() {
    let rule = |action: &str| json!({"podFailurePolicy": {"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [1]}}]}, "backoffLimit": 0});
    check(
        rule("Ignore"),
        json!({"startTime": at(-9)}),
        "af@-60",
        expect![[r#"
            create -; release a; end -
            {"active":1,"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{}}"#]],
    );
    check(
        rule("FailJob"),
        json!({"startTime": at(-9)}),
        "af",
        expect![[r#"
            stop; release a; end Failed
            {"ready":0,"startTime":"1970-01-12T13:46:31Z","terminating":0,"uncountedTerminatedPods":{"failed":["a"]}}
            FailureTarget=True PodFailurePolicy: Container c for pod d/a failed with exit code 1 matching FailJob rule at index 0"#]],
    );
}

/// A Job and its pods as the API has them.
struct World {
    job: Job,
    pods: Vec<Pod>,
    made: usize,
}

/// Where a pass ends before its time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    BeforeWriting,
    AfterWriting,
    AfterReleasing(usize),
    Nowhere,
}

impl World {
    fn pass(&mut self, cut: Cut) {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let (step, account) = pass(&self.job, &pods);
        let Account { mut status, release, mut held, end, .. } = account;
        match step {
            Step::Create(places) => {
                for place in places {
                    self.made += 1;
                    let index = place.index.map(|index| format!(":{index}")).unwrap_or_default();
                    self.pods.push((*pod(&format!("p{}{index}p", self.made))).clone());
                }
            }
            Step::Stop(gone) | Step::Drop(gone) => {
                let gone: HashSet<_> = gone.iter().map(|pod| pod.name_any()).collect();
                self.pods.retain(|pod| !gone.contains(&pod.name_any()));
            }
            Step::Rest | Step::Wait(_) => {}
        }
        if cut == Cut::BeforeWriting {
            return;
        }
        self.job.status = Some(status.clone());
        if cut == Cut::AfterWriting {
            return;
        }
        let most = if let Cut::AfterReleasing(most) = cut { most } else { usize::MAX };
        for pod in release.iter().take(most) {
            held.remove(&pod.uid().unwrap());
            for live in self.pods.iter_mut().filter(|live| live.uid() == pod.uid()) {
                live.metadata.finalizers = None;
            }
        }
        if cut == Cut::Nowhere {
            settle(&mut status, &held, end.as_ref(), at(0));
            self.job.status = Some(status);
        }
    }

    /// Every pending pod succeeds; every second time the pods that are not tracked vanish.
    fn go_on(&mut self, round: usize) {
        for live in self.pods.iter_mut().filter(|live| !has_succeeded(live)) {
            let index = live.annotations().get(INDEX).map(|index| format!(":{index}")).unwrap_or_default();
            *live = (*pod(&format!("{}{index}s", live.name_any()))).clone();
        }
        if round % 2 == 1 {
            self.pods.retain(is_tracked);
        }
    }
}

#[test]
fn no_success_is_lost_or_counted_twice_wherever_passes_are_cut() {
    let cuts = [Cut::BeforeWriting, Cut::AfterWriting, Cut::AfterReleasing(0), Cut::AfterReleasing(1), Cut::Nowhere];
    for mode in ["NonIndexed", "Indexed"] {
        // All sequences of four cuts, then without any.
        for sequence in 0..cuts.len().pow(4) {
            let spec = json!({"completionMode": mode, "completions": 5, "parallelism": 2});
            let mut world = World { job: job(spec, json!({})), pods: Vec::new(), made: 0 };
            for round in 0.. {
                let cut = sequence.checked_div(cuts.len().pow(round as u32)).filter(|_| round < 4);
                world.pass(cut.map_or(Cut::Nowhere, |cut| cuts[cut % cuts.len()]));
                if is_finished(&world.job) {
                    break;
                }
                assert!(round < 30, "{mode} {sequence} does not end");
                world.go_on(round);
            }
            let status = world.job.status.unwrap();
            assert_eq!((status.succeeded, world.made, status.failed), (Some(5), 5, None), "{mode} {sequence}");
            assert_eq!(status.uncounted_terminated_pods, Some(Default::default()), "{mode} {sequence}");
        }
    }
}
