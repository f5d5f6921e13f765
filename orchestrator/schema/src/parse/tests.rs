//! What upstream says to bodies that are not quite right.

use expect_test::{Expect, expect};

use super::*;
use crate::table::table;

fn check_text(api_version: &str, kind: &str, json: &str, expected: Expect) {
    let ty = table().by_kind(api_version, kind);
    assert!(ty.is_some() || kind.is_empty(), "{kind} is in the table");
    let text = |result: Result<Parsed, ParseError>| match result {
        Ok(parsed) => format!("{}\n{}", parsed.value, parsed.problems.join("\n")),
        Err(error) => error.to_string(),
    };
    let parsed = text(parse(json.as_bytes(), ty));
    expected.assert_eq(parsed.trim_end());
}

#[test]
fn unknown_fields_are_named_and_dropped() {
    check_text(
        "v1",
        "Pod",
        r#"{"spec":{"foo":1,"containers":[{"name":"a","bar":{"x":[1]}}]},"Metadata":{}}"#,
        expect![[r#"
            {"spec":{"containers":[{"name":"a"}]}}
            unknown field "spec.foo"
            unknown field "spec.containers[0].bar"
            unknown field "Metadata""#]],
    );
}

#[test]
fn the_last_of_duplicates_wins() {
    check_text(
        "apps/v1",
        "Deployment",
        r#"{"spec":{"replicas":1,"replicas":2},"metadata":{"labels":{"a":"1","a":"2"}}}"#,
        expect![[r#"
            {"metadata":{"labels":{"a":"2"}},"spec":{"replicas":2}}
            duplicate field "spec.replicas"
            duplicate field "metadata.labels.a""#]],
    );
}

#[test]
fn custom_resources_only_know_duplicates() {
    check_text(
        "",
        "",
        r#"{"a":null,"b":{"c":1,"c":18446744073709551615}}"#,
        expect![[r#"
            {"a":null,"b":{"c":1.8446744073709552e+19}}
            duplicate field "b.c""#]],
    );
}

#[test]
fn types_are_checked_with_go_words() {
    for (json, expected) in [
        (
            r#"{"spec":{"replicas":"2"}}"#,
            expect!["json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"],
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            expect![
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ],
        ),
        (
            r#"{"spec":{"replicas":3000000000}}"#,
            expect![
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ],
        ),
        (
            r#"{"metadata":{"labels":{"a":1}}}"#,
            expect!["json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"],
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"value":1}]}]}}}}"#,
            expect![
                "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string"
            ],
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            expect![
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
            ],
        ),
        (
            r#"{"spec":[]}"#,
            expect!["json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"],
        ),
        ("[]", expect!["json: cannot unmarshal array into Go value of type v1.Deployment"]),
    ] {
        check_text("apps/v1", "Deployment", json, expected);
    }
}

#[test]
fn leaves_get_their_one_spelling() {
    check_text(
        "v1",
        "Pod",
        r#"{"metadata":{"creationTimestamp":"2024-01-02T05:04:05.25+02:00","uid":null},
            "spec":{"containers":[{"resources":{"limits":{"cpu":1,"memory":"1024Mi","gpu":0.5}}}, null]}}"#,
        expect![[
            r#"{"metadata":{"creationTimestamp":"2024-01-02T03:04:05Z"},"spec":{"containers":[{"resources":{"limits":{"cpu":"1","gpu":"500m","memory":"1Gi"}}},{}]}}"#
        ]],
    );
    check_text(
        "v1",
        "Pod",
        r#"{"spec":{"overhead":{"cpu":"1x"}}}"#,
        expect!["quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"],
    );
    check_text("v1", "Secret", r#"{"data":{"a":"!"}}"#, expect!["illegal base64 data at input byte 0"]);
    check_text("v1", "Secret", r#"{"data":{"a":"YQ==","b":null}}"#, expect![[r#"{"data":{"a":"YQ==","b":""}}"#]]);
}

#[test]
fn schemas_of_custom_resources_hold_any_json() {
    check_text(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"properties":{"a":{"default":{"x":null},
            "additionalProperties":true,"items":{"type":"string"}, "maximum": 3, "x-kubernetes-int-or-string": true}}}}}]}}"#,
        expect![[
            r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"properties":{"a":{"additionalProperties":true,"default":{"x":null},"items":{"type":"string"},"maximum":3,"x-kubernetes-int-or-string":true}}}}}]}}"#
        ]],
    );
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(matches!(parse(deep.as_bytes(), None), Err(ParseError::Syntax(_))));
    let nested = (0..DEPTH_MAX + 2).fold(serde_json::json!(1), |value, _| serde_json::json!([value]));
    assert_eq!(super::check(nested, None), Err(ParseError::Type("exceeded max depth".to_owned())));
}

#[test]
fn trailing_data_is_refused() {
    assert!(matches!(parse(b"{} {}", None), Err(ParseError::Syntax(_))));
    assert!(matches!(parse(b"", None), Err(ParseError::Syntax(_))));
}

#[test]
fn yaml_is_read_by_the_same_rules() {
    let ty = table().by_kind("v1", "Pod");
    let parsed = parse_yaml(b"metadata:\n  name: a\n  foo: 1\n  name: b\nspec:\n  overhead: {cpu: 0.5}\n", ty).unwrap();
    assert_eq!(parsed.value.to_string(), r#"{"metadata":{"name":"b"},"spec":{"overhead":{"cpu":"500m"}}}"#);
    assert_eq!(parsed.problems, [r#"unknown field "metadata.foo""#, r#"duplicate field "metadata.name""#]);
    assert!(matches!(parse_yaml(b"a: [", ty), Err(ParseError::Syntax(_))));
    assert!(matches!(parse_yaml(&[b'['; 100_000], ty), Err(ParseError::Syntax(_))), "at once");
    assert!(matches!(parse_yaml(b"a: 1\n---\nb: 2\n", ty), Err(ParseError::Syntax(_))));
}

proptest::proptest! {
    #[test]
    fn any_text_ends_in_an_answer(text in ".{0,200}", bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let ty = table().by_kind("v1", "Pod");
        for bytes in [text.as_bytes(), &bytes] {
            let _ = parse(bytes, ty);
            let _ = parse_yaml(bytes, ty);
        }
    }
}

#[test]
fn aliases_multiply_no_document_beyond_its_length() {
    let keys: Vec<String> = (0..100).map(|index| format!("k{index}: v")).collect();
    let once = format!("a: &m {{{}}}\nb: *m\n", keys.join(", "));
    let parsed = parse_yaml(once.as_bytes(), None).unwrap().value;
    assert_eq!(parsed["a"], parsed["b"]);
    let often: String = (0..100).map(|index| format!("c{index}: *m\n")).collect();
    let error = parse_yaml((once + &often).as_bytes(), None).unwrap_err();
    assert_eq!(error.to_string(), "yaml: document contains excessive aliasing");
}
