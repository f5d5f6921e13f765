//! JSON, merge and strategic merge patches, as clients send them.

use expect_test::expect;
use serde_json::{Value, json};

use super::{raw, read, request, send, server};
use crate::Server;

const CMS: &str = "/api/v1/namespaces/d/configmaps";
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Code, data and message of what is answered.
async fn patched(server: &Server, (path, content_type): (&str, &str), body: Value) -> String {
    let mut request = request(&format!("PATCH {path}"), body.to_string().into_bytes());
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    let (status, reply) = read(raw(server, request).await).await;
    format!("{} {} {}", status.as_u16(), reply["data"], reply["message"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn patches_change_what_they_name() {
    let server = server().await;
    send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "a" }, "data": { "k": "v", "l": "w" } })).await;
    let path = format!("{CMS}/a");
    let patched = async |content_type: &str, body: Value| patched(&server, (&path, content_type), body).await;
    let merge = json!({ "data": { "k": null, "m": "x" } });
    expect![[r#"200 {"l":"w","m":"x"} "#]].assert_eq(&patched(MERGE, merge).await);
    let json_patch =
        json!([{ "op": "test", "path": "/data/l", "value": "w" }, { "op": "add", "path": "/data/n", "value": "y" }]);
    expect![[r#"200 {"l":"w","m":"x","n":"y"} "#]].assert_eq(&patched(JSON, json_patch).await);
    let failing = json!([{ "op": "test", "path": "/data/l", "value": "no" }]);
    expect!["422 null the server rejected our request due to an error in our request"]
        .assert_eq(&patched(JSON, failing).await);
    let strategic = json!({ "data": { "l": null } });
    expect![[r#"200 {"m":"x","n":"y"} "#]].assert_eq(&patched(STRATEGIC, strategic).await);
    for (unfit, expected) in [
        (
            json!({ "metadata": { "labels": "x" } }),
            expect![[
                r#"422 null  "" is invalid: patch: Invalid value: "map[metadata:map[labels:x]]": cannot restore map from string"#
            ]],
        ),
        (
            json!({ "metadata": { "labels": { "a": 1 } } }),
            expect![[
                r#"422 null  "" is invalid: patch: Invalid value: "map[metadata:map[labels:map[a:1]]]": unrecognized type: string"#
            ]],
        ),
        (
            json!({ "immutable": ["a", null] }),
            expect![[
                r#"422 null  "" is invalid: patch: Invalid value: "map[immutable:[a <nil>]]": unrecognized type: bool"#
            ]],
        ),
    ] {
        expected.assert_eq(&patched(STRATEGIC, unfit).await);
    }
    let stale = json!({ "metadata": { "resourceVersion": "1" } });
    expect![[r#"409 null Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#]].assert_eq(&patched(MERGE, stale).await);
    expect!["415 null the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"].assert_eq(&patched("application/json", json!({})).await);
}

#[tokio::test]
async fn a_patch_leaves_an_object_what_and_who_it_is() {
    let server = server().await;
    send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "a" }, "data": { "k": "v" } })).await;
    let path = format!("{CMS}/a");
    for (form, patch, expected) in [
        (MERGE, json!({ "kind": "Secret" }), "422 converting (v1.Secret) to (v1.ConfigMap): unknown conversion"),
        (MERGE, json!({ "apiVersion": "v2" }), "422 converting (v2.ConfigMap) to (v1.ConfigMap): unknown conversion"),
        (JSON, json!([{ "op": "remove", "path": "/kind" }]), "422 Object 'Kind' is missing"),
        (
            MERGE,
            json!({ "data": { "k": 1 } }),
            "422 json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            MERGE,
            json!({ "metadata": null }),
            "400 the name of the object (a based on URL) was undeterminable: name must be provided",
        ),
        (
            MERGE,
            json!({ "metadata": { "name": "b" } }),
            "400 the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            JSON,
            json!([{ "op": "frob", "path": "/data/k" }]),
            "422 the server rejected our request due to an error in our request",
        ),
        (
            JSON,
            json!({ "op": "add" }),
            "400 error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            JSON,
            json!(["add"]),
            "400 error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
        ),
    ] {
        let told = patched(&server, (&path, form), patch).await;
        let (code, rest) = told.split_once(" null ").unwrap();
        let (wanted_code, wanted) = expected.split_once(' ').unwrap();
        assert!(code == wanted_code && rest.ends_with(wanted), "{told}");
    }
    let strict = format!("{path}?fieldValidation=Strict");
    let told = patched(&server, (&strict, MERGE), json!({ "foo": 1 })).await;
    let shown = r#"422 null  "" is invalid: patch: Invalid value: "{\"apiVersion\":\"v1\",\"data\":{\"k"#;
    assert!(told.starts_with(shown), "{told}");
    assert!(told.ends_with(r#": strict decoding error: unknown field "foo""#), "{told}");
    let added =
        json!([{ "op": "add", "path": "/metadata/annotations", "value": {} }, { "op": "remove", "path": "/data/k" }]);
    expect!["200 null "].assert_eq(&patched(&server, (&path, JSON), added).await);
}

#[tokio::test]
async fn a_list_that_cannot_be_merged_says_so() {
    let server = server().await;
    let container = json!({ "name": "a", "image": "x" });
    let spec = json!({ "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [container] } } });
    let deployments = "/apis/apps/v1/namespaces/d/deployments";
    send(&server, &format!("POST {deployments}"), json!({ "metadata": { "name": "a" }, "spec": spec })).await;
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "image": "y" }] } } } });
    expect!["500 null map: map[image:y] does not contain declared merge key: name"]
        .assert_eq(&patched(&server, (&format!("{deployments}/a"), STRATEGIC), patch).await);
}

#[tokio::test]
async fn whoever_manages_fields_has_a_name_that_can_be_shown() {
    let server = server().await;
    send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "a" } })).await;
    let managed_by = async |manager: &str| {
        let path = format!("{CMS}/a?fieldManager={manager}");
        patched(&server, (&path, MERGE), json!({ "data": { "k": "v" } })).await
    };
    expect![[
        r#"422 null PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes"#
    ]]
    .assert_eq(&managed_by(&"x".repeat(129)).await);
    expect![[r#"422 null PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\0": invalid character U+0000 (at position 1)"#]]
        .assert_eq(&managed_by("a%00").await);
    expect![[r#"200 {"k":"v"} "#]].assert_eq(&managed_by(&"x".repeat(128)).await);
}
