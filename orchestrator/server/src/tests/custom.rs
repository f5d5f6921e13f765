//! Custom kinds over the router: defined, established, served, pruned, defaulted, judged, applied, and gone again.

use std::time::Duration;

use expect_test::expect;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{brief, raw, read, request, send, server};
use crate::Server;

/// A server that follows definitions, as long as the tasks live.
async fn following() -> (Server, JoinSet<()>) {
    let server = server().await;
    let (ready, mut is_ready) = tokio::sync::watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::custom::follow::follow(server.clone(), ready));
    is_ready.wait_for(|ready| *ready).await.unwrap();
    (server, tasks)
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn schema() -> Value {
    json!({ "type": "object", "properties": {
        "spec": {
            "type": "object", "required": ["size"],
            "properties": {
                "size": { "type": "integer", "minimum": 1 },
                "color": { "type": "string", "default": "red", "enum": ["red", "blue"] },
                "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": { "type": "object", "required": ["name"], "properties": {
                        "name": { "type": "string" }, "weight": { "type": "integer" } } } },
                "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            },
            "x-kubernetes-validations": [
                { "rule": "!has(self.color) || self.color != 'blue' || self.size < 10", "message": "blue ones stay small" },
                { "rule": "self.size >= oldSelf.size", "message": "never shrinks" },
            ],
        },
        "status": { "type": "object", "properties": { "ready": { "type": "integer" }, "selector": { "type": "string" } } },
    } })
}

fn definition() -> Value {
    json!({
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema() },
                "subresources": { "status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready", "labelSelectorPath": ".status.selector" } },
                "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }],
                "selectableFields": [{ "jsonPath": ".spec.color" }],
            }],
        },
    })
}

async fn until_established(server: &Server, name: &str) -> Value {
    for _ in 0..500 {
        let (_, found) = send(server, &format!("GET {DEFINITIONS}/{name}"), Value::Null).await;
        if crate::kinds::custom_resource_definition::is_established(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is not established");
}

async fn with_widgets() -> (Server, JoinSet<()>) {
    let (server, tasks) = following().await;
    let (status, made) = send(&server, &format!("POST {DEFINITIONS}"), definition()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    until_established(&server, "widgets.example.com").await;
    (server, tasks)
}

const WIDGETS: &str = "/apis/example.com/v1/namespaces/d/widgets";

fn widget(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec })
}

#[tokio::test]
async fn a_definition_is_established_and_told_by_discovery() {
    let (server, _tasks) = with_widgets().await;
    let found = until_established(&server, "widgets.example.com").await;
    assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(found["status"]["acceptedNames"]["listKind"], "WidgetList");
    let (_, list) = send(&server, "GET /apis/example.com/v1", Value::Null).await;
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status", "widgets/scale"]);
    let (_, document) = send(&server, "GET /openapi/v3/apis/example.com/v1", Value::Null).await;
    let published = &document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"];
    assert_eq!(published["properties"]["color"]["default"], "red");
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_judged() {
    let (server, _tasks) = with_widgets().await;
    let line = format!("POST {WIDGETS}");
    let spec = json!({ "size": 3, "odd": 1, "free": { "kept": true } });
    let (status, made) = send(&server, &line, widget("a", spec)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["spec"], json!({ "size": 3, "color": "red", "free": { "kept": true } }));
    assert_eq!(made["metadata"]["generation"], 1);
    for (spec, expected) in [
        (
            json!({}),
            expect![[
                r#"422 Invalid Widget.example.com "x" is invalid: [spec.size: Required value, <nil>: Invalid value: "null": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"#
            ]],
        ),
        (
            json!({ "size": 20, "color": "blue" }),
            expect![[
                r#"422 Invalid Widget.example.com "x" is invalid: spec: Invalid value: "object": blue ones stay small"#
            ]],
        ),
        (
            json!({ "size": 1, "parts": [{ "name": "a" }, { "name": "a" }] }),
            expect![[r#"422 Invalid Widget.example.com "x" is invalid: spec.parts[1]: Duplicate value: {"name":"a"}"#]],
        ),
    ] {
        expected.assert_eq(&brief(&server, &line, widget("x", spec)).await);
    }
    let strict = format!("POST {WIDGETS}?fieldValidation=Strict");
    expect![[r#"400 BadRequest Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.odd""#]]
        .assert_eq(&brief(&server, &strict, widget("x", json!({ "size": 1, "odd": 2 }))).await);
    let shrink = json!({ "spec": { "size": 2 } });
    expect![[r#"422 Invalid Widget.example.com "a" is invalid: spec: Invalid value: "object": never shrinks"#]]
        .assert_eq(&brief(&server, &format!("PATCH {WIDGETS}/a"), shrink).await);
}

#[tokio::test]
async fn status_scale_columns_and_selectable_fields_are_served() {
    let (server, _tasks) = with_widgets().await;
    send(&server, &format!("POST {WIDGETS}"), widget("a", json!({ "size": 3 }))).await;
    send(&server, &format!("POST {WIDGETS}"), widget("b", json!({ "size": 3, "color": "blue" }))).await;
    let status = json!({ "status": { "ready": 2, "selector": "app=a" }, "spec": { "size": 9 } });
    let (_, found) = send(&server, &format!("PATCH {WIDGETS}/a/status"), status).await;
    assert_eq!((&found["spec"]["size"], &found["status"]["ready"]), (&json!(3), &json!(2)));
    assert_eq!(found["metadata"]["generation"], 1);
    let (_, scale) = send(&server, &format!("GET {WIDGETS}/a/scale"), Value::Null).await;
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]),
        (&json!(3), &json!({ "replicas": 2, "selector": "app=a" }))
    );
    let (_, scale) = send(&server, &format!("PATCH {WIDGETS}/a/scale"), json!({ "spec": { "replicas": 5 } })).await;
    assert_eq!(scale["spec"]["replicas"], 5, "{scale}");
    let mut asked = request(&format!("GET {WIDGETS}"), Vec::new());
    asked.headers_mut().insert("accept", "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
    let (_, table) = read(raw(&server, asked).await).await;
    assert_eq!(table["columnDefinitions"][1]["name"], "Size");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 5]));
    let (_, blue) = send(&server, &format!("GET {WIDGETS}?fieldSelector=spec.color%3Dblue"), Value::Null).await;
    assert_eq!((blue["items"].as_array().unwrap().len(), &blue["items"][0]["metadata"]["name"]), (1, &json!("b")));
    let (code, _) = send(&server, &format!("GET {WIDGETS}?fieldSelector=spec.size%3D3"), Value::Null).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn applied_lists_are_merged_by_the_keys_of_the_schema() {
    let (server, _tasks) = with_widgets().await;
    let apply = async |manager: &str, parts: Value| {
        let body = widget("a", json!({ "size": 1, "parts": parts })).to_string().into_bytes();
        let mut asked = request(&format!("PATCH {WIDGETS}/a?fieldManager={manager}"), body);
        asked.headers_mut().insert("content-type", "application/apply-patch+yaml".parse().unwrap());
        read(raw(&server, asked).await).await.1
    };
    apply("one", json!([{ "name": "a", "weight": 1 }])).await;
    let both = apply("two", json!([{ "name": "b", "weight": 2 }])).await;
    assert_eq!(both["spec"]["parts"], json!([{ "name": "a", "weight": 1 }, { "name": "b", "weight": 2 }]), "{both}");
    let conflict = apply("two", json!([{ "name": "a", "weight": 9 }])).await;
    assert_eq!(conflict["reason"], "Conflict", "{conflict}");
    let less = apply("one", json!([])).await;
    assert_eq!(less["spec"]["parts"], json!([{ "name": "b", "weight": 2 }]), "{less}");
}

#[tokio::test]
async fn versions_share_their_objects_and_younger_defaults_reach_old_ones() {
    let (server, _tasks) = with_widgets().await;
    send(&server, &format!("POST {WIDGETS}"), widget("a", json!({ "size": 3 }))).await;
    let mut changed = until_established(&server, "widgets.example.com").await;
    let mut second = changed["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    changed["spec"]["versions"].as_array_mut().unwrap().push(second);
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["shape"] =
        json!({ "type": "string", "default": "round" });
    let (status, reply) = send(&server, &format!("PUT {DEFINITIONS}/widgets.example.com"), changed).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    for _ in 0..500 {
        let (status, two) = send(&server, "GET /apis/example.com/v2/namespaces/d/widgets/a", Value::Null).await;
        if status == StatusCode::OK {
            assert_eq!((&two["apiVersion"], &two["spec"]["size"]), (&json!("example.com/v2"), &json!(3)));
            // The second version does not know the field, the first fills it in on the way out.
            assert_eq!(two["spec"].get("shape"), None);
            let (_, one) = send(&server, &format!("GET {WIDGETS}/a"), Value::Null).await;
            assert_eq!(one["spec"]["shape"], "round");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the second version is not served");
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects_along() {
    let (server, _tasks) = with_widgets().await;
    send(&server, &format!("POST {WIDGETS}"), widget("a", json!({ "size": 3 }))).await;
    let (_, ending) = send(&server, &format!("DELETE {DEFINITIONS}/widgets.example.com"), Value::Null).await;
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]), "{ending}");
    for _ in 0..500 {
        let (status, _) = send(&server, &format!("GET {DEFINITIONS}/widgets.example.com"), Value::Null).await;
        if status == StatusCode::NOT_FOUND {
            let line = format!("GET {WIDGETS}/a");
            expect!["404 NotFound the server could not find the requested resource"]
                .assert_eq(&brief(&server, &line, Value::Null).await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the definition stays");
}

#[tokio::test]
async fn bad_definitions_are_refused_in_upstreams_words() {
    let (server, _tasks) = following().await;
    let line = format!("POST {DEFINITIONS}");
    let with = |pointer: &str, value: Value| {
        let mut changed = definition();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    for (body, expected) in [
        (
            with("/metadata/name", json!("other.example.com")),
            expect![[
                r#"422 Invalid CustomResourceDefinition.apiextensions.k8s.io "other.example.com" is invalid: metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group"#
            ]],
        ),
        (
            with("/spec/scope", json!("Global")),
            expect![[
                r#"422 Invalid CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced""#
            ]],
        ),
        (
            with("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size", json!({})),
            expect![[
                r#"422 Invalid CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[size].type: Required value: must not be empty for specified object fields"#
            ]],
        ),
        (
            with("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color/default", json!("green")),
            expect![[
                r#"422 Invalid CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[color].default: Unsupported value: "green": supported values: "red", "blue""#
            ]],
        ),
    ] {
        expected.assert_eq(&brief(&server, &line, body).await);
    }
}

#[tokio::test]
async fn only_the_status_moves_by_its_own_address_and_finalizers_have_any_name() {
    let (server, _tasks) = with_widgets().await;
    let mut made = widget("a", json!({ "size": 3 }));
    made["metadata"]["finalizers"] = json!(["mine"]);
    let (status, made) = send(&server, &format!("POST {WIDGETS}"), made).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let change = json!({ "metadata": { "labels": { "a": "b" }, "finalizers": null }, "status": { "ready": 2 } });
    let (_, found) = send(&server, &format!("PATCH {WIDGETS}/a/status"), change).await;
    assert_eq!((&found["metadata"]["labels"], &found["status"]["ready"]), (&Value::Null, &json!(2)), "{found}");
    assert_eq!(found["metadata"]["finalizers"], json!(["mine"]));
}

#[tokio::test]
async fn a_field_that_becomes_selectable_selects_what_lies_there() {
    let (server, _tasks) = following().await;
    let mut bare = definition();
    bare["spec"]["versions"][0].as_object_mut().unwrap().remove("selectableFields");
    send(&server, &format!("POST {DEFINITIONS}"), bare).await;
    until_established(&server, "widgets.example.com").await;
    for (name, color) in [("a", "red"), ("b", "blue")] {
        send(&server, &format!("POST {WIDGETS}"), widget(name, json!({ "size": 3, "color": color }))).await;
    }
    let (_, old) = send(&server, &format!("GET {DEFINITIONS}/widgets.example.com"), Value::Null).await;
    let mut changed = definition();
    changed["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    send(&server, &format!("PUT {DEFINITIONS}/widgets.example.com"), changed).await;
    let found = loop {
        let (status, found) = send(&server, &format!("GET {WIDGETS}?fieldSelector=spec.color=blue"), Value::Null).await;
        if status == StatusCode::OK {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let names: Vec<&str> =
        found["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test]
async fn what_does_not_fit_a_schema_cannot_be_applied() {
    let (server, _tasks) = with_widgets().await;
    let applied = async |yaml: &str| {
        let line = format!("PATCH {WIDGETS}/a?fieldManager=m&fieldValidation=Strict");
        let mut request = request(&line, yaml.as_bytes().to_vec());
        request.headers_mut().insert("content-type", "application/apply-patch+yaml".parse().unwrap());
        let (status, reply) = read(raw(&server, request).await).await;
        format!("{} {}", status.as_u16(), reply["message"].as_str().unwrap_or_default())
    };
    let head = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: a\n";
    expect![
        "500 failed to create typed patch object (d/a; example.com/v1, Kind=Widget): .odd: field not declared in schema"
    ]
    .assert_eq(&applied(&format!("{head}odd: 1\nspec:\n  size: 3\n")).await);
    expect![[r#"
        400 error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:
          line 7: key "size" already set in map"#]]
    .assert_eq(&applied(&format!("{head}spec:\n  size: 3\n  size: 4\n")).await);
}
