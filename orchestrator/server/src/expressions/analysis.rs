//! What can be said of an expression before it runs: names that nobody declared, fields that a schema does not have,
//! and what it may cost at worst.

use std::collections::HashMap;

use amphipod_schema::structural::{Additional, Structural, Type};
use amphipod_schema::table::{Container, TypeRef};
use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr};

use super::operators::{self, Simple};

/// What is known of a value.
#[derive(Clone, Copy)]
pub enum Known<'s> {
    Anything,
    /// Of a custom kind; the flag says that `apiVersion`, `kind` and `metadata` are every object's.
    Schema(&'s Structural, bool),
    /// Of a built-in type.
    Table(TypeRef),
    /// Maps and lists of a built-in type.
    Many(TypeRef),
    Simple(Simple),
}

impl Known<'_> {
    fn simple(self) -> Option<Simple> {
        match self {
            Known::Simple(simple) => Some(simple),
            Known::Schema(schema, _) => Simple::of_schema(schema),
            Known::Anything | Known::Table(_) | Known::Many(_) => None,
        }
    }
}

/// The variables of an expression.
#[derive(Clone)]
pub struct Variables<'s>(HashMap<String, Known<'s>>);

impl<'s> Variables<'s> {
    pub fn new(known: impl IntoIterator<Item = (&'s str, Known<'s>)>) -> Self {
        Self(known.into_iter().map(|(name, known)| (name.to_owned(), known)).collect())
    }

    pub fn with(&self, name: &str, known: Known<'s>) -> Self {
        let mut next = self.clone();
        next.0.insert(name.to_owned(), known);
        next
    }
}

/// Words before a dot that are no values: `math.abs(…)`.
const LIBRARIES: &[&str] = &[
    "math",
    "sets",
    "optional",
    "base64",
    "format",
    "lists",
    "strings",
    "ip",
    "jsonpatch",
    "cidr",
    "semver",
    "quantity",
    "url",
];

/// Names of types, for `type(x) == int`.
const TYPES: &[&str] = &["int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"];

/// Every function there is, besides operators.
const FUNCTIONS: &str = "abs add allowed asApproximateFloat asInteger bitAnd bitNot bitOr bitShiftLeft bitShiftRight bitXor bool byte \
    bytes ceil charAt check cidr compareTo contains containsCIDR containsIP date datetime decode distinct \
    dns1035Label dns1035LabelPrefix dns1123Label dns1123LabelPrefix dns1123Subdomain dns1123SubdomainPrefix \
    double duration dyn encode endsWith equivalent error errored escapeKey family fieldSelector find findAll \
    first flatten floor format getDate getDayOfMonth getDayOfWeek getDayOfYear getEscapedPath getFullYear \
    getHost getHostname getHours getMilliseconds getMinutes getMonth getPort getQuery getScheme getSeconds \
    greatest group hasValue indexOf int intersects ip isCIDR isCIDRv4 isCIDRv6 isCanonical isFinite \
    isGlobalUnicast isGreaterThan isIP isIPv4 isIPv6 isInf isInteger isLessThan isLinkLocalMulticast \
    isLinkLocalUnicast isLoopback isNaN isQuantity isSemver isSorted isURL isUnspecified join labelSelector \
    labelValue last lastIndexOf least lowerAscii major masked matches max min minor name named namespace none of \
    ofNonZeroValue optFlatMap optMap or orValue patch path prefixLength qualifiedName quantity quote range \
    reason replace resource reverse round semver serviceAccount sets sign size slice sort split sqrt startsWith \
    string strings sub subresource substring sum timestamp trim trunc type uint upperAscii uri url uuid validate \
    value";

/// The first thing wrong, in upstream's words.
pub fn check(tree: &IdedExpr, variables: &Variables<'_>) -> Result<(), String> {
    known(tree, variables).map(drop)
}

fn known<'s>(node: &IdedExpr, variables: &Variables<'s>) -> Result<Known<'s>, String> {
    match &node.expr {
        Expr::Ident(name) => match variables.0.get(name) {
            Some(found) => Ok(*found),
            None if name == "authorizer.requestResource" && variables.0.contains_key("authorizer") => {
                Ok(Known::Anything)
            }
            None if TYPES.contains(&name.as_str()) || name.starts_with('@') => Ok(Known::Anything),
            None => Err(format!("undeclared reference to '{name}' (in container '')")),
        },
        Expr::Select(select) => {
            let operand = known(&select.operand, variables)?;
            member(operand, &select.field)
        }
        Expr::Call(call) => {
            let name = call.func_name.rsplit('.').next().unwrap_or_default();
            let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !is_operator && !FUNCTIONS.split(' ').any(|known| known == name) && name != "in" {
                return Err(format!("undeclared reference to '{}' (in container '')", call.func_name));
            }
            let library = |target: &IdedExpr| matches!(&target.expr, Expr::Ident(name) if LIBRARIES.contains(&name.as_str()) && !variables.0.contains_key(name));
            if let Some(target) = call.target.as_deref().filter(|target| !library(target)) {
                known(target, variables)?;
            }
            let mut arguments = Vec::with_capacity(call.args.len());
            for argument in &call.args {
                arguments.push(known(argument, variables)?);
            }
            if let [left, right] = arguments.as_slice()
                && let (Some(left), Some(right)) = (left.simple(), right.simple())
                && let Some(made) = operators::result(&call.func_name, left, right)?
            {
                return Ok(Known::Simple(made));
            }
            Ok(match (call.func_name.as_str(), arguments.first()) {
                ("_[_]", Some(first)) => element(*first),
                _ => Known::Anything,
            })
        }
        Expr::Comprehension(inner) => {
            let range = known(&inner.iter_range, variables)?;
            let inside = inside(inner, range, variables);
            for part in [&inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result] {
                known(part, &inside)?;
            }
            Ok(Known::Anything)
        }
        Expr::List(list) => {
            list.elements.iter().try_for_each(|element| known(element, variables).map(drop))?;
            Ok(Known::Anything)
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    known(&entry.key, variables)?;
                    known(&entry.value, variables)?;
                }
            }
            Ok(Known::Anything)
        }
        Expr::Literal(value) => Ok(Simple::of_literal(value).map_or(Known::Anything, Known::Simple)),
        Expr::Struct(_) | Expr::Unspecified => Ok(Known::Anything),
    }
}

fn inside<'s>(inner: &ComprehensionExpr, range: Known<'s>, variables: &Variables<'s>) -> Variables<'s> {
    let is_map = matches!(range, Known::Schema(schema, _) if schema.ty == Type::Object);
    let first = if is_map || inner.iter_var2.is_some() { Known::Anything } else { element(range) };
    let mut inside = variables.with(&inner.iter_var, first).with(&inner.accu_var, Known::Anything);
    if let Some(second) = &inner.iter_var2 {
        inside = inside.with(second, element(range));
    }
    inside
}

/// What a member of it is; fields that are not there are told.
fn member<'s>(operand: Known<'s>, field: &str) -> Result<Known<'s>, String> {
    let undefined = || Err(format!("undefined field '{field}'"));
    match operand {
        Known::Anything | Known::Many(_) | Known::Simple(_) => Ok(Known::Anything),
        Known::Schema(schema, is_resource) => match schema.properties.get(field) {
            Some(found) => Ok(Known::Schema(found, found.embedded)),
            None if (is_resource || schema.embedded) && matches!(field, "apiVersion" | "kind" | "metadata") => {
                Ok(Known::Anything)
            }
            None => match &schema.additional {
                Additional::Schema(below) => Ok(Known::Schema(below, below.embedded)),
                Additional::Any => Ok(Known::Anything),
                Additional::None if schema.preserve || schema.ty != Type::Object => Ok(Known::Anything),
                Additional::None => undefined(),
            },
        },
        Known::Table(ty) => {
            let Some(found) = ty.field(field) else { return undefined() };
            Ok(match (found.container, found.object()) {
                (Container::One, Some(ty)) => Known::Table(ty),
                (_, Some(ty)) => Known::Many(ty),
                (Container::One, None) => Simple::of_field(found.element).map_or(Known::Anything, Known::Simple),
                (_, None) => Known::Anything,
            })
        }
    }
}

/// What an element of it is.
fn element(many: Known<'_>) -> Known<'_> {
    match many {
        Known::Schema(schema, _) => match (&schema.items, &schema.additional) {
            (Some(items), _) => Known::Schema(items, items.embedded),
            (None, Additional::Schema(below)) => Known::Schema(below, below.embedded),
            _ => Known::Anything,
        },
        Known::Many(ty) => Known::Table(ty),
        _ => Known::Anything,
    }
}

/// Bytes of a request, from which the size of unbounded lists follows.
const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;
/// Of lists of which nothing is known, as those of built-in objects: they are not refused for their size.
const USUAL_LENGTH: u64 = 100;

/// What evaluating it costs at worst.
pub fn cost(tree: &IdedExpr, variables: &Variables<'_>) -> u64 {
    let below = |nodes: &mut dyn Iterator<Item = &IdedExpr>| -> u64 {
        nodes.map(|node| cost(node, variables)).fold(0, u64::saturating_add)
    };
    match &tree.expr {
        Expr::Ident(_) => 1,
        Expr::Select(select) => below(&mut std::iter::once(&*select.operand)).saturating_add(1),
        Expr::Call(call) => below(&mut call.target.as_deref().into_iter().chain(call.args.iter())).saturating_add(1),
        Expr::Comprehension(inner) => {
            let range = known(&inner.iter_range, variables).unwrap_or(Known::Anything);
            let inside = inside(inner, range, variables);
            let step = cost(&inner.loop_cond, &inside).saturating_add(cost(&inner.loop_step, &inside));
            let rounds = length(range).saturating_mul(step);
            [
                cost(&inner.iter_range, variables),
                cost(&inner.accu_init, variables),
                rounds,
                cost(&inner.result, &inside),
            ]
            .into_iter()
            .fold(0, u64::saturating_add)
        }
        Expr::List(list) => below(&mut list.elements.iter()).saturating_add(10),
        Expr::Map(map) => {
            let values = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some(&entry.value),
                EntryExpr::StructField(_) => None,
            });
            below(&mut values.into_iter()).saturating_add(30)
        }
        Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 0,
    }
}

/// How many elements it may have.
pub fn length(many: Known<'_>) -> u64 {
    let Known::Schema(schema, _) = many else { return USUAL_LENGTH };
    let unbounded = |below: Option<&Structural>, extra: u64| REQUEST_BYTES_MAX / (below.map_or(1, smallest) + extra);
    match schema.ty {
        Type::Array => schema.checks.max_items.unwrap_or_else(|| unbounded(schema.items.as_deref(), 1)),
        Type::Object => match &schema.additional {
            Additional::Schema(below) => schema.checks.max_properties.unwrap_or_else(|| unbounded(Some(below), 4)),
            _ => USUAL_LENGTH,
        },
        _ => USUAL_LENGTH,
    }
}

/// Bytes of the smallest value of a schema.
fn smallest(schema: &Structural) -> u64 {
    match schema.ty {
        Type::Integer | Type::Number | Type::Any => 1,
        Type::Boolean => 4,
        Type::String => 2 + schema.checks.min_length.unwrap_or(0),
        Type::Array => 2,
        Type::Object => {
            let required = schema.checks.required.iter().filter_map(|name| {
                let below = schema.properties.get(name)?;
                Some(name.len() as u64 + 4 + smallest(below))
            });
            2 + required.sum::<u64>()
        }
    }
}
