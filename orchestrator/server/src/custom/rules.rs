//! `x-kubernetes-validations`: CEL rules of a schema, compiled with it and evaluated over an object and what it was.

use std::collections::BTreeMap;

use amphipod_schema::Structural;
use amphipod_schema::structural::Additional;
use amphipod_schema::table::ListType;
use serde_json::Value;

use crate::expressions::{self, COST_MAX, Expression, Known, Scope, Variables, analysis};
use crate::kinds::Problem;
use crate::kinds::json::{entries, is_set, items, text};

/// What all rules of one schema may cost by estimate.
const SCHEMA_COST_MAX: u64 = 100_000_000;
const BUDGET_ADVICE: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The rules of a schema, node by node; nodes without any below them are left out.
#[derive(Default)]
pub struct Rules {
    own: Vec<Rule>,
    schema: Structural,
    members: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
}

struct Rule {
    rule: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
    field_path: String,
    optional_old_self: bool,
}

fn variables<'s>(schema: &'s Structural, is_root: bool) -> Variables<'s> {
    let own = Known::Schema(schema, is_root);
    Variables::new([("self", own), ("oldSelf", own)])
}

fn with_optional_old<'s>(schema: &'s Structural, is_root: bool, optional: bool) -> Variables<'s> {
    if !optional {
        return variables(schema, is_root);
    }
    Variables::new([("self", Known::Schema(schema, is_root)), ("oldSelf", Known::Anything)])
}

impl Rules {
    /// Rules that do not compile were refused with their definition; here they are passed over.
    pub fn compile(schema: &Value) -> Self {
        Self::node(Structural::read(schema), true)
    }

    fn node(schema: Structural, is_root: bool) -> Self {
        let own = schema.rules.iter().filter_map(|rule| Rule::compile(rule, &schema, is_root)).collect();
        let below = |schema: &Structural| Some(Self::node(schema.clone(), false)).filter(Self::is_any);
        let members = schema.properties.iter().filter_map(|(name, schema)| Some((name.clone(), below(schema)?)));
        Self {
            own,
            members: members.collect(),
            items: schema.items.as_deref().and_then(below).map(Box::new),
            additional: match &schema.additional {
                Additional::Schema(schema) => below(schema).map(Box::new),
                _ => None,
            },
            schema,
        }
    }

    pub fn is_any(&self) -> bool {
        !self.own.is_empty() || !self.members.is_empty() || self.items.is_some() || self.additional.is_some()
    }

    /// What rules have against an object. Rules about changes are asked only where an old value stands beside the new;
    /// parts that did not change are not judged again.
    pub fn problems(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.walk(object, (old, ""), &mut problems);
        problems
    }

    fn walk(&self, value: &Value, (old, path): (Option<&Value>, &str), problems: &mut Vec<Problem>) {
        if value.is_null() {
            return;
        }
        if !self.own.is_empty() {
            let bound = Bound::new(value, old, &self.schema);
            let same = old == Some(value);
            problems.extend(self.own.iter().filter_map(|rule| rule.verdict(&bound, same, &self.schema, path)));
        }
        for (name, below) in &self.members {
            if let Some(member) = value.get(name) {
                below.walk(member, (old.and_then(|old| old.get(name)), &child(path, name)), problems);
            }
        }
        if let Some(below) = &self.additional {
            let others = entries(value).filter(|(name, _)| !self.schema.properties.contains_key(*name));
            for (name, member) in others {
                below.walk(member, (old.and_then(|old| old.get(name)), &format!("{path}[{name}]")), problems);
            }
        }
        if let Some(below) = &self.items {
            for (index, item) in items(value).iter().enumerate() {
                let before = old.and_then(|old| correlated(item, old, &self.schema));
                below.walk(item, (before, &format!("{path}[{index}]")), problems);
            }
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The same element before, where lists have keys.
fn correlated<'v>(item: &Value, old: &'v Value, schema: &Structural) -> Option<&'v Value> {
    let old = old.as_array().filter(|_| schema.list_type == Some(ListType::Map))?;
    old.iter().find(|before| schema.list_map_keys.iter().all(|key| before.get(key) == item.get(key)))
}

/// The variables of a node's rules, made once for all of them.
struct Bound {
    scope: Scope,
    optional: Scope,
    has_old: bool,
}

impl Bound {
    fn new(value: &Value, old: Option<&Value>, schema: &Structural) -> Self {
        let own = Scope::default().with("self", expressions::from_json(value, Some(schema)));
        let old = old.map(|old| expressions::from_json(old, Some(schema)));
        let optional = own.clone().with("oldSelf", expressions::optional(old.clone()));
        let has_old = old.is_some();
        let scope = old.into_iter().fold(own, |scope, old| scope.with("oldSelf", old));
        Self { scope, optional, has_old }
    }
}

impl Rule {
    fn compile(rule: &Value, schema: &Structural, is_root: bool) -> Option<Self> {
        let optional_old_self = rule["optionalOldSelf"] == true;
        let variables = with_optional_old(schema, is_root, optional_old_self);
        let compiled = Expression::compile(text(&rule["rule"]), &variables).ok()?;
        let message = rule["messageExpression"].as_str().filter(|source| !source.is_empty());
        Some(Self {
            rule: compiled,
            message: text(&rule["message"]).to_owned(),
            message_expression: message.and_then(|source| Expression::compile(source, &variables).ok()),
            reason: text(&rule["reason"]).to_owned(),
            field_path: text(&rule["fieldPath"]).to_owned(),
            optional_old_self,
        })
    }

    fn verdict(&self, bound: &Bound, same: bool, schema: &Structural, path: &str) -> Option<Problem> {
        let is_transition = self.rule.mentions("oldSelf");
        if is_transition && !self.optional_old_self && !bound.has_old {
            return None;
        }
        if same && !is_transition {
            return None;
        }
        let scope = if self.optional_old_self { &bound.optional } else { &bound.scope };
        let field = match self.field_path.as_str() {
            _ if path.is_empty() && self.field_path.is_empty() => "<nil>".to_owned(),
            "" => path.to_owned(),
            below => format!("{path}{below}").trim_start_matches('.').to_owned(),
        };
        let ty = schema.ty.name();
        match self.rule.evaluate_bool(scope) {
            Ok(true) => None,
            Ok(false) => Some(self.failed(scope, field, ty)),
            Err(why) => {
                let named = if self.message.is_empty() { self.rule.source.trim() } else { self.message.as_str() };
                Some(Problem::invalid(field, ty, &format!("{why} evaluating rule: {named}")))
            }
        }
    }

    fn failed(&self, scope: &Scope, field: String, ty: &str) -> Problem {
        let computed = self.message_expression.as_ref().and_then(|message| message.evaluate_message(scope));
        let detail = computed.unwrap_or_else(|| match self.message.trim() {
            "" => format!("failed rule: {}", self.rule.source.trim()),
            message => message.to_owned(),
        });
        match self.reason.as_str() {
            "FieldValueForbidden" => Problem::forbidden(field, &detail),
            "FieldValueRequired" => Problem::required(field, &detail),
            "FieldValueDuplicate" => Problem::duplicate(field, ty),
            _ => Problem::invalid(field, ty, &detail),
        }
    }
}

/// What is wrong with the rules of a schema that stands at `path` in its definition.
pub fn check(schema: &Value, path: &str) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new(), cost: 0 };
    checker.node(schema, path, (1, true));
    if checker.cost > SCHEMA_COST_MAX {
        let factor = factor(checker.cost, SCHEMA_COST_MAX);
        let detail = format!(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {factor} {BUDGET_ADVICE}"
        );
        checker.problems.push(Problem::forbidden(path, &detail));
    }
    checker.problems
}

fn factor(cost: u64, budget: u64) -> String {
    let times = cost as f64 / budget as f64;
    if times > 100.0 { "more than 100x".to_owned() } else { format!("{times:.1}x") }
}

struct Checker {
    problems: Vec<Problem>,
    cost: u64,
}

impl Checker {
    /// `times`: how often the node stands in an object at most.
    fn node(&mut self, schema: &Value, path: &str, (times, is_root): (u64, bool)) {
        if !schema.is_object() {
            return;
        }
        if !items(&schema["x-kubernetes-validations"]).is_empty() {
            let structural = Structural::read(schema);
            for (index, rule) in items(&schema["x-kubernetes-validations"]).iter().enumerate() {
                self.rule(rule, &format!("{path}.x-kubernetes-validations[{index}]"), (&structural, times, is_root));
            }
        }
        for (name, below) in entries(&schema["properties"]) {
            self.node(below, &format!("{path}.properties[{name}]"), (times, false));
        }
        for name in ["items", "additionalProperties"] {
            if schema[name].is_object() {
                let structural = Structural::read(schema);
                let many = times.saturating_mul(analysis::length(Known::Schema(&structural, false)));
                self.node(&schema[name], &format!("{path}.{name}"), (many, false));
            }
        }
    }

    fn rule(&mut self, rule: &Value, path: &str, (schema, times, is_root): (&Structural, u64, bool)) {
        let source = text(&rule["rule"]);
        if source.trim().is_empty() {
            return self.problems.push(Problem::required(format!("{path}.rule"), "rule is not specified"));
        }
        self.texts(rule, path);
        let optional = rule["optionalOldSelf"] == true;
        let variables = with_optional_old(schema, is_root, optional);
        match Expression::compile(source, &variables) {
            Ok(compiled) => {
                let cost = compiled.cost(&variables).saturating_mul(times);
                self.cost = self.cost.saturating_add(cost);
                if cost > COST_MAX {
                    let factor = factor(cost, COST_MAX);
                    let detail = format!("estimated rule cost exceeds budget by factor of {factor} {BUDGET_ADVICE}");
                    self.problems.push(Problem::forbidden(format!("{path}.rule"), &detail));
                }
                if is_set(&rule["optionalOldSelf"]) && !compiled.mentions("oldSelf") {
                    let detail = "may not be set if oldSelf is not used in rule";
                    let value = rule["optionalOldSelf"].clone();
                    self.problems.push(Problem::invalid(format!("{path}.optionalOldSelf"), value, detail));
                }
            }
            Err(why) => {
                let detail = format!("compilation failed: {why}");
                self.problems.push(Problem::invalid(format!("{path}.rule"), rule.clone(), &detail));
            }
        }
        let message = rule["messageExpression"].as_str().filter(|source| !source.is_empty());
        if let Some(Err(why)) = message.map(|source| Expression::compile(source, &variables)) {
            let detail = format!("messageExpression compilation failed: {why}");
            self.problems.push(Problem::invalid(format!("{path}.messageExpression"), rule.clone(), &detail));
        }
        let field = text(&rule["fieldPath"]);
        if !field.is_empty() && !points_into(schema, field) {
            let detail = "fieldPath must be a valid path";
            self.problems.push(Problem::invalid(format!("{path}.fieldPath"), field, detail));
        }
    }

    fn texts(&mut self, rule: &Value, path: &str) {
        if let Some(message) = rule["message"].as_str().filter(|message| !message.is_empty()) {
            if message.trim().is_empty() {
                let detail = "message must be non-empty if specified";
                self.problems.push(Problem::invalid(format!("{path}.message"), message, detail));
            } else if message.contains(['\n', '\r']) {
                let detail = "message must not contain line breaks";
                self.problems.push(Problem::invalid(format!("{path}.message"), message, detail));
            }
        } else if text(&rule["rule"]).trim().contains(['\n', '\r']) && text(&rule["messageExpression"]).is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.problems.push(Problem::required(format!("{path}.message"), detail));
        }
        let reason = text(&rule["reason"]);
        if !reason.is_empty() && !REASONS.contains(&reason) {
            self.problems.push(Problem::not_supported(format!("{path}.reason"), reason, REASONS));
        }
    }
}

/// `.spec.x` or `.map['key']`, down from the node that the rule stands at.
fn points_into(schema: &Structural, path: &str) -> bool {
    let flat = path.replace("['", ".").replace("']", "");
    let Some(steps) = flat.strip_prefix('.') else { return false };
    let found = steps.split('.').try_fold(schema, |schema, step| schema.member(step));
    found.is_some() && !path.contains("[0") && !path.ends_with('.')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn shown(problems: Vec<Problem>) -> String {
        problems.iter().map(|problem| format!("{}: {}\n", problem.field, problem.message)).collect()
    }

    fn judged(schema: Value, object: Value, old: Option<Value>, expected: Expect) {
        assert_eq!(shown(check(&schema, "schema")), "");
        expected.assert_eq(&shown(Rules::compile(&schema).problems(&object, old.as_ref())));
    }

    fn schema(rules: Value) -> Value {
        json!({ "type": "object", "properties": { "spec": {
            "type": "object", "x-kubernetes-validations": rules,
            "properties": { "min": { "type": "integer" }, "max": { "type": "integer" }, "name": { "type": "string" } },
        } } })
    }

    #[test]
    fn a_broken_rule_is_told_with_its_message() {
        let rules = json!([
            { "rule": "self.min <= self.max", "message": "min is above max" },
            { "rule": "self.min > 0", "messageExpression": "'min is ' + string(self.min)", "fieldPath": ".min" },
            { "rule": "self.name.size() > 0", "reason": "FieldValueForbidden" },
        ]);
        judged(
            schema(rules),
            json!({ "spec": { "min": 0, "max": -1, "name": "" } }),
            None,
            expect![[r#"
                spec: Invalid value: "object": min is above max
                spec.min: Invalid value: "object": min is 0
                spec: Forbidden: failed rule: self.name.size() > 0
            "#]],
        );
    }

    #[test]
    fn rules_about_changes_need_something_that_changed() {
        let rules = json!([{ "rule": "self.name == oldSelf.name", "message": "name is immutable" }]);
        let new = json!({ "spec": { "name": "b" } });
        judged(schema(rules.clone()), new.clone(), None, expect![[""]]);
        judged(
            schema(rules),
            new,
            Some(json!({ "spec": { "name": "a" } })),
            expect![[r#"
                spec: Invalid value: "object": name is immutable
            "#]],
        );
    }

    #[test]
    fn an_optional_old_self_is_asked_for() {
        let rules = json!([{ "rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true, "message": "starts at 0" }]);
        judged(
            schema(rules),
            json!({ "spec": { "min": 4 } }),
            None,
            expect![[r#"
                spec: Invalid value: "object": starts at 0
            "#]],
        );
    }

    #[test]
    fn a_missing_field_is_an_error_of_the_rule() {
        judged(
            schema(json!([{ "rule": "self.min > 0" }])),
            json!({ "spec": {} }),
            None,
            expect![[r#"
                spec: Invalid value: "object": no such key: min evaluating rule: self.min > 0
            "#]],
        );
    }

    #[test]
    fn bad_rules_are_refused_with_their_definition() {
        let faults = |rule: Value| shown(check(&schema(json!([rule])), "s"));
        expect![[r#"
            s.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
        "#]]
        .assert_eq(&faults(json!({ "rule": " " })));
        assert!(faults(json!({ "rule": "self.nothing == 1" })).contains("undefined field 'nothing'"));
        assert!(faults(json!({ "rule": "self.min ==" })).contains("compilation failed"));
        assert!(faults(json!({ "rule": "self.min > 0", "fieldPath": ".other" })).contains("must be a valid path"));
        assert!(faults(json!({ "rule": "self.min > 0", "reason": "Odd" })).contains("Unsupported value: \"Odd\""));
    }

    #[test]
    fn unbounded_nesting_is_too_dear() {
        let list = json!({ "type": "array", "items": { "type": "string" } });
        let schema = json!({ "type": "object", "properties": { "a": list, "b": list }, "x-kubernetes-validations": [
            { "rule": "self.a.all(x, self.b.exists(y, x == y))" },
        ] });
        assert!(shown(check(&schema, "s")).contains("estimated rule cost exceeds budget by factor of more than 100x"));
    }
}
