//! What Go would print: `prune_empty` is its omitempty, `fill_defaults` the literal defaults of the types,
//! `canonical` the bytes that are stored.

use serde_json::{Map, Value};

use crate::table::{Container, Element, Field, Scalar, TypeRef};

/// Sorted keys, integers without a point, shortest floats.
pub fn canonical(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value has string keys and finite numbers")
}

/// Fills the defaults that the types themselves declare (`protocol: TCP`), wherever their struct is present.
/// The many defaults that depend on other fields are each kind's own.
pub fn fill_defaults(value: &mut Value, ty: TypeRef) {
    let Value::Object(object) = value else { return };
    for field in ty.fields() {
        match object.get_mut(field.name) {
            Some(present) => each_object(present, field, &mut |value, ty| fill_defaults(value, ty)),
            None => {
                if let Some(default) = field.default.as_ref().filter(|default| !is_empty(default)) {
                    object.insert(field.name.to_owned(), default.clone());
                }
            }
        }
    }
}

/// Brings an object into the form Go prints: empty optional fields go, fields without omitempty and
/// structs that are no pointers appear (`metadata: {}`, `status: {}`, `replicas: 0`).
/// Lists that Go prints as null appear as `[]`: clients with strict models refuse null.
pub fn prune_empty(value: &mut Value, ty: TypeRef) {
    let Value::Object(object) = value else { return };
    for field in ty.fields() {
        let Some(present) = object.get_mut(field.name) else {
            add_zero(object, field);
            continue;
        };
        each_object(present, field, &mut |value, ty| prune_empty(value, ty));
        let drop = is_omitted(present, field);
        if drop {
            object.remove(field.name);
            add_zero(object, field);
        }
    }
}

/// What Go prints where the field was never set.
fn add_zero(object: &mut Map<String, Value>, field: &Field) {
    if let Some(zero) = zero(field) {
        object.insert(field.name.to_owned(), zero);
    }
}

fn zero(field: &Field) -> Option<Value> {
    if field.pointer {
        return None;
    }
    match (field.container, field.element) {
        (Container::List, _) if field.always => Some(Value::Array(Vec::new())),
        (Container::Map, _) if field.always => Some(Value::Object(Map::new())),
        (Container::List | Container::Map, _) => None,
        (Container::One, Element::Object(_)) => {
            let mut value = Value::Object(Map::new());
            prune_empty(&mut value, field.object()?);
            Some(value)
        }
        // Go has no empty Quantity and no empty IntOrString: omitempty never omits them.
        (Container::One, Element::Scalar(Scalar::Quantity)) => Some(Value::String("0".to_owned())),
        (Container::One, Element::Scalar(Scalar::IntOrString)) => Some(Value::from(0)),
        (Container::One, Element::Scalar(scalar)) if field.always => match scalar {
            Scalar::Bool => Some(Value::Bool(false)),
            Scalar::Int32 | Scalar::Int64 | Scalar::Float64 => Some(Value::from(0)),
            Scalar::String | Scalar::Bytes => Some(Value::String(String::new())),
            Scalar::Strings => Some(Value::Array(Vec::new())),
            _ => None,
        },
        _ => None,
    }
}

fn is_omitted(value: &Value, field: &Field) -> bool {
    if value.is_null() {
        return true;
    }
    if field.always {
        return false;
    }
    match field.container {
        // A pointer to a list or map is not empty because the list is.
        Container::List | Container::Map => !field.pointer && is_empty(value),
        Container::One => match field.element {
            Element::Object(_) => false,
            Element::Scalar(Scalar::Quantity | Scalar::IntOrString | Scalar::Raw | Scalar::FieldsV1) => false,
            Element::Scalar(_) => !field.pointer && is_empty(value),
        },
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Visits the struct or structs that a field holds.
fn each_object(value: &mut Value, field: &Field, visit: &mut dyn FnMut(&mut Value, TypeRef)) {
    let Some(ty) = field.object() else { return };
    match (field.container, value) {
        (Container::One, value) => visit(value, ty),
        (Container::List, Value::Array(list)) => list.iter_mut().for_each(|value| visit(value, ty)),
        (Container::Map, Value::Object(map)) => map.values_mut().for_each(|value| visit(value, ty)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::table::table;

    fn check(api_version: &str, kind: &str, mut value: Value, expected: Expect) {
        prune_empty(&mut value, table().by_kind(api_version, kind).unwrap());
        expected.assert_eq(&value.to_string());
    }

    #[test]
    fn empty_optional_fields_go_and_structs_appear() {
        check(
            "apps/v1",
            "Deployment",
            json!({"metadata": {"labels": {}, "name": ""}, "spec": {"replicas": 0, "paused": false, "template": {"spec": {
                "containers": [{"name": "a", "image": "", "env": [], "livenessProbe": {"httpGet": {"port": 0}}}],
                "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}]}}}}),
            expect![[
                r#"{"metadata":{},"spec":{"replicas":0,"strategy":{},"template":{"metadata":{},"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":0}},"name":"a","resources":{}}],"securityContext":{},"volumes":[{"emptyDir":{},"name":"v"}]}}},"status":{}}"#
            ]],
        );
    }

    #[test]
    fn counters_without_omitempty_appear() {
        check(
            "apps/v1",
            "DaemonSet",
            json!({"status": {}}),
            expect![[
                r#"{"metadata":{},"spec":{"template":{"metadata":{},"spec":{"containers":[]}},"updateStrategy":{}},"status":{"currentNumberScheduled":0,"desiredNumberScheduled":0,"numberMisscheduled":0,"numberReady":0}}"#
            ]],
        );
        check("v1", "ConfigMap", json!({"data": {}}), expect![[r#"{"metadata":{}}"#]]);
    }

    #[test]
    fn literal_defaults_fill_present_structs() {
        let mut value = json!({"spec": {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}});
        fill_defaults(&mut value, table().by_kind("v1", "Service").unwrap());
        expect![[r#"{"spec":{"ports":[{"port":1,"protocol":"TCP"},{"port":2,"protocol":"UDP"}]}}"#]]
            .assert_eq(&value.to_string());
    }
}
