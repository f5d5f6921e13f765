//! The seed and visitor behind `parse`: one value at one place of the table. Leaves are `scalar`'s.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Context, DEPTH_MAX, Path, ROOT, Segment, Want, scalar};
use crate::table::{Element, Scalar, TypeRef, object_at, schema_props};

#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    cx: &'a Context,
    path: &'a Path<'a>,
    want: Want,
    /// The struct whose field this is; Go's errors name it.
    owner: Option<TypeRef>,
}

impl<'a> Node<'a> {
    pub(super) fn root(cx: &'a Context, ty: Option<TypeRef>) -> Self {
        Node { cx, path: ROOT, want: Want::Any, owner: None }.with_root(ty)
    }

    fn with_root(self, ty: Option<TypeRef>) -> Self {
        Node { want: ty.map_or(Want::Any, |ty| Want::One(ty.element())), ..self }
    }

    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`
    fn mismatch<E: Error>(&self, got: &str) -> E {
        let wanted = self.want.go_name();
        if let Want::One(Element::Scalar(special)) = self.want
            && let Some(text) = scalar::mismatch(special, got)
        {
            return self.cx.fail(text);
        }
        let mut fields = String::new();
        self.path.write_fields(&mut fields);
        self.cx.fail(match self.owner {
            Some(owner) => format!(
                "json: cannot unmarshal {got} into Go struct field {}.{fields} of type {wanted}",
                owner.short_name()
            ),
            None => format!("json: cannot unmarshal {got} into Go value of type {wanted}"),
        })
    }

    fn too_deep<E: Error>(&self) -> Option<E> {
        (self.path.depth >= DEPTH_MAX).then(|| self.cx.fail("exceeded max depth".to_owned()))
    }

    fn element(&self, path: &'a Path<'a>, element: Element) -> Node<'a> {
        Node { path, want: Want::one(element), ..*self }
    }

    fn leaf<E: Error>(&self, scalar: Scalar, result: Result<Value, scalar::Misfit>) -> Result<Value, E> {
        debug_assert!(matches!(self.want, Want::One(Element::Scalar(wanted)) if wanted == scalar));
        result.map_err(|misfit| match misfit {
            scalar::Misfit::Kind(got) => self.mismatch(&got),
            scalar::Misfit::Text(text) => self.cx.fail(text),
        })
    }

    fn object<'de, A: MapAccess<'de>>(&self, ty: TypeRef, mut map: A) -> Result<Value, A::Error> {
        let mut seen: u128 = 0;
        let mut object = Map::new();
        while let Some(name) = map.next_key_seed(FieldName(ty))? {
            let index = match name {
                Named::Known(index) => index,
                Named::Unknown(name) => {
                    self.cx.problem("unknown", self.path, &name);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let field = &ty.fields()[index];
            if seen & (1 << index) != 0 {
                self.cx.problem("duplicate", self.path, field.name);
            }
            seen |= 1 << index;
            let path = self.path.child(Segment::Field(field.name));
            let node = Node { cx: self.cx, path: &path, want: Want::of(field), owner: Some(ty) };
            match map.next_value_seed(node)? {
                Value::Null => object.remove(field.name),
                value => object.insert(field.name.to_owned(), value),
            };
        }
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(&self, element: Want, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = {
                let path = self.path.child(Segment::Key(&key));
                let value = map.next_value_seed(Node { path: &path, want: element, ..*self })?;
                if object.contains_key(&key) {
                    self.cx.problem("duplicate", self.path, &key);
                }
                if value.is_null() { element.zero() } else { value }
            };
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }

    fn list<'de, A: SeqAccess<'de>>(&self, element: Want, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = self.path.child(Segment::Index(list.len()));
            match seq.next_element_seed(Node { path: &path, want: element, ..*self })? {
                None => return Ok(Value::Array(list)),
                Some(Value::Null) => list.push(element.zero()),
                Some(value) => list.push(value),
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if !self.cx.count() {
            return Err(self.cx.fail("yaml: document contains excessive aliasing".to_owned()));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.want {
            Want::Any | Want::One(Element::Scalar(Scalar::Bool | Scalar::SchemaOrBool)) => Ok(Value::Bool(value)),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        match self.want {
            Want::Any => Ok(Value::from(value)),
            Want::One(Element::Scalar(scalar)) => self.leaf(scalar, scalar::integer(scalar, value)),
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match self.want {
            Want::Any => Ok(Value::from(value)),
            Want::One(Element::Scalar(scalar)) => self.leaf(scalar, scalar::float(scalar, value)),
            _ => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        match self.want {
            Want::Any => Ok(Value::String(value)),
            Want::One(Element::Scalar(scalar)) => self.leaf(scalar, scalar::text(scalar, value)),
            _ => Err(self.mismatch("string")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
        if let Some(error) = self.too_deep() {
            return Err(error);
        }
        match self.want {
            Want::Any => self.list(Want::Any, seq),
            Want::List(element) => self.list(self.element(self.path, element).want, seq),
            Want::One(Element::Scalar(Scalar::SchemaOrArray)) => self.list(Want::One(schema_props().element()), seq),
            Want::One(Element::Scalar(Scalar::SchemaOrStrings)) => {
                self.list(Want::One(Element::Scalar(Scalar::String)), seq)
            }
            _ => Err(self.mismatch("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        if let Some(error) = self.too_deep() {
            return Err(error);
        }
        match self.want {
            Want::Any => self.map(Want::Any, map),
            Want::Map(element) => self.map(Want::one(element), map),
            Want::One(Element::Object(index)) => self.object(object_at(index), map),
            Want::One(Element::Scalar(Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStrings)) => {
                self.object(schema_props(), map)
            }
            _ => Err(self.mismatch("object")),
        }
    }
}

enum Named {
    Known(usize),
    Unknown(String),
}

/// Reads a field's name without copying it when the table has it.
struct FieldName(TypeRef);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Named, E> {
        Ok(self.0.field_index(name).map_or_else(|| Named::Unknown(name.to_owned()), Named::Known))
    }
}
