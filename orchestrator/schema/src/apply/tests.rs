//! Upstream's behaviours of server-side apply.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::TypeRef;
use crate::managed_fields::track_update;
use crate::shape::prune_empty;
use crate::table;

fn by(name: &str) -> Manager<'_> {
    Manager { name, api_version: "apps/v1", subresource: "", time: "2024-01-01T00:00:00Z" }
}

fn deployment() -> Option<TypeRef> {
    table().by_kind("apps/v1", "Deployment")
}

fn config(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn containers(list: Value) -> Value {
    config(json!({"template": {"spec": {"containers": list}}}))
}

/// Applies one configuration after the other, each by its manager, the last with or without force.
fn run(steps: &[(&str, Value)], force: Force) -> Result<Applied, ApplyError> {
    let mut state: Option<Applied> = None;
    for (index, (name, config)) in steps.iter().enumerate() {
        let force = if index + 1 == steps.len() { force } else { Force::Yes };
        let entries = state.as_ref().map_or(Value::Null, |state| state.managed_fields.clone());
        let live = state.as_ref().map(|state| &state.value);
        let mut applied = apply(live, config, &entries, (by(name), force), deployment())?;
        prune_empty(&mut applied.value, deployment().unwrap());
        state = Some(applied);
    }
    Ok(state.unwrap())
}

fn check(steps: &[(&str, Value)], force: Force, expected: Expect) {
    let text = match run(steps, force) {
        Ok(applied) => {
            let entries = applied.managed_fields.as_array().unwrap().iter();
            let entries: Vec<String> =
                entries.map(|entry| format!("{} {}", entry["manager"].as_str().unwrap(), entry["fieldsV1"])).collect();
            format!("{}\n{}", applied.value["spec"], entries.join("\n"))
        }
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn an_applier_owns_what_it_says() {
    check(
        &[("a", containers(json!([{"name": "c", "image": "1"}])))],
        Force::No,
        expect![[r#"
        {"strategy":{},"template":{"metadata":{},"spec":{"containers":[{"image":"1","name":"c","resources":{}}]}}}
        a {"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#]],
    );
}

#[test]
fn what_an_applier_stops_saying_goes() {
    check(
        &[
            (
                "a",
                config(json!({"replicas": 2, "template": {"metadata": {"labels": {"x": "1", "y": "2"}}, "spec": {
                "containers": [{"name": "c", "image": "1"}, {"name": "d", "image": "1"}],
                "securityContext": {"runAsUser": 1}}}})),
            ),
            (
                "a",
                config(
                    json!({"template": {"metadata": {"labels": {"y": "2"}}, "spec": {"containers": [{"name": "d", "image": "1"}]}}}),
                ),
            ),
        ],
        Force::No,
        expect![[r#"
            {"strategy":{},"template":{"metadata":{"labels":{"y":"2"}},"spec":{"containers":[{"image":"1","name":"d","resources":{}}]}}}
            a {"f:spec":{"f:template":{"f:metadata":{"f:labels":{"f:y":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"d\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#]],
    );
}

#[test]
fn what_another_also_says_stays() {
    check(
        &[
            ("a", config(json!({"replicas": 2, "paused": true}))),
            ("b", config(json!({"replicas": 2}))),
            ("a", config(json!({"paused": true}))),
        ],
        Force::No,
        expect![[r#"
            {"paused":true,"replicas":2,"strategy":{},"template":{"metadata":{},"spec":{"containers":[]}}}
            b {"f:spec":{"f:replicas":{}}}
            a {"f:spec":{"f:paused":{}}}"#]],
    );
}

#[test]
fn conflicts_are_named() {
    let steps = |last: Value| [("a", config(json!({"replicas": 2, "paused": true}))), ("b", last)];
    check(
        &steps(config(json!({"replicas": 3}))),
        Force::No,
        expect![[r#"Apply failed with 1 conflict: conflict with "a": .spec.replicas"#]],
    );
    check(
        &steps(config(json!({"replicas": 3, "paused": false}))),
        Force::No,
        expect![[r#"
        Apply failed with 2 conflicts: conflicts with "a":
        - .spec.paused
        - .spec.replicas"#]],
    );
    check(
        &steps(config(json!({"replicas": 3}))),
        Force::Yes,
        expect![[r#"
        {"paused":true,"replicas":3,"strategy":{},"template":{"metadata":{},"spec":{"containers":[]}}}
        a {"f:spec":{"f:paused":{}}}
        b {"f:spec":{"f:replicas":{}}}"#]],
    );
}

#[test]
fn plain_writers_conflict_too() {
    let mut live = containers(json!([{"name": "c", "image": "1"}]));
    prune_empty(&mut live, deployment().unwrap());
    let entries = track_update(None, &live, &Value::Null, by("kubectl-create"), deployment());
    let wanted = containers(json!([{"name": "c", "image": "2"}]));
    let error = apply(Some(&live), &wanted, &entries, (by("helm"), Force::No), deployment()).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1: .spec.template.spec.containers[name="c"].image"#]].assert_eq(&error.to_string());
    let error = apply(Some(&live), &wanted, &Value::Null, (by("helm"), Force::No), deployment()).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.template.spec.containers[name="c"].image"#]].assert_eq(&error.to_string());
}

#[test]
fn elements_of_others_keep_their_place() {
    let list = |names: &[&str]| containers(names.iter().map(|name| json!({"name": name})).collect());
    let applied = run(&[("a", list(&["a", "s", "b"])), ("b", list(&["x", "b", "a"]))], Force::Yes).unwrap();
    let names: Vec<&str> = applied.value["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|value| value["name"].as_str())
        .collect();
    expect!["x b a s"].assert_eq(&names.join(" "));
}

#[test]
fn a_second_apply_changes_nothing() {
    let wanted = containers(json!([{"name": "c", "image": "1", "ports": [{"containerPort": 80}]}]));
    let once = run(&[("a", wanted.clone())], Force::No).unwrap();
    let later = Manager { time: "2030-01-01T00:00:00Z", ..by("a") };
    let twice = apply(Some(&once.value), &wanted, &once.managed_fields, (later, Force::No), deployment()).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn refusals() {
    check(
        &[("a", containers(json!([{"name": "c"}, {"name": "c"}])))],
        Force::No,
        expect![[r#"
        errors:
          .spec.template.spec.containers: duplicate entries for key [name="c"]"#]],
    );
    let claims = json!({"metadata": {"managedFields": [{"manager": "x"}]}});
    let error = apply(None, &claims, &Value::Null, (by("a"), Force::No), deployment()).unwrap_err();
    assert_eq!(error, ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
}

#[test]
fn custom_resources_merge_objects_and_replace_lists() {
    let live = json!({"spec": {"a": {"x": 1}, "l": [1, 2]}});
    let wanted = json!({"spec": {"a": {"y": 2}, "l": [3]}});
    let applied = apply(Some(&live), &wanted, &Value::Null, (by("a"), Force::Yes), None).unwrap();
    assert_eq!(applied.value, json!({"spec": {"a": {"x": 1, "y": 2}, "l": [3]}}));
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What client-side apply leaves: the object, its annotation, its manager's entry.
fn applied_by_the_client(replicas: i64) -> (Value, Value) {
    let said = config(json!({"replicas": replicas}));
    let mut live = said.clone();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: format!("{said}\n")});
    prune_empty(&mut live, deployment().unwrap());
    let entries = track_update(None, &live, &Value::Null, by("kubectl-client-side-apply"), deployment());
    (live, entries)
}

#[test]
fn kubectl_takes_over_what_client_side_apply_said_and_nobody_changed() {
    let (live, entries) = applied_by_the_client(2);
    let wanted = config(json!({"replicas": 3}));
    let apply = |name: &str, live: &Value, entries: &Value| {
        apply(Some(live), &wanted, entries, (by(name), Force::No), deployment())
    };
    let refused = apply("helm", &live, &entries).unwrap_err().to_string();
    expect![[
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#
    ]]
    .assert_eq(&refused);
    let applied = apply("kubectl", &live, &entries).unwrap();
    assert_eq!(applied.value["spec"]["replicas"], 3);
    assert_eq!(applied.value["metadata"]["annotations"][LAST_APPLIED], format!("{wanted}\n"));

    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(7);
    let entries = track_update(Some(&live), &scaled, &entries, by("scaler"), deployment());
    let refused = apply("kubectl", &scaled, &entries).unwrap_err().to_string();
    expect![[r#"Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas"#]]
        .assert_eq(&refused);
}

#[test]
fn who_says_what_is_already_so_has_no_time() {
    let wanted = config(json!({"replicas": 2}));
    let both = run(&[("a", wanted.clone()), ("b", wanted)], Force::No).unwrap();
    let times = both.managed_fields.as_array().unwrap().iter().map(|e| format!("{} {}", e["manager"], e["time"]));
    expect![[r#"
        "b" null
        "a" "2024-01-01T00:00:00Z""#]]
    .assert_eq(&times.collect::<Vec<_>>().join("\n"));
}

fn specs() -> impl Strategy<Value = Value> {
    let container = ("[a-c]", proptest::option::of("[xy]")).prop_map(|(name, image)| match image {
        Some(image) => json!({"name": name, "image": image}),
        None => json!({"name": name}),
    });
    let list = proptest::collection::vec(container, 1..4).prop_map(|mut list| {
        list.sort_by_key(|value| value["name"].to_string());
        list.dedup_by_key(|value| value["name"].to_string());
        list
    });
    let labels = proptest::collection::btree_map("[a-c]", "[12]", 1..3);
    (list, labels, proptest::option::of(0..3i64)).prop_map(|(list, labels, replicas)| {
        let mut spec = json!({"template": {"metadata": {"labels": labels}, "spec": {"containers": list}}});
        if let Some(replicas) = replicas {
            spec["replicas"] = json!(replicas);
        }
        config(spec)
    })
}

proptest! {
    #[test]
    fn an_applier_gets_what_it_says(steps in proptest::collection::vec(("[ab]", specs()), 1..5)) {
        let steps: Vec<(&str, Value)> = steps.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect();
        let applied = run(&steps, Force::Yes).unwrap();
        let (name, last) = steps.last().unwrap();
        // Every field of the last configuration is there, and applying it again is no conflict and no change.
        let again = apply(Some(&applied.value), last, &applied.managed_fields, (by(name), Force::No), deployment());
        let again = again.unwrap();
        let mut value = again.value;
        prune_empty(&mut value, deployment().unwrap());
        prop_assert_eq!(value, applied.value);
        prop_assert_eq!(again.managed_fields, applied.managed_fields);
    }
}
