//! Upstream's behaviours, and patches that mean harm.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::table::table;

fn check(kind: &str, object: Value, patch: Value, expected: Expect) {
    let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    let ty = table().by_kind(api_version, kind).unwrap();
    let text = match strategic_merge(&object, patch.to_string().as_bytes(), ty) {
        Ok(value) => value.to_string(),
        Err(error) => format!("{} {error}", error.code()),
    };
    expected.assert_eq(&text);
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn structs_meet_by_their_merge_key() {
    check(
        "Pod",
        pod(json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}])),
        pod(
            json!([{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c", "image": "3", "tty": null}]),
        ),
        expect![[
            r#"{"spec":{"containers":[{"env":[{"name":"Y","value":"2"},{"name":"X","value":"1"}],"image":"2","name":"a"},{"image":"3","name":"c"},{"image":"1","name":"b"}]}}"#
        ]],
    );
}

#[test]
fn null_deletes_and_unmerged_lists_are_replaced() {
    check(
        "Pod",
        json!({"spec": {"nodeName": "n", "containers": [{"name": "a", "args": ["1", "2"]}]}, "metadata": {"labels": {"a": "1", "b": "2"}}}),
        json!({"spec": {"nodeName": null, "containers": [{"name": "a", "args": ["3"]}]}, "metadata": {"labels": {"a": null, "c": "3"}}}),
        expect![[r#"{"metadata":{"labels":{"b":"2","c":"3"}},"spec":{"containers":[{"args":["3"],"name":"a"}]}}"#]],
    );
}

#[test]
fn elements_are_deleted_and_lists_replaced_by_directive() {
    let object = || pod(json!([{"name": "a"}, {"name": "b"}]));
    check(
        "Pod",
        object(),
        pod(json!([{"name": "a", "$patch": "delete"}])),
        expect![[r#"{"spec":{"containers":[{"name":"b"}]}}"#]],
    );
    check(
        "Pod",
        object(),
        pod(json!([{"name": "z"}, {"$patch": "replace"}])),
        expect![[r#"{"spec":{"containers":[{"name":"z"}]}}"#]],
    );
    check(
        "Pod",
        object(),
        json!({"spec": {"$patch": "replace", "nodeName": "n"}}),
        expect![[r#"{"spec":{"nodeName":"n"}}"#]],
    );
    check("Pod", object(), json!({"spec": {"$patch": "delete"}}), expect![[r#"{"spec":{}}"#]]);
    check("Pod", object(), json!({"spec": {"$patch": "odd"}}), expect!["500 unknown patch type: odd in map: map[]"]);
    check(
        "Pod",
        object(),
        pod(json!([{"image": "x"}])),
        expect![[r#"500 map: map[image:x] does not contain declared merge key: name"#]],
    );
    check(
        "Pod",
        object(),
        pod(json!([{"$patch": "delete"}])),
        expect![[r#"500 map: map[$patch:delete] does not contain declared merge key: name"#]],
    );
}

#[test]
fn order_is_set_by_directive() {
    check(
        "Pod",
        pod(json!([{"name": "a"}, {"name": "s"}, {"name": "b"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "2"}]}}),
        expect![[r#"{"spec":{"containers":[{"name":"s"},{"image":"2","name":"b"},{"name":"a"}]}}"#]],
    );
    check(
        "Pod",
        pod(json!([{"name": "a"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a"}, {"name": "b"}]}}),
        expect![[r#"
            500 The order in patch list:
            [map[name:a] map[name:b]]
             doesn't match $setElementOrder list:
            [map[name:b] map[name:a]]
        "#]],
    );
}

#[test]
fn primitive_lists_merge_and_lose_elements() {
    let object = || json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    check(
        "Pod",
        object(),
        json!({"metadata": {"finalizers": ["d", "a"]}}),
        expect![[r#"{"metadata":{"finalizers":["d","a","b","c"]}}"#]],
    );
    check(
        "Pod",
        object(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
        expect![[r#"{"metadata":{"finalizers":["a","c"]}}"#]],
    );
    check(
        "Pod",
        object(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "d", "a"], "finalizers": ["d"]}}),
        expect![[r#"{"metadata":{"finalizers":["c","d","a"]}}"#]],
    );
}

#[test]
fn retain_keys_clears_the_other_members_of_a_union() {
    check(
        "Deployment",
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        expect![[r#"{"spec":{"strategy":{"type":"Recreate"}}}"#]],
    );
    check(
        "Pod",
        json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        json!({"spec": {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/"}}]}}),
        expect![[r#"{"spec":{"volumes":[{"hostPath":{"path":"/"},"name":"v"}]}}"#]],
    );
    check(
        "Deployment",
        json!({"spec": {"strategy": {}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
        expect!["422 patch content doesn't match retainKeys list"],
    );
}

#[test]
fn ports_merge_by_their_first_key_alone() {
    check(
        "Pod",
        pod(json!([{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}]}])),
        pod(json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]}])),
        expect![[
            r#"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"http","protocol":"TCP"},{"containerPort":81}]}]}}"#
        ]],
    );
}

#[test]
fn what_is_new_carries_no_directives() {
    check(
        "Pod",
        json!({}),
        json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "tty": null, "$patch": "merge"}, {"name": "b", "$patch": "delete"}]}}),
        expect![[r#"{"spec":{"containers":[{"name":"a"}]}}"#]],
    );
}

fn check_json(object: Value, patch: &str, expected: Expect) {
    let text = match json_patch(&object, patch.as_bytes()) {
        Ok(value) => value.to_string(),
        Err(error) => format!("{} {error}", error.code()),
    };
    expected.assert_eq(&text);
}

#[test]
fn json_patches() {
    let object = || json!({"a": {"b": 1}, "l": [1]});
    check_json(
        object(),
        r#"[{"op":"replace","path":"/a/b","value":2},{"op":"add","path":"/l/-","value":2}]"#,
        expect![[r#"{"a":{"b":2},"l":[1,2]}"#]],
    );
    check_json(
        object(),
        r#"[{"op":"test","path":"/a/b","value":2}]"#,
        expect!["422 testing value /a/b failed: test failed"],
    );
    check_json(
        object(),
        r#"[{"op":"test","path":"/a/x~1y","value":null},{"op":"add","path":"/a/x~1y","value":2}]"#,
        expect![[r#"{"a":{"b":1,"x/y":2},"l":[1]}"#]],
    );
    for path in ["/a/b", "/x/y", "/l/1"] {
        let test = format!(r#"[{{"op":"test","path":"{path}","value":null}}]"#);
        assert_eq!(json_patch(&object(), test.as_bytes()).unwrap_err().code(), 422, "{path}");
    }
    check_json(
        object(),
        r#"[{"op":"remove","path":"/x"}]"#,
        expect!["422 error in remove for path: '/x': Unable to remove nonexistent key: x: missing value"],
    );
    check_json(
        object(),
        r#"{"op":"remove"}"#,
        expect!["400 error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"],
    );
    let many = format!("[{}]", vec![r#"{"op":"test","path":"/a/b","value":1}"#; 10_001].join(","));
    check_json(object(), &many, expect!["413 The allowed maximum operations in a JSON patch is 10000, got 10001"]);
}

#[test]
fn copies_cannot_explode() {
    let doubling: Vec<String> =
        (0..60).map(|index| format!(r#"{{"op":"copy","from":"/a","path":"/a/{index}"}}"#)).collect();
    let doubling = doubling.join(",");
    let error = json_patch(&json!({"a": {"k": "v".repeat(100)}}), format!("[{doubling}]").as_bytes()).unwrap_err();
    assert_eq!(error.code(), 422);
    let mut path = String::new();
    let deepening: Vec<String> = (0..5000)
        .map(|_| {
            path.push_str("/a");
            format!(r#"{{"op":"add","path":"{path}","value":{{}}}}"#)
        })
        .collect();
    let error = json_patch(&json!({}), format!("[{}]", deepening.join(",")).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "exceeded max depth");
}

#[test]
fn merge_patches() {
    let merged = merge_patch(&json!({"a": 1, "b": {"c": 1}}), br#"{"a":null,"b":{"d":2}}"#).unwrap();
    assert_eq!(merged, json!({"b": {"c": 1, "d": 2}}));
    expect!["error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"]
        .assert_eq(&merge_patch(&json!({}), b"[]").unwrap_err().to_string());
}

/// Values that look enough like pods to reach every branch.
fn podlike() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
        prop_oneof![Just("delete"), Just("replace"), Just("merge")].prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("spec"),
        Just("containers"),
        Just("name"),
        Just("env"),
        Just("ports"),
        Just("containerPort"),
        Just("metadata"),
        Just("finalizers"),
        Just("$patch"),
        Just("$retainKeys"),
        Just("labels"),
        Just("$setElementOrder/containers"),
        Just("$deleteFromPrimitiveList/finalizers"),
        Just("$setElementOrder/finalizers"),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_patch_ends_in_an_answer(object in podlike(), patch in podlike(), wrap in any::<bool>()) {
        let ty = table().by_kind("v1", "Pod").unwrap();
        let wrapped = |value: Value| if wrap { json!({"spec": {"containers": value}}) } else { value };
        let (object, patch) = (wrapped(object), wrapped(patch).to_string());
        let _ = strategic_merge(&object, patch.as_bytes(), ty);
        let _ = merge_patch(&object, patch.as_bytes());
        let _ = json_patch(&object, patch.as_bytes());
    }

    #[test]
    fn a_patch_applied_twice_changes_nothing_more(names in proptest::collection::vec("[a-d]", 1..5), images in "[x-z]") {
        let ty = table().by_kind("v1", "Pod").unwrap();
        let object = pod(json!([{"name": "a"}, {"name": "q"}, {"name": "c"}]));
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": images})).collect();
        let patch = pod(Value::Array(list)).to_string();
        let once = strategic_merge(&object, patch.as_bytes(), ty).unwrap();
        let twice = strategic_merge(&once, patch.as_bytes(), ty).unwrap();
        prop_assert_eq!(once, twice);
    }
}
