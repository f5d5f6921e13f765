//! Which operators there are between plain values: what upstream's checker calls an overload.

use amphipod_schema::Structural;
use amphipod_schema::structural::Type;
use amphipod_schema::table::{Element, Scalar};
use kube_cel::cel::common::ast::LiteralValue;

/// The types of values that have no parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simple {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
}

impl Simple {
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    pub fn of_literal(value: &LiteralValue) -> Option<Self> {
        match value {
            LiteralValue::Boolean(_) => Some(Self::Bool),
            LiteralValue::Int(_) => Some(Self::Int),
            LiteralValue::UInt(_) => Some(Self::Uint),
            LiteralValue::Double(_) => Some(Self::Double),
            LiteralValue::String(_) => Some(Self::String),
            LiteralValue::Bytes(_) => Some(Self::Bytes),
            LiteralValue::Null => None,
        }
    }

    /// Of a field of a built-in type; what has a type of its own in CEL, or two, is not plain.
    pub fn of_field(element: Element) -> Option<Self> {
        let Element::Scalar(scalar) = element else { return None };
        match scalar {
            Scalar::Bool => Some(Self::Bool),
            Scalar::Int32 | Scalar::Int64 => Some(Self::Int),
            Scalar::Float64 => Some(Self::Double),
            Scalar::String => Some(Self::String),
            _ => None,
        }
    }

    /// Of a value of a custom kind. A format may make a text something else.
    pub fn of_schema(schema: &Structural) -> Option<Self> {
        if schema.int_or_string || schema.nullable {
            return None;
        }
        match schema.ty {
            Type::Boolean => Some(Self::Bool),
            Type::Integer => Some(Self::Int),
            Type::Number => Some(Self::Double),
            Type::String if schema.checks.format.is_empty() => Some(Self::String),
            _ => None,
        }
    }
}

/// What an operator makes of two values; `None`: it is none of those that are judged here. The error is a checker's text.
pub fn result(operator: &str, left: Simple, right: Simple) -> Result<Option<Simple>, String> {
    let same = left == right;
    let numbers = left.is_number() && right.is_number();
    let fitting = match operator {
        "_+_" => (same && left != Simple::Bool).then_some(left),
        "_-_" | "_*_" | "_/_" => (same && left.is_number()).then_some(left),
        "_%_" => (same && matches!(left, Simple::Int | Simple::Uint)).then_some(left),
        "_<_" | "_<=_" | "_>_" | "_>=_" | "_==_" | "_!=_" => (same || numbers).then_some(Simple::Bool),
        "_&&_" | "_||_" => (same && left == Simple::Bool).then_some(Simple::Bool),
        _ => return Ok(None),
    };
    let (left, right) = (left.name(), right.name());
    let missing = || format!("found no matching overload for '{operator}' applied to '({left}, {right})'");
    fitting.map(Some).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_across_types_and_add_within() {
        use Simple::{Bool, Double, Int, String};
        assert_eq!(result("_>_", Int, Double), Ok(Some(Bool)));
        assert_eq!(result("_+_", Int, Int), Ok(Some(Int)));
        assert_eq!(result("_[_]", Int, String), Ok(None));
        let refused = "found no matching overload for '_>_' applied to '(int, string)'";
        assert_eq!(result("_>_", Int, String).unwrap_err(), refused);
        for (operator, left, right) in
            [("_+_", Int, Double), ("_+_", String, Int), ("_&&_", Int, Bool), ("_==_", Int, String)]
        {
            assert!(result(operator, left, right).is_err(), "{operator}");
        }
    }
}
