//! Strict JSON in one pass, guided by the table: duplicate and unknown fields are found while the value is
//! built, types are checked, quantities and times get their one spelling. `node` walks, `scalar` knows leaves.

mod node;
mod scalar;

use std::cell::{Cell, RefCell};

use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::table::{Container, Element, Field, Scalar, TypeRef};
use node::Node;

/// Objects nested deeper than this are refused; serde_json stops at the same depth.
pub const DEPTH_MAX: usize = 128;
/// Upstream stops counting problems here.
const PROBLEMS_MAX: usize = 100;
/// YAML's scanner looks at every open flow bracket for each further one.
const FLOW_DEPTH_MAX: usize = 1_000;

/// A value and what strict decoding would hold against it.
#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    /// Without unknown fields and nulls; the last of duplicate fields.
    pub value: Value,
    /// Upstream's texts: `unknown field "spec.foo"`, `duplicate field "spec.replicas"`.
    pub problems: Vec<String>,
}

/// Why a body is no object of its type. The text is upstream's, without the words around it.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// No JSON at all.
    #[error("{0}")]
    Syntax(String),
    /// A value that does not fit its field.
    #[error("{0}")]
    Type(String),
}

/// Reads JSON. Without a type (custom resources) only duplicates are found and nulls stay.
pub fn parse(bytes: &[u8], ty: Option<TypeRef>) -> Result<Parsed, ParseError> {
    let cx = Context::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Node::root(&cx, ty).deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    cx.finish(value)
}

/// The same for YAML, of which JSON is a part: bodies of type `application/yaml` and `application/apply-patch+yaml`.
pub fn parse_yaml(bytes: &[u8], ty: Option<TypeRef>) -> Result<Parsed, ParseError> {
    // What is written out has no more values than bytes; aliases multiply them.
    let cx = Context { values_left: Cell::new(bytes.len()), ..Context::default() };
    if flow_depth(bytes) > FLOW_DEPTH_MAX {
        return Err(ParseError::Syntax(format!("nested deeper than {FLOW_DEPTH_MAX}")));
    }
    let value = Node::root(&cx, ty).deserialize(serde_yaml_ng::Deserializer::from_slice(bytes));
    cx.finish(value)
}

/// How many flow brackets are open at once at most. Brackets in texts count, too: no text has so many more that open.
fn flow_depth(bytes: &[u8]) -> usize {
    let depths = bytes.iter().scan(0_usize, |depth, byte| {
        match byte {
            b'[' | b'{' => *depth += 1,
            b']' | b'}' => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some(*depth)
    });
    depths.max().unwrap_or(0)
}

/// The same rules for a value that came from a patch, from YAML or from protobuf.
pub fn check(value: Value, ty: Option<TypeRef>) -> Result<Parsed, ParseError> {
    let cx = Context::default();
    let value = Node::root(&cx, ty).deserialize(value);
    cx.finish(value)
}

/// What one pass collects on its way.
struct Context {
    problems: RefCell<Vec<String>>,
    failure: RefCell<Option<String>>,
    failed: Cell<bool>,
    values_left: Cell<usize>,
}

impl Default for Context {
    fn default() -> Self {
        let (problems, failure, failed) = Default::default();
        Self { problems, failure, failed, values_left: Cell::new(usize::MAX) }
    }
}

impl Context {
    fn problem(&self, what: &str, path: &Path<'_>, name: &str) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            let text = format!("{what} field \"{}\"", path.to(name));
            if !problems.contains(&text) {
                problems.push(text);
            }
        }
    }

    /// One more value is read; false when that is one too many.
    fn count(&self) -> bool {
        let left = self.values_left.get().checked_sub(1);
        self.values_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Remembers the text; serde's own error would carry a position that upstream's does not.
    fn fail<E: serde::de::Error>(&self, text: String) -> E {
        self.failed.set(true);
        self.failure.borrow_mut().get_or_insert(text);
        E::custom("type")
    }

    fn finish<E: std::error::Error>(self, value: Result<Value, E>) -> Result<Parsed, ParseError> {
        match (value, self.failure.into_inner()) {
            (_, Some(text)) => Err(ParseError::Type(text)),
            (Err(error), None) => Err(ParseError::Syntax(error.to_string())),
            (Ok(value), None) => Ok(Parsed { value, problems: self.problems.into_inner() }),
        }
    }
}

/// Where the walk stands: a list through the stack frames, so that it costs nothing until it is printed.
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    segment: Segment<'p>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Segment<'p> {
    Root,
    Field(&'p str),
    Key(&'p str),
    Index(usize),
}

const ROOT: &Path<'static> = &Path { parent: None, segment: Segment::Root, depth: 0 };

impl<'p> Path<'p> {
    fn child(&'p self, segment: Segment<'p>) -> Path<'p> {
        Path { parent: Some(self), segment, depth: self.depth + 1 }
    }

    /// `spec.containers[0].name`
    fn to(&self, name: &str) -> String {
        let mut text = String::new();
        self.write(&mut text);
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(name);
        text
    }

    fn write(&self, text: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(text);
        }
        match self.segment {
            Segment::Root => {}
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
            Segment::Field(name) | Segment::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
        }
    }

    /// Go's errors name fields only: `spec.containers.name`.
    fn write_fields(&self, text: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_fields(text);
        }
        if let Segment::Field(name) = self.segment {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
    }
}

/// What the table expects at a place.
#[derive(Clone, Copy)]
enum Want {
    Any,
    One(Element),
    List(Element),
    Map(Element),
}

impl Want {
    fn of(field: &Field) -> Self {
        match field.container {
            Container::One => Self::one(field.element),
            Container::List => Self::List(field.element),
            Container::Map => Self::Map(field.element),
        }
    }

    fn one(element: Element) -> Self {
        match element {
            Element::Scalar(Scalar::Strings) => Self::List(Element::Scalar(Scalar::String)),
            Element::Scalar(Scalar::Raw | Scalar::FieldsV1) => Self::Any,
            element => Self::One(element),
        }
    }

    fn go_name(self) -> String {
        match self {
            Self::Any => "interface {}".to_owned(),
            Self::One(element) => go_name(element).to_owned(),
            Self::List(element) => format!("[]{}", go_name(element)),
            Self::Map(element) => format!("map[string]{}", go_name(element)),
        }
    }

    /// What Go leaves in a list or map where JSON says null.
    fn zero(self) -> Value {
        match self {
            Self::Any => Value::Null,
            Self::List(_) => Value::Array(Vec::new()),
            Self::Map(_) | Self::One(Element::Object(_)) => Value::Object(serde_json::Map::new()),
            Self::One(Element::Scalar(scalar)) => scalar::zero(scalar),
        }
    }
}

fn go_name(element: Element) -> &'static str {
    match element {
        Element::Object(index) => crate::table::object_at(index).go_name(),
        Element::Scalar(scalar) => scalar::go_name(scalar),
    }
}

#[cfg(test)]
mod tests;
