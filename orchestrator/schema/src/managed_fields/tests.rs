//! Entries as kubectl shows them with `--show-managed-fields`.

use expect_test::{Expect, expect};

use super::*;
use crate::TypeRef;
use crate::table;

fn by(name: &str) -> Manager<'_> {
    Manager { name, api_version: "apps/v1", subresource: "", time: "2024-01-01T00:00:00Z" }
}

fn deployment() -> Option<TypeRef> {
    table().by_kind("apps/v1", "Deployment")
}

fn shaped(mut value: Value) -> Value {
    prune_empty(&mut value, deployment().unwrap());
    value
}

fn web(replicas: i64, image: &str) -> Value {
    shaped(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                {"name": "c", "image": image, "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}},
    }))
}

fn check(entries: &Value, expected: Expect) {
    let lines: Vec<String> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
            format!("{} {} {}", text("manager"), text("operation"), entry["fieldsV1"])
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn a_create_owns_what_it_gives() {
    let entries = track_update(None, &web(1, "a"), &Value::Null, by("kubectl-create"), deployment());
    check(
        &entries,
        expect![[
            r#"kubectl-create Update {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{}}}}}}}"#
        ]],
    );
}

#[test]
fn an_update_takes_what_it_changes() {
    let (old, new) = (web(1, "a"), web(2, "b"));
    let before = track_update(None, &old, &Value::Null, by("one"), deployment());
    assert_eq!(track_update(Some(&old), &old, &before, by("two"), deployment()), before);
    let after = track_update(Some(&old), &new, &before, by("two"), deployment());
    check(
        &after,
        expect![[r#"
        one Update {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{}}}}}}}
        two Update {"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:image":{}}}}}}}"#]],
    );
}

#[test]
fn what_is_gone_belongs_to_nobody() {
    let old = web(1, "a");
    let mut new = old.clone();
    new["metadata"].as_object_mut().unwrap().remove("labels");
    let before = track_update(None, &old, &Value::Null, by("one"), deployment());
    let after = track_update(Some(&old), &new, &before, by("two"), deployment());
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert!(after[0]["fieldsV1"].get("f:metadata").is_none());
}

#[test]
fn status_is_written_by_its_own_road() {
    let old = web(1, "a");
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let status = Manager { subresource: "status", ..by("controller") };
    let before = json!([{"manager": "one", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    check(
        &track_update(Some(&old), &new, &before, status, deployment()),
        expect![[r#"
            one Apply {"f:spec":{"f:replicas":{}}}
            controller Update {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Available\"}":{".":{},"f:status":{},"f:type":{}}},"f:replicas":{}}}"#]],
    );
    assert_eq!(track_update(Some(&old), &new, &before, by("x"), deployment()), before);
}

#[test]
fn old_managers_become_ancient() {
    let mut object = web(0, "a");
    let mut entries = track_update(None, &object, &Value::Null, by("maker"), deployment());
    for round in 0..15 {
        let mut next = object.clone();
        next["metadata"]["labels"][format!("l{round}")] = json!("x");
        let name = format!("m{round:02}");
        let time = format!("2024-01-01T00:00:{round:02}Z");
        entries = track_update(Some(&object), &next, &entries, Manager { time: &time, ..by(&name) }, deployment());
        object = next;
    }
    let list = entries.as_array().unwrap();
    assert_eq!(list.len(), UPDATE_MANAGERS_MAX);
    assert_eq!(list[0]["manager"], "ancient-changes");
    assert_eq!(list[0]["fieldsV1"]["f:metadata"]["f:labels"].as_object().unwrap().len(), 8);
}

#[test]
fn custom_resources_are_granular_objects_with_atomic_lists() {
    let new = json!({"spec": {"a": {"b": 1}, "l": [{"name": "x"}]}});
    check(
        &track_update(None, &new, &Value::Null, by("one"), None),
        expect![[r#"one Update {"f:spec":{".":{},"f:a":{".":{},"f:b":{}},"f:l":{}}}"#]],
    );
}

#[test]
fn whoever_writes_has_the_time_of_its_last_write_and_who_only_loses_keeps_it() {
    let (first, second, third) = (web(1, "a"), web(2, "a"), web(3, "b"));
    let at = |name, time| Manager { time, ..by(name) };
    let times = |entries: &Value| {
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| format!("{} {}", entry["manager"], entry["time"])).collect::<Vec<_>>().join("\n")
    };
    let entries = track_update(None, &first, &Value::Null, at("one", "2024-01-01T00:00:00Z"), deployment());
    let entries = track_update(Some(&first), &second, &entries, at("one", "2024-01-02T00:00:00Z"), deployment());
    expect![[r#""one" "2024-01-02T00:00:00Z""#]].assert_eq(&times(&entries));
    let entries = track_update(Some(&second), &third, &entries, at("two", "2024-01-03T00:00:00Z"), deployment());
    expect![[r#"
        "one" "2024-01-02T00:00:00Z"
        "two" "2024-01-03T00:00:00Z""#]]
    .assert_eq(&times(&entries));
}

#[test]
fn an_object_whose_entries_were_cleared_is_not_tracked() {
    let (old, new) = (web(1, "a"), web(2, "a"));
    assert_eq!(track_update(Some(&old), &new, &Value::Null, by("one"), deployment()), Value::Null);
}

/// Writes a field in each subresource in turn: all count.
#[test]
fn the_cap_counts_subresources_and_keeps_versions_apart() {
    let entry = |index: usize, version: &str, subresource: &str| {
        json!({"manager": format!("m{index:02}"), "operation": "Update", "apiVersion": version, "subresource": subresource,
            "fieldsType": "FieldsV1", "time": format!("2024-01-01T00:00:{index:02}Z"), "fieldsV1": {"f:spec": {format!("f:f{index}"): {}}}})
    };
    let mut all: Vec<Value> =
        (0..9).map(|index| entry(index, "apps/v1", if index < 2 { "status" } else { "" })).collect();
    all.push(entry(9, "apps/v1beta1", ""));
    let (old, new) = (web(1, "a"), web(2, "a"));
    let entries = track_update(Some(&old), &new, &Value::Array(all), by("late"), deployment());
    let brief =
        entries.as_array().unwrap().iter().map(|e| format!("{} {} {}", e["manager"], e["apiVersion"], e["time"]));
    let brief: Vec<String> = brief.collect();
    assert_eq!(brief.len(), UPDATE_MANAGERS_MAX);
    expect![[r#""ancient-changes" "apps/v1" "2024-01-01T00:00:00Z""#]].assert_eq(&brief[0]);
}

#[test]
fn entries_that_make_no_sense_do_not_replace_the_live_ones() {
    let live = json!([{"manager": "live", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}]);
    let check = |incoming: Value, subresource: &str, expected: &Value| {
        assert_eq!(entries_in_force(&incoming, &live, subresource), *expected, "{incoming}");
    };
    let own = json!([{"manager": "own", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}]);
    check(own.clone(), "", &own);
    check(own, "status", &live);
    check(json!([]), "", &live);
    check(json!([{}]), "", &json!([]));
    check(json!([{"manager": "own", "operation": "Guess", "apiVersion": "v1", "fieldsType": "FieldsV1"}]), "", &live);
    check(json!([{"manager": "own", "operation": "Apply", "apiVersion": "v1"}]), "", &live);
    check(json!([{"manager": "own", "operation": "Apply", "fieldsType": "FieldsV1"}]), "", &live);
}
