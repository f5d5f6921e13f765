//! Upstream's cases of stabilisation, rates and bounds.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(10_000 + second).unwrap()
}

/// `steps`: (second, proposal) each; the workload takes what was settled. One line for each.
fn check(behavior: serde_json::Value, (min, max): (i32, i32), start: i32, steps: &[(i64, i32)], expected: Expect) {
    let behavior: Option<HorizontalPodAutoscalerBehavior> = serde_json::from_value(behavior).unwrap();
    let bounds = Bounds { min, max, behavior: behavior.as_ref() };
    let mut history = History::default();
    history.begin(start, at(0));
    let mut current = start;
    let mut lines = Vec::new();
    for (second, proposed) in steps {
        let settled = settle(&mut history, current, *proposed, bounds, at(*second));
        let limited = if settled.is_limited { "limited" } else { "free" };
        let (able, limit) = (settled.able_to_scale.0, settled.limit.0);
        lines.push(format!("{second}: {current} -> {} {able} {limited} {limit}", settled.replicas));
        if settled.replicas != current {
            history.scaled(bounds, (current, settled.replicas), at(*second));
        }
        current = settled.replicas;
    }
    expected.assert_eq(&lines.join("\n"));
}

/// As the API fills a behaviour in.
fn behavior(up: serde_json::Value, down: serde_json::Value) -> serde_json::Value {
    let mut whole = json!({
        "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
            { "type": "Pods", "value": 4, "periodSeconds": 15 }, { "type": "Percent", "value": 100, "periodSeconds": 15 },
        ] },
        "scaleDown": { "selectPolicy": "Max", "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] },
    });
    for (direction, more) in [("scaleUp", up), ("scaleDown", down)] {
        whole[direction].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    whole
}

#[test]
fn without_behaviour_growth_at_most_doubles_and_shrinking_waits_five_minutes() {
    check(
        json!(null),
        (1, 20),
        1,
        &[(0, 10), (15, 10), (30, 10), (45, 30)],
        expect![[r#"
        0: 1 -> 4 ReadyForNewScale limited ScaleUpLimit
        15: 4 -> 8 ReadyForNewScale limited ScaleUpLimit
        30: 8 -> 10 ReadyForNewScale free DesiredWithinRange
        45: 10 -> 20 ReadyForNewScale limited TooManyReplicas"#]],
    );
    check(
        json!(null),
        (2, 20),
        10,
        &[(15, 8), (300, 6), (301, 6), (700, 1)],
        expect![[r#"
        15: 10 -> 10 ScaleDownStabilized free DesiredWithinRange
        300: 10 -> 10 ScaleDownStabilized free DesiredWithinRange
        301: 10 -> 8 ScaleDownStabilized free DesiredWithinRange
        700: 8 -> 2 ReadyForNewScale limited TooFewReplicas"#]],
    );
}

#[test]
fn to_zero_and_back() {
    let quick = behavior(json!({}), json!({ "stabilizationWindowSeconds": 0 }));
    check(
        quick,
        (0, 5),
        3,
        &[(0, 0), (15, 0), (30, 2)],
        expect![[r#"
        0: 3 -> 0 ReadyForNewScale free DesiredWithinRange
        15: 0 -> 0 ReadyForNewScale free DesiredWithinRange
        30: 0 -> 2 ReadyForNewScale free DesiredWithinRange"#]],
    );
}

#[test]
fn windows_hold_a_change_until_it_lasts() {
    let slow = behavior(json!({ "stabilizationWindowSeconds": 60 }), json!({ "stabilizationWindowSeconds": 30 }));
    check(
        slow,
        (1, 20),
        4,
        &[(15, 8), (45, 6), (61, 7), (76, 9), (90, 2), (105, 2), (125, 3)],
        expect![[r#"
        15: 4 -> 4 ScaleUpStabilized free DesiredWithinRange
        45: 4 -> 4 ScaleUpStabilized free DesiredWithinRange
        61: 4 -> 6 ScaleUpStabilized free DesiredWithinRange
        76: 6 -> 6 ScaleUpStabilized free DesiredWithinRange
        90: 6 -> 6 ScaleDownStabilized free DesiredWithinRange
        105: 6 -> 6 ScaleDownStabilized free DesiredWithinRange
        125: 6 -> 3 ReadyForNewScale free DesiredWithinRange"#]],
    );
}

#[test]
fn policies_limit_what_changes_within_their_period() {
    let pods = json!({ "policies": [{ "type": "Pods", "value": 2, "periodSeconds": 60 }] });
    check(
        behavior(pods, json!({})),
        (1, 100),
        5,
        &[(0, 20), (30, 20), (59, 20), (61, 20)],
        expect![[r#"
        0: 5 -> 7 ReadyForNewScale limited ScaleUpLimit
        30: 7 -> 7 ReadyForNewScale limited ScaleUpLimit
        59: 7 -> 7 ReadyForNewScale limited ScaleUpLimit
        61: 7 -> 9 ReadyForNewScale limited ScaleUpLimit"#]],
    );
    let half = json!({ "stabilizationWindowSeconds": 0, "policies": [{ "type": "Percent", "value": 50, "periodSeconds": 60 }] });
    check(
        behavior(json!({}), half),
        (1, 100),
        10,
        &[(0, 1), (30, 1), (70, 1), (140, 1), (210, 1)],
        expect![[r#"
        0: 10 -> 5 ReadyForNewScale limited ScaleDownLimit
        30: 5 -> 5 ReadyForNewScale limited ScaleDownLimit
        70: 5 -> 2 ReadyForNewScale limited ScaleDownLimit
        140: 2 -> 1 ReadyForNewScale free DesiredWithinRange
        210: 1 -> 1 ReadyForNewScale free DesiredWithinRange"#]],
    );
}

#[test]
fn the_selected_policy_counts() {
    let policies = json!([{ "type": "Pods", "value": 1, "periodSeconds": 60 }, { "type": "Percent", "value": 50, "periodSeconds": 60 }]);
    let select =
        |policy: &str| json!({ "stabilizationWindowSeconds": 0, "selectPolicy": policy, "policies": policies });
    let both = |policy: &str| behavior(select(policy), select(policy));
    check(both("Max"), (1, 100), 10, &[(0, 50)], expect!["0: 10 -> 15 ReadyForNewScale limited ScaleUpLimit"]);
    check(both("Min"), (1, 100), 10, &[(0, 50)], expect!["0: 10 -> 11 ReadyForNewScale limited ScaleUpLimit"]);
    check(both("Disabled"), (1, 100), 10, &[(0, 50)], expect!["0: 10 -> 10 ReadyForNewScale limited ScaleUpLimit"]);
    check(both("Max"), (1, 100), 10, &[(0, 1)], expect!["0: 10 -> 5 ReadyForNewScale limited ScaleDownLimit"]);
    check(both("Min"), (1, 100), 10, &[(0, 1)], expect!["0: 10 -> 9 ReadyForNewScale limited ScaleDownLimit"]);
    check(both("Disabled"), (1, 100), 10, &[(0, 1)], expect!["0: 10 -> 10 ReadyForNewScale limited ScaleDownLimit"]);
}

#[test]
fn a_small_workload_grows_by_any_share() {
    let tenth = json!({ "policies": [{ "type": "Percent", "value": 10, "periodSeconds": 60 }] });
    check(
        behavior(tenth, json!({})),
        (1, 100),
        1,
        &[(0, 9)],
        expect!["0: 1 -> 2 ReadyForNewScale limited ScaleUpLimit"],
    );
}
