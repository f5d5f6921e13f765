//! Upstream's cases: what each rule is for is in the test's name.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

/// Ten minutes after every pod's start.
const NOW: i64 = 10_600;

/// A pod in one word: name, `:` CPU used in thousandths (none: no sample), and letters: `p` pending, `f` failed, `d` being
/// deleted, `u` unready since it began, `y` started just now, `n` without a request. Each requests a core in its one container `c`.
fn pod(word: &str) -> (Arc<Pod>, Option<Sample>) {
    let (name, used) = word.split_once(':').unwrap_or((word, ""));
    let (used, letters) = used.split_at(used.find(|c: char| c.is_alphabetic()).unwrap_or(used.len()));
    let is = |letter: char| letters.contains(letter);
    let at = |second: i64| Timestamp::from_second(second).unwrap().to_string();
    let start = if is('y') { NOW - 20 } else { 10_000 };
    let phase = if is('p') {
        "Pending"
    } else if is('f') {
        "Failed"
    } else {
        "Running"
    };
    let ready = json!({ "type": "Ready", "status": if is('u') { "False" } else { "True" }, "lastTransitionTime": at(start + 1) });
    let requests = if is('n') { json!({}) } else { json!({ "cpu": "1" }) };
    let mut pod = json!({
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "resources": { "requests": requests } }] },
        "status": { "phase": phase, "startTime": at(start), "conditions": [ready] },
    });
    if is('d') {
        pod["metadata"]["deletionTimestamp"] = at(NOW).into();
    }
    let window = Duration::from_secs(30);
    let at = Timestamp::from_second(NOW).unwrap();
    let sample = used.parse().ok().map(|milli| Sample { milli, at, window });
    (Arc::new(serde_json::from_value(pod).unwrap()), sample)
}

fn asked<T>(replicas: i32, pods: &str, ask: impl FnOnce(Workload<'_>, Samples) -> T) -> T {
    let (pods, samples): (Vec<_>, Vec<_>) = pods.split_whitespace().map(pod).unzip();
    let named = pods.iter().zip(samples);
    let samples = named.filter_map(|(pod, sample)| Some((pod.name_any(), sample?))).collect();
    let tolerances = Tolerances { down: 0.1, up: 0.1 };
    let now = Timestamp::from_second(NOW).unwrap();
    ask(Workload { replicas, pods: &pods, tolerances, now }, samples)
}

fn shown(answer: Result<Proposal, String>) -> String {
    match answer {
        Ok(Proposal { replicas, utilization: Some(percent), milli }) => format!("{replicas} at {percent}% {milli}m"),
        Ok(Proposal { replicas, milli, .. }) => format!("{replicas} at {milli}m"),
        Err(error) => error,
    }
}

fn percent(target: i32, replicas: i32, pods: &str, expected: Expect) {
    expected.assert_eq(&shown(asked(replicas, pods, |workload, samples| {
        by_utilization(workload, samples, ("cpu", None), target)
    })));
}

fn average(target: i64, replicas: i32, pods: &str, expected: Expect) {
    expected.assert_eq(&shown(asked(replicas, pods, |workload, samples| by_average(workload, samples, "", target))));
}

#[test]
fn replicas_follow_the_share_of_what_is_requested() {
    percent(30, 3, "a:300 b:500 c:700", expect!["5 at 50% 500m"]);
    percent(50, 5, "a:100 b:300 c:500 d:250 e:250", expect!["3 at 28% 280m"]);
    percent(100, 3, "a:1010 b:1030 c:1020", expect!["3 at 102% 1020m"]);
    percent(100, 3, "a:1200 b:1200 c:1200", expect!["4 at 120% 1200m"]);
}

#[test]
fn unready_pods_count_as_idle_on_the_way_up_and_not_at_all_on_the_way_down() {
    percent(30, 3, "a:300 b:500 c:700yu", expect!["3 at 40% 400m"]);
    percent(30, 3, "a:700 b:900 c:700y", expect!["6 at 80% 800m"]);
    percent(100, 3, "a:100 b:100 c:900yu", expect!["1 at 10% 100m"]);
    percent(50, 4, "a:800 b:800 c:p d:p", expect!["4 at 80% 800m"]);
}

#[test]
fn what_was_never_ready_stays_out() {
    percent(50, 2, "a:600 b:9000u", expect!["2 at 60% 600m"]);
}

#[test]
fn missing_pods_use_all_on_the_way_down_and_nothing_on_the_way_up() {
    percent(50, 3, "a:100 b:100 c", expect!["3 at 10% 100m"]);
    percent(20, 3, "a:400 b:600 c", expect!["5 at 50% 500m"]);
    percent(200, 3, "a:100 b:100 c", expect!["2 at 10% 100m"]);
    average(500, 4, "a:100 b:100 c d", expect!["3 at 100m"]);
    average(500, 3, "a:900 b:900 c", expect!["4 at 900m"]);
}

#[test]
fn a_guess_never_turns_the_direction() {
    percent(80, 4, "a:600 b:600 c d", expect!["4 at 60% 600m"]);
    percent(50, 4, "a:800 b c d", expect!["4 at 80% 800m"]);
}

#[test]
fn those_that_end_are_left_out() {
    percent(50, 2, "a:500 b:9000f c:9000d", expect!["2 at 50% 500m"]);
    average(100, 2, "a:100 b:9000d", expect!["2 at 100m"]);
}

#[test]
fn what_cannot_be_told_is_an_error() {
    percent(50, 1, "", expect!["no pods returned by selector while calculating replica count"]);
    percent(50, 1, "a", expect!["did not receive metrics for targeted pods (pods might be unready)"]);
    percent(50, 1, "a:9p", expect!["did not receive metrics for targeted pods (pods might be unready)"]);
    percent(50, 1, "a:9n", expect!["missing request for cpu in container c of Pod a"]);
    let container =
        |name| asked(1, "a:9", |workload, samples| by_utilization(workload, samples, ("cpu", Some(name)), 50));
    assert_eq!(shown(container("x")), "container x not found in Pod a");
    assert_eq!(shown(container("c")), "0 at 0% 9m");
}

#[test]
fn pods_may_request_as_a_whole() {
    let (pod, _) = pod("a:9");
    let mut pod = (*pod).clone();
    let spec = pod.spec.as_mut().unwrap();
    spec.resources = serde_json::from_value(json!({ "requests": { "memory": "1Ki" } })).unwrap();
    assert_eq!(request(&pod, "memory", None), Ok(1_024_000));
    assert_eq!(request(&pod, "cpu", None), Ok(1_000), "as its containers do");
    assert_eq!(request(&pod, "disk", None), Err("missing pod-level request for disk in Pod a".to_owned()));
}

#[test]
fn one_amount_for_all_scales_with_the_ready() {
    let value =
        |replicas, pods: &str, milli, target| asked(replicas, pods, |workload, _| by_value(workload, milli, target));
    assert_eq!(value(3, "a b c", 20_000, 15_000), Ok(4));
    assert_eq!(value(3, "a b c:u", 20_000, 15_000), Ok(3), "two are ready");
    assert_eq!(value(3, "a b c", 15_500, 15_000), Ok(3), "near enough");
    assert_eq!(value(0, "", 100_000, 15_000), Ok(7), "from zero");
    assert_eq!(value(2, "a b", 0, 15_000), Ok(0));
    assert_eq!(value(2, "a b", i64::MAX, 1), Ok(i32::MAX));
    assert!(value(2, "", 9, 1).is_err());
    let shared = |replicas, milli| by_shared_value(replicas, Tolerances { down: 0.1, up: 0.1 }, milli, 5_000);
    assert_eq!(shared(3, 20_000), (4, 6_667));
    assert_eq!(shared(4, 20_400), (4, 5_100));
}

#[test]
fn each_direction_has_its_own_tolerance() {
    let check = |used: &str| {
        asked(4, used, |mut workload, samples| {
            workload.tolerances = Tolerances { down: 0.0, up: 0.5 };
            shown(by_utilization(workload, samples, ("cpu", None), 100))
        })
    };
    assert_eq!(check("a:1400 b:1400 c:1400 d:1400"), "4 at 140% 1400m");
    assert_eq!(check("a:960 b:960 c:600 d:600"), "4 at 78% 780m");
    assert_eq!(check("a:700 b:700 c:700 d:700"), "3 at 70% 700m");
}
