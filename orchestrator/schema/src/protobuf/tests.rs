//! Golden bodies written by hand, as Go's generated code writes them, and bytes that mean nothing.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// Just enough of an encoder to say what Go would send.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, number: u64, value: i64) -> Self {
        self.raw_varint(number << 3);
        self.raw_varint(value as u64);
        self
    }

    fn bytes(mut self, number: u64, value: impl AsRef<[u8]>) -> Self {
        self.raw_varint(number << 3 | 2);
        self.raw_varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    fn message(self, number: u64, message: Message) -> Self {
        self.bytes(number, message.0)
    }

    fn entry(self, number: u64, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.message(number, msg().bytes(1, key).bytes(2, value))
    }
}

fn msg() -> Message {
    Message::default()
}

fn envelope(api_version: &str, kind: &str, raw: Message) -> Vec<u8> {
    let body = msg().message(1, msg().bytes(1, api_version).bytes(2, kind)).message(2, raw).bytes(3, "").bytes(4, "");
    [MAGIC.as_slice(), &body.0].concat()
}

/// ObjectMeta as Go writes it: every string, zero or not.
fn meta(name: &str) -> Message {
    msg()
        .bytes(1, name)
        .bytes(2, "")
        .bytes(3, "default")
        .bytes(4, "")
        .bytes(5, "")
        .bytes(6, "")
        .int(7, 0)
        .message(8, msg())
        .entry(11, "app", "web")
}

fn check(bytes: &[u8], expected: Expect) {
    let text = match decode_protobuf(bytes) {
        Ok(decoded) => decoded.value.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_config_map_and_a_secret() {
    let map = msg().message(1, meta("c")).entry(2, "k", "v").entry(3, "b", [0, 255]).int(4, 0);
    check(
        &envelope("v1", "ConfigMap", map),
        expect![[
            r#"{"apiVersion":"v1","binaryData":{"b":"AP8="},"data":{"k":"v"},"immutable":false,"kind":"ConfigMap","metadata":{"labels":{"app":"web"},"name":"c","namespace":"default"}}"#
        ]],
    );
    let secret = msg().message(1, meta("s")).entry(2, "k", "v").bytes(3, "Opaque");
    check(
        &envelope("v1", "Secret", secret),
        expect![[
            r#"{"apiVersion":"v1","data":{"k":"dg=="},"kind":"Secret","metadata":{"labels":{"app":"web"},"name":"s","namespace":"default"},"type":"Opaque"}"#
        ]],
    );
}

#[test]
fn a_deployment() {
    let limits = msg().entry(1, "memory", msg().bytes(1, "1024Mi").0);
    let probe =
        msg().message(1, msg().message(2, msg().bytes(1, "/").message(2, msg().int(1, 1).int(2, 0).bytes(3, "http"))));
    let volume = msg().bytes(1, "v").message(2, msg().message(19, msg().message(1, msg().bytes(1, "cm")).int(3, 420)));
    let container = msg()
        .bytes(1, "web")
        .bytes(2, "nginx")
        .bytes(5, "")
        .message(6, msg().bytes(1, "").int(2, 0).int(3, 80).bytes(4, "TCP").bytes(5, ""))
        .message(8, limits)
        .message(10, probe)
        .int(16, 0);
    let pod = msg().message(1, volume).message(2, container).bytes(3, "Always").int(4, 30).int(11, 0);
    let rolling =
        msg().message(1, msg().int(1, 1).int(2, 0).bytes(3, "25%")).message(2, msg().int(1, 0).int(2, 1).bytes(3, ""));
    let spec = msg()
        .int(1, 0)
        .message(2, msg().entry(1, "app", "web"))
        .message(3, msg().message(1, meta("")).message(2, pod))
        .message(4, msg().bytes(1, "RollingUpdate").message(2, rolling))
        .int(5, 0)
        .int(7, 0);
    let status = msg().int(1, 0).int(2, 0);
    check(
        &envelope("apps/v1", "Deployment", msg().message(1, meta("d")).message(2, spec).message(3, status)),
        expect![[
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web"},"name":"d","namespace":"default"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":"25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"app":"web"},"namespace":"default"},"spec":{"containers":[{"image":"nginx","livenessProbe":{"httpGet":{"path":"/","port":"http"}},"name":"web","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"memory":"1Gi"}}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"volumes":[{"configMap":{"defaultMode":420,"name":"cm"},"name":"v"}]}}},"status":{}}"#
        ]],
    );
}

#[test]
fn special_leaves() {
    let schema = msg()
        .bytes(5, "object")
        .message(8, msg().bytes(1, r#"{"a":1}"#))
        .message(24, msg().message(1, msg().bytes(5, "string")))
        .message(30, msg().int(1, 1));
    let version = msg().bytes(1, "v1").int(2, 1).int(3, 1).message(4, msg().message(1, schema));
    check(
        &envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", msg().message(2, msg().message(7, version))),
        expect![[
            r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"versions":[{"name":"v1","schema":{"openAPIV3Schema":{"additionalProperties":true,"default":{"a":1},"items":{"type":"string"},"type":"object"}},"served":true,"storage":true}]}}"#
        ]],
    );
    let review = msg().message(2, msg().message(5, msg().bytes(1, "k").message(2, msg().bytes(1, "a").bytes(1, "b"))));
    check(
        &envelope("authorization.k8s.io/v1", "SubjectAccessReview", review),
        expect![[
            r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"extra":{"k":["a","b"]}}}"#
        ]],
    );
    let options = msg().int(1, -1).message(2, msg().bytes(1, "u")).bytes(4, "Background");
    check(
        &envelope("v1", "DeleteOptions", options),
        expect![[
            r#"{"apiVersion":"v1","gracePeriodSeconds":-1,"kind":"DeleteOptions","preconditions":{"uid":"u"},"propagationPolicy":"Background"}"#
        ]],
    );
    let metrics = msg().message(2, msg().int(1, 1_700_000_000)).message(3, msg().int(1, 90_500_000_000));
    check(
        &envelope("metrics.k8s.io/v1beta1", "NodeMetrics", metrics),
        expect![[
            r#"{"apiVersion":"metrics.k8s.io/v1beta1","kind":"NodeMetrics","timestamp":"2023-11-14T22:13:20Z","window":"1m30.5s"}"#
        ]],
    );
}

#[test]
fn refusals() {
    check(b"{}", expect!["provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"]);
    check(b"k8s\0\x12\x05a", expect!["unexpected EOF"]);
    check(&envelope("v1", "Nothing", msg()), expect![[r#"no kind "Nothing" is registered for version "v1""#]]);
    check(&envelope("v1", "ConfigMap", msg().entry(2, "k", [0xff])), expect!["proto: data is not valid UTF-8"]);
    let deep = (0..500).fold(msg(), |inner, _| msg().message(29, msg().bytes(1, "a").message(2, inner)));
    let crd = msg().message(2, msg().message(7, msg().message(4, msg().message(1, deep))));
    check(&envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd), expect!["proto: exceeded max depth"]);
}

/// What a decoded string map must give back.
fn encode_config_map(data: &std::collections::BTreeMap<String, String>, name: &str) -> Vec<u8> {
    let map = data.iter().fold(msg().message(1, meta(name)), |message, (key, value)| message.entry(2, key, value));
    envelope("v1", "ConfigMap", map)
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0usize..200) {
        let kinds: Vec<_> = crate::table::table().types().filter(|ty| ty.is_kind()).collect();
        let ty = kinds[kind % kinds.len()];
        let body = envelope(ty.api_version(), ty.short_name(), Message(bytes.clone()));
        let _ = decode_protobuf(&body);
        let _ = decode_protobuf(&bytes);
    }

    #[test]
    fn well_formed_fields_with_random_numbers_never_panic(
        fields in proptest::collection::vec((1u64..60, 0u8..3, proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        nesting in proptest::collection::vec(1u64..40, 0..8),
        kind in 0usize..200,
    ) {
        let inner = fields.into_iter().fold(msg(), |message, (number, wire, bytes)| match wire {
            0 => message.int(number, bytes.len() as i64 - 20),
            _ => message.bytes(number, bytes),
        });
        let raw = nesting.into_iter().fold(inner, |inner, number| msg().message(number, inner));
        let kinds: Vec<_> = crate::table::table().types().filter(|ty| ty.is_kind()).collect();
        let ty = kinds[kind % kinds.len()];
        if let Ok(decoded) = decode_protobuf(&envelope(ty.api_version(), ty.short_name(), raw)) {
            // Whatever was understood is a well-typed object without a single unknown field.
            let checked = crate::check(decoded.value, Some(ty));
            if let Ok(parsed) = checked {
                prop_assert_eq!(parsed.problems, Vec::<String>::new());
            }
        }
    }

    #[test]
    fn config_maps_come_back(data in proptest::collection::btree_map(".{0,8}", ".{0,30}", 0..6), name in "[a-z]{1,8}") {
        let decoded = decode_protobuf(&encode_config_map(&data, &name)).unwrap();
        let read: std::collections::BTreeMap<String, String> = decoded.value["data"]
            .as_object()
            .map(|map| map.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect())
            .unwrap_or_default();
        prop_assert_eq!(read, data);
        prop_assert_eq!(decoded.value["metadata"]["name"].as_str(), Some(name.as_str()));
    }
}
