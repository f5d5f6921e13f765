//! What kubectl's older parser and upstream's conformance tests look for.

use expect_test::{Expect, expect};

use super::*;
use crate::openapi::{KindSchema, OpenApiKind, OpenApiSubresource, group_version_document};
use crate::table::table;

const ALL: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

fn custom(schema: &Value) -> Part {
    let kind = OpenApiKind {
        kind: "Widget",
        plural: "widgets",
        namespaced: true,
        verbs: ALL.to_vec(),
        schema: KindSchema::Custom(schema),
        subresources: vec![],
    };
    let mut part = Part::default();
    part.add(group_version_document("example.com/v1", &[kind]), &BTreeSet::new());
    part
}

/// What is published of a custom kind's own schema.
fn check(schema: Value, expect: Expect) {
    let part = custom(&schema);
    let mut definition = part.definitions["com.example.v1.Widget"].clone();
    let kind = definition.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
    assert_eq!(kind, Some(json!([{ "group": "example.com", "version": "v1", "kind": "Widget" }])));
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove(name);
        }
    }
    expect.assert_eq(&definition.to_string());
}

#[test]
fn custom_schemas_say_what_version_two_can_say() {
    let string = json!({ "type": "string", "default": "x" });
    check(
        json!({ "type": "object", "description": "d", "required": ["a", "n"], "properties": {
            "a": string, "n": { "type": "string", "nullable": true },
            "list": { "type": "array", "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "q": string } } },
            "any": { "anyOf": [{ "type": "integer" }, { "type": "string" }], "x-kubernetes-int-or-string": true },
        } }),
        expect![[
            r#"{"description":"d","properties":{"a":{"type":"string"},"any":{"x-kubernetes-int-or-string":true},"list":{"items":{"x-kubernetes-preserve-unknown-fields":true},"type":"array"},"n":{}},"required":["a"],"type":"object"}"#
        ]],
    );
    check(
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "a": string } }),
        expect![[r#"{"type":"object"}"#]],
    );
}

fn built_in() -> Part {
    let mut part = Part::default();
    for facts in table().kinds() {
        let sub = OpenApiSubresource {
            name: "status",
            api_version: facts.api_version,
            kind: facts.kind,
            verbs: vec!["get", "patch"],
        };
        let kind = OpenApiKind {
            kind: facts.kind,
            plural: "things",
            namespaced: !facts.cluster_scoped,
            verbs: ALL.to_vec(),
            schema: KindSchema::Table(facts.ty),
            subresources: vec![sub],
        };
        part.add(group_version_document(facts.api_version, &[kind]), &BTreeSet::new());
    }
    part
}

/// kube-openapi's parser knows these, and asks that every reference leads somewhere.
fn assert_readable(value: &Value, definitions: &Map<String, Value>, at: &str) {
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                if let (Some(target), "$ref") = (member.as_str(), name.as_str()) {
                    let name = target.strip_prefix("#/definitions/").unwrap_or_else(|| panic!("{at}: {target}"));
                    assert!(definitions.contains_key(name), "{at}: {name} is not defined");
                }
                assert!(
                    !["allOf", "oneOf", "anyOf", "nullable", "components", "requestBody"].contains(&name.as_str()),
                    "{at}: {name}"
                );
                assert_readable(member, definitions, &format!("{at}.{name}"));
            }
        }
        Value::Array(list) => list.iter().for_each(|one| assert_readable(one, definitions, at)),
        _ => {}
    }
}

#[test]
fn built_in_kinds_are_whole_and_in_older_words() {
    let part = built_in();
    assert_readable(&Value::Object(part.paths.clone()), &part.definitions, "paths");
    for (name, schema) in &part.definitions {
        // A property of a schema may be called as a word of schemas.
        if !name.contains("JSONSchemaProps") {
            assert_readable(schema, &part.definitions, name);
        }
    }
    assert_eq!(part.definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"], "string");
    let spec = &part.definitions["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
    assert!(spec["description"].is_string() && spec["default"].is_null());
}

#[test]
fn operations_carry_their_bodies_as_parameters() {
    let part = custom(&json!({ "type": "object" }));
    let item = &part.paths["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"];
    let patch = &item["patch"];
    assert_eq!(
        patch["consumes"],
        json!(["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"])
    );
    let body = patch["parameters"].as_array().unwrap().iter().find(|one| one["in"] == "body").unwrap();
    assert_eq!(body["schema"]["$ref"], "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(patch["responses"]["200"]["schema"]["$ref"], "#/definitions/com.example.v1.Widget");
    let name = item["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "name").unwrap();
    assert_eq!((&name["type"], &name["required"]), (&json!("string"), &json!(true)));
}

#[test]
fn both_forms_are_put_together_from_parts() {
    let (first, second) = (custom(&json!({ "type": "object" })), Part::default());
    let document: Value = serde_json::from_slice(&json_document(&[&first.json(), &second.json()])).unwrap();
    assert_eq!(document["swagger"], "2.0");
    assert_eq!(document["definitions"], Value::Object(first.definitions.clone()));
    assert_eq!(document["paths"], Value::Object(first.paths.clone()));
    let bytes = protobuf_document(&[&first.protobuf(), &second.protobuf()]);
    // `swagger: "2.0"` and `info: {title: "Kubernetes", …}` lead.
    assert!(bytes.starts_with(b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.37.0"), "{:?}", &bytes[..40]);
    let needle = b"com.example.v1.Widget";
    assert!(bytes.windows(needle.len()).any(|window| window == needle));
}
