//! CEL as Kubernetes speaks it: expressions compiled once, judged against what is known of their variables
//! (`expressions/analysis.rs`), and evaluated over JSON (`expressions/values.rs`). Rules of custom kinds, admission
//! policies and match conditions stand on this; only this module names the engine.

pub mod analysis;
pub mod authorizer;
mod budget;
mod nesting;
mod operators;
mod position;
mod structs;
mod values;

use std::collections::BTreeMap;

use kube_cel::KubeCelExt;
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as Cel};
use serde_json::Value;

pub use analysis::{Known, Variables};
use position::error_text;
pub use values::{RESERVED, from_json, optional, to_json};

/// Longer expressions are refused.
const SOURCE_CHARS_MAX: usize = 64 * 1024;
/// Deeper ones too.
const DEPTH_MAX: u16 = 96;
/// What one expression may cost by estimate, in upstream's units.
pub const COST_MAX: u64 = 10_000_000;

/// A compiled expression.
pub struct Expression {
    pub source: String,
    tree: IdedExpr,
    /// The same with payments: what is evaluated.
    metered: IdedExpr,
}

/// What an expression may be evaluated with.
#[derive(Default, Clone)]
pub struct Scope(BTreeMap<String, Cel>);

impl Scope {
    pub fn with(mut self, name: &str, value: Cel) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub fn set(&mut self, name: &str, value: Cel) {
        self.0.insert(name.to_owned(), value);
    }
}

thread_local! {
    /// Functions are registered once for each thread: there are hundreds, and a context is not shared between threads.
    static FUNCTIONS: Context<'static> = {
        let mut context = Context::default().with_all();
        authorizer::register(&mut context);
        budget::register(&mut context);
        context
    };
}

impl Expression {
    /// The error is what upstream's compiler would say behind `compilation failed: `.
    pub fn compile(source: &str, variables: &Variables<'_>) -> Result<Self, String> {
        if source.chars().count() > SOURCE_CHARS_MAX {
            return Err(format!("expression is too long: at most {SOURCE_CHARS_MAX} characters"));
        }
        nesting::check(source).map_err(|why| error_text(source, &why))?;
        let parser = Parser::new().max_recursion_depth(DEPTH_MAX).enable_optional_syntax(true);
        let tree = parser.parse(source).map_err(|errors| error_text(source, &errors.to_string()))?;
        let tree = structs::as_maps(tree).map_err(|why| error_text(source, &why))?;
        analysis::check(&tree, variables).map_err(|why| error_text(source, &why))?;
        let metered = budget::metered(tree.clone());
        Ok(Self { source: source.to_owned(), tree, metered })
    }

    /// An estimate of what an evaluation costs at worst, in upstream's units.
    pub fn cost(&self, variables: &Variables<'_>) -> u64 {
        analysis::cost(&self.tree, variables)
    }

    /// Whether it speaks of this variable.
    pub fn mentions(&self, variable: &str) -> bool {
        self.tree.references().has_variable(variable)
    }

    /// The error is a text for the client.
    pub fn evaluate(&self, scope: &Scope) -> Result<Cel, String> {
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            for (name, value) in &scope.0 {
                context.add_variable_from_value(name.clone(), value.clone());
            }
            budget::begin();
            context.resolve(&self.metered).map_err(|error| error_of(&error))
        })
    }

    pub fn evaluate_bool(&self, scope: &Scope) -> Result<bool, String> {
        match self.evaluate(scope)? {
            Cel::Bool(verdict) => Ok(verdict),
            other => Err(format!("cel expression evaluated to {}, which is no bool", other.type_of())),
        }
    }

    /// A text, for messages; blank and many-lined ones count as none.
    pub fn evaluate_message(&self, scope: &Scope) -> Option<String> {
        match self.evaluate(scope) {
            Ok(Cel::String(text)) => {
                let text = text.trim().to_owned();
                (!text.is_empty() && !text.contains('\n') && text.len() <= 5 * 1024).then_some(text)
            }
            _ => None,
        }
    }

    pub fn evaluate_json(&self, scope: &Scope) -> Result<Value, String> {
        to_json(&self.evaluate(scope)?)
    }
}

/// In cel-go's words where they are known.
fn error_of(error: &ExecutionError) -> String {
    if let Some(exceeded) = budget::exceeded(error) {
        return exceeded.to_owned();
    }
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to '{name}'"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn evaluated(source: &str, scope: &[(&str, Value)]) -> String {
        let names: Vec<(&str, Known<'_>)> = scope.iter().map(|(name, _)| (*name, Known::Anything)).collect();
        let expression = match Expression::compile(source, &Variables::new(names)) {
            Ok(expression) => expression,
            Err(why) => return why,
        };
        let scope =
            scope.iter().fold(Scope::default(), |scope, (name, value)| scope.with(name, from_json(value, None)));
        expression.evaluate_json(&scope).map_or_else(|why| why, |value| value.to_string())
    }

    #[test]
    fn expressions_of_real_policies_are_evaluated() {
        let object = json!({ "spec": { "replicas": 3, "list": ["a", "b"], "a-b": 1 }, "metadata": { "name": "web" } });
        for (source, found) in [
            ("object.spec.replicas <= 5", "true"),
            ("has(object.spec.missing)", "false"),
            ("object.spec.list.all(x, x.size() == 1)", "true"),
            ("object.spec.list.exists(x, x == 'c')", "false"),
            ("object.metadata.name.startsWith('w') ? 'yes' : 'no'", "\"yes\""),
            ("object.spec.a__dash__b", "1"),
            ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", "true"),
            ("object.spec.?missing.orValue(7)", "7"),
            ("Object{spec: Object.spec{replicas: 1}}", r#"{"spec":{"replicas":1}}"#),
            ("object.spec.missing", "no such key: missing"),
            ("1/0", "division by zero"),
        ] {
            assert_eq!(evaluated(source, &[("object", object.clone())]), found, "{source}");
        }
        let many: Vec<usize> = (0..500).collect();
        let squared = "object.all(a, object.all(b, object.all(c, a + b + c >= 0)))";
        let spent = "operation cancelled: actual cost limit exceeded";
        assert_eq!(evaluated(squared, &[("object", many.clone().into())]), spent);
        assert_eq!(evaluated("object.filter(a, a > 497).map(a, a + 1)", &[("object", many.into())]), "[499,500]");
        for bad in ["object.", "nobody.spec", "unheard('x')", "Thing{a: 1}"] {
            assert!(evaluated(bad, &[("object", object.clone())]).starts_with("ERROR"), "{bad}");
        }
    }
}
