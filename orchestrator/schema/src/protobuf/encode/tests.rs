//! Random objects of every kind, grown from the table, survive the way to protobuf and back.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protobuf::decode_protobuf;
use crate::table::Scalar;

/// A cheap stream of choices, so that one seed is one object.
struct Choices(u64);

impl Choices {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn object(ty: TypeRef, choices: &mut Choices, depth: usize) -> Value {
    let mut object = Map::new();
    for field in ty.fields() {
        let is_type_meta = ty.is_kind() && matches!(field.name, "apiVersion" | "kind");
        if is_type_meta || choices.next(10) >= if depth > 4 { 1 } else { 4 } {
            continue;
        }
        let value = match field.container {
            Container::One => one(field, choices, depth),
            Container::List => (0..=choices.next(2)).map(|_| one(field, choices, depth)).collect(),
            Container::Map => {
                Value::Object((0..=choices.next(2)).map(|n| (format!("k{n}"), one(field, choices, depth))).collect())
            }
        };
        object.insert(field.name.to_owned(), value);
    }
    Value::Object(object)
}

/// Values that Go prints: a zero stays only where its field keeps zeros, so there are none.
fn one(field: &Field, choices: &mut Choices, depth: usize) -> Value {
    let Some(scalar) = field.scalar() else {
        return object(field.object().unwrap(), choices, depth + 1);
    };
    match scalar {
        Scalar::Bool => true.into(),
        Scalar::Int32 => ((i64::try_from(choices.next(1 << 31)).unwrap() - (1 << 30)) | 1).into(),
        Scalar::Int64 => (choices.next(1 << 31) as i64 * -(1 << 20) - 1).into(),
        Scalar::Float64 => (choices.next(1000) as f64 + 0.5).into(),
        Scalar::String => format!("text-{}-ü", choices.next(1000)).into(),
        Scalar::Bytes => ["AA==", "AP8=", "aGVsbG8="][choices.next(3) as usize].into(),
        Scalar::Time => "2026-01-02T03:04:05Z".into(),
        Scalar::MicroTime => format!("2026-01-02T03:04:05.{:06}Z", choices.next(1_000_000)).into(),
        Scalar::Duration => ["1h2m3.5s", "-1m30s", "0.25s"][choices.next(3) as usize].into(),
        Scalar::Quantity => ["100m", "1Gi", "3"][choices.next(3) as usize].into(),
        Scalar::IntOrString => [json!(5), json!("25%"), json!(0)][choices.next(3) as usize].clone(),
        Scalar::Raw | Scalar::FieldsV1 => json!({ "any": [1, { "json": null }, "x"] }),
        Scalar::Strings => json!(["a", "b"]),
        Scalar::SchemaOrBool => {
            [json!(true), json!(false), json!({ "type": "string" })][choices.next(3) as usize].clone()
        }
        Scalar::SchemaOrArray => {
            [json!([{ "type": "string" }]), json!({ "type": "string" })][choices.next(2) as usize].clone()
        }
        Scalar::SchemaOrStrings => [json!(["a"]), json!({ "type": "string" })][choices.next(2) as usize].clone(),
    }
}

/// What protobuf cannot say: fields without a number, and empty lists and maps.
fn without_numberless(value: &mut Value, ty: TypeRef) {
    let Value::Object(members) = value else { return };
    let mut numbered = Vec::new();
    names(ty, &mut numbered);
    members.retain(|name, _| numbered.contains(&name.as_str()) || matches!(name.as_str(), "apiVersion" | "kind"));
    for field in ty.fields() {
        let (Some(inner), Some(member)) = (field.object(), members.get_mut(field.name)) else { continue };
        match (field.container, member) {
            (Container::One, member) => without_numberless(member, inner),
            (_, Value::Array(list)) => list.iter_mut().for_each(|item| without_numberless(item, inner)),
            (_, Value::Object(map)) => map.values_mut().for_each(|item| without_numberless(item, inner)),
            _ => {}
        }
    }
}

fn names(ty: TypeRef, into: &mut Vec<&'static str>) {
    for (_, numbered) in ty.numbers() {
        match numbered {
            Numbered::Field(index) => into.push(ty.fields()[usize::from(*index)].name),
            Numbered::Inline(index) => names(object_at(*index), into),
        }
    }
}

fn round_trip(ty: TypeRef, seed: u64) {
    let mut value = object(ty, &mut Choices(seed), 0);
    without_numberless(&mut value, ty);
    value["apiVersion"] = ty.api_version().into();
    value["kind"] = ty.short_name().into();
    let bytes = encode_protobuf(&value).unwrap();
    let decoded = decode_protobuf(&bytes).unwrap();
    assert_eq!(decoded.value, value, "{} seed {seed}", ty.name());
}

fn encodable() -> Vec<TypeRef> {
    let is_encodable = |ty: &TypeRef| ty.is_kind() && !ty.numbers().is_empty() && !ty.api_version().is_empty();
    table().types().filter(is_encodable).collect()
}

#[test]
fn every_kind_comes_back() {
    let kinds = encodable();
    assert!(kinds.len() > 150, "{}", kinds.len());
    for (seed, ty) in (0u64..).zip(kinds) {
        (0..8).for_each(|more| round_trip(ty, seed * 1_000 + more));
    }
}

proptest! {
    #[test]
    fn random_objects_come_back(seed in any::<u64>(), kind in 0usize..1000) {
        let kinds = encodable();
        round_trip(kinds[kind % kinds.len()], seed);
    }
}

#[test]
fn bodies_look_as_go_writes_them() {
    let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "k": "v" } });
    let bytes = encode_protobuf(&value).unwrap();
    let expected: &[u8] =
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01c\x12\x06\x0a\x01k\x12\x01v\x1a\0\x22\0";
    assert_eq!(bytes, expected);
    let frame = encode_watch_event(&json!({ "type": "ADDED", "object": value })).unwrap();
    assert_eq!(frame[..4], u32::try_from(frame.len() - 4).unwrap().to_be_bytes());
    assert_eq!(&frame[4..11], b"\x0a\x05ADDED");
    let inner = u8::try_from(bytes.len()).unwrap();
    assert_eq!(&frame[11..15], &[0x12, inner + 2, 0x0a, inner]);
    assert_eq!(&frame[15..], bytes);
}

#[test]
fn what_has_no_protobuf_form_says_so() {
    for value in [
        json!({ "apiVersion": "example.com/v1", "kind": "Custom" }),
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "Table" }),
        json!(3),
    ] {
        assert!(matches!(encode_protobuf(&value), Err(EncodeError::NoProtobuf { .. })), "{value}");
    }
    let wrong = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": [] });
    assert_eq!(encode_protobuf(&wrong), Err(EncodeError::Unfit("data")));
}
