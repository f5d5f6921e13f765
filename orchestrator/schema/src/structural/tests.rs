//! Tables: a schema and a value, and what comes of them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Structural, check_schema, validate};

fn shown(faults: Vec<super::Fault>) -> String {
    faults.iter().map(|fault| format!("{}: {}\n", fault.path, fault.message)).collect()
}

fn field(schema: Value) -> Value {
    json!({ "type": "object", "properties": { "f": schema } })
}

fn judged(schema: Value, value: Value, expected: Expect) {
    let schema = field(schema);
    assert_eq!(shown(check_schema(&schema, "s")), "", "{schema}");
    expected.assert_eq(&shown(validate(&json!({ "f": value }), &Structural::read(&schema), None)));
}

#[test]
fn values_are_judged_in_upstreams_words() {
    judged(
        json!({ "type": "integer" }),
        json!("x"),
        expect![[r#"
        f: Invalid value: "string": f in body must be of type integer: "string"
    "#]],
    );
    judged(
        json!({ "type": "integer", "minimum": 2, "maximum": 4 }),
        json!(1),
        expect![[r#"
        f: Invalid value: 1: f in body should be greater than or equal to 2
    "#]],
    );
    judged(
        json!({ "type": "string", "pattern": "^a+$", "maxLength": 3 }),
        json!("bbbb"),
        expect![[r#"
        f: Too long: may not be more than 3 bytes
        f: Invalid value: "bbbb": f in body should match '^a+$'
    "#]],
    );
    judged(
        json!({ "type": "string", "enum": ["a", "b"] }),
        json!("c"),
        expect![[r#"
        f: Unsupported value: "c": supported values: "a", "b"
    "#]],
    );
    judged(
        json!({ "type": "string", "format": "date-time" }),
        json!("noon"),
        expect![[r#"
        f: Invalid value: "noon": f in body must be of type date-time: "noon"
    "#]],
    );
    judged(
        json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }),
        json!(["a", "b"]),
        expect![[r#"
        f: Too many: 2: must have at most 1 item
    "#]],
    );
    let one_of = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
        "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] });
    judged(
        one_of,
        json!({ "a": "", "b": "" }),
        expect![[r#"
        f: Invalid value: "": "f" must validate one and only one schema (oneOf). Found 2 valid alternatives
    "#]],
    );
    judged(json!({ "x-kubernetes-int-or-string": true }), json!("80%"), expect![[""]]);
    judged(json!({ "type": "string", "nullable": true }), Value::Null, expect![[""]]);
}

#[test]
fn what_an_update_left_alone_is_not_judged_again() {
    let schema = Structural::read(&field(json!({ "type": "object", "properties": {
        "a": { "type": "integer", "minimum": 5 }, "b": { "type": "integer", "minimum": 5 },
    } })));
    let (old, new) = (json!({ "f": { "a": 1, "b": 9 } }), json!({ "f": { "a": 1, "b": 2 } }));
    expect![[r#"
        f.b: Invalid value: 2: f.b in body should be greater than or equal to 5
    "#]]
    .assert_eq(&shown(validate(&new, &schema, Some(&old))));
}

#[test]
fn unknown_fields_go_unless_they_are_kept() {
    let schema = Structural::read(&json!({ "type": "object", "properties": {
        "kept": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "map": { "type": "object", "additionalProperties": { "type": "object", "properties": { "a": { "type": "string" } } } },
        "embedded": { "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "spec": { "type": "object" } } },
    } }));
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": { "name": "n" }, "odd": 1, "kept": { "x": { "y": 1 } },
        "map": { "k": { "a": "", "b": 1 } }, "embedded": { "apiVersion": "v1", "kind": "P", "metadata": {}, "odd": 1 },
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(unknown, [r#"unknown field "embedded.odd""#, r#"unknown field "map.k.b""#, r#"unknown field "odd""#]);
    assert_eq!(object["kept"], json!({ "x": { "y": 1 } }));
    assert_eq!(object["embedded"], json!({ "apiVersion": "v1", "kind": "P", "metadata": {} }));
}

#[test]
fn defaults_reach_into_what_defaults_made() {
    let schema = Structural::read(&json!({ "type": "object", "properties": {
        "a": { "type": "object", "default": {}, "properties": { "b": { "type": "integer", "default": 3 } } },
        "n": { "type": "string", "nullable": true, "default": "x" },
        "d": { "type": "string" },
    } }));
    let mut value = json!({ "n": null, "d": null });
    schema.fill_defaults(&mut value);
    assert_eq!(value, json!({ "a": { "b": 3 }, "n": null }));
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    let refused = |schema: Value, expected: Expect| expected.assert_eq(&shown(check_schema(&schema, "s")));
    refused(
        json!({}),
        expect![[r#"
        s.type: Required value: must not be empty at the root
    "#]],
    );
    refused(
        field(json!({ "type": "array" })),
        expect![[r#"
        s.properties[f].items: Required value: must be specified
    "#]],
    );
    refused(
        field(json!({ "type": "object", "anyOf": [{ "type": "object", "properties": { "x": {} } }] })),
        expect![[r#"
        s.properties[f].anyOf[0].type: Forbidden: must be empty to be structural
        s.properties[f].properties[x]: Required value: because it is defined in s.properties[f].anyOf[0].properties[x]
    "#]],
    );
    let map = json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": { "type": "object", "properties": { "k": { "type": "string" } } } });
    refused(
        field(map),
        expect![[r#"
        s.properties[f].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
    "#]],
    );
    refused(
        field(json!({ "type": "string", "pattern": "(" })),
        expect![[r#"
        s.properties[f].pattern: Invalid value: "(": must be a valid regular expression, but isn't: regex parse error:
            (
            ^
        error: unclosed group
    "#]],
    );
}
