//! Admission policies: rules in CEL that the server itself applies, where a binding says so and with the parameters that
//! it names. What both kinds of policy share is here; `validating.rs` refuses, `mutating.rs` changes.

pub mod mutating;
pub mod typing;
pub mod validating;

use std::sync::Arc;

use serde_json::Value;

use super::matching::{Conditions, Matcher, given, scope, seen};
use crate::expressions::{self, Expression, Known, Scope, Variables};
use crate::kinds::json::{entries, items, text};
use crate::registry::Entry;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Cluster};
use crate::selectors::Selector;
use crate::subresources::selector_text;

/// What every policy has.
pub struct Policy {
    pub name: String,
    matcher: Matcher,
    conditions: Conditions,
    variables: Vec<(String, Result<Expression, String>)>,
    param_kind: Option<(String, String)>,
    pub ignores_failure: bool,
}

/// Where a policy holds, and with what.
pub struct Binding {
    pub name: String,
    pub policy: String,
    matcher: Option<Matcher>,
    param_ref: Value,
    pub actions: Vec<String>,
}

/// The names that expressions of this policy may use.
pub fn variables(spec: &Value) -> Variables<'static> {
    let mut names = vec!["object", "oldObject", "request", "authorizer", "namespaceObject", "variables"];
    if given(&spec["paramKind"]).is_some() {
        names.push("params");
    }
    Variables::new(names.into_iter().map(|name| (name, Known::Anything)))
}

impl Policy {
    pub fn of(policy: &Value) -> Self {
        let (spec, known) = (&policy["spec"], variables(&policy["spec"]));
        let kind = given(&spec["paramKind"])
            .map(|kind| (text(&kind["apiVersion"]).to_owned(), text(&kind["kind"]).to_owned()));
        let compiled = items(&spec["variables"]).iter().map(|variable| {
            let expression = Expression::compile(text(&variable["expression"]), &known);
            (text(&variable["name"]).to_owned(), expression)
        });
        Self {
            name: text(&policy["metadata"]["name"]).to_owned(),
            matcher: Matcher::of_resources(&spec["matchConstraints"]),
            conditions: Conditions::of(&spec["matchConditions"], &known),
            variables: compiled.collect(),
            param_kind: kind,
            ignores_failure: spec["failurePolicy"] == "Ignore",
        }
    }
}

pub fn bindings(binding: Value) -> Vec<Binding> {
    let spec = &binding["spec"];
    vec![Binding {
        name: text(&binding["metadata"]["name"]).to_owned(),
        policy: text(&spec["policyName"]).to_owned(),
        matcher: given(&spec["matchResources"]).map(Matcher::of_resources),
        param_ref: spec["paramRef"].clone(),
        actions: items(&spec["validationActions"]).iter().map(|action| text(action).to_owned()).collect(),
    }]
}

/// A policy that holds for a request, with everything that its expressions may speak of.
pub struct Case {
    pub entry: Arc<Entry>,
    pub scope: Scope,
}

/// Why a policy could not be asked; whether that refuses the request, its `failurePolicy` says.
pub enum Trouble {
    Configuration(String),
    Status(Status),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// The cases of one binding: one for each of its parameters, none when it does not concern the request.
pub async fn cases(policy: &Policy, binding: &Binding, request: &AdmissionRequest<'_>) -> Result<Vec<Case>, Trouble> {
    let Some(entry) = policy.matcher.matches(request) else { return Ok(Vec::new()) };
    if let Some(matcher) = &binding.matcher {
        let concerned = match matcher.is_without_rules() {
            true => matcher.selects(request),
            false => matcher.matches(request).is_some(),
        };
        if !concerned {
            return Ok(Vec::new());
        }
    }
    let object = seen(request, &entry, request.object.as_ref()).await?;
    let old = seen(request, &entry, request.old).await?;
    let mut scope = scope(request, &entry, (&object, &old));
    let namespace = match request.namespace {
        "" => Value::Null,
        name => request.cluster.get("namespaces", "", name).unwrap_or(Value::Null),
    };
    scope.set("namespaceObject", expressions::from_json(&namespace, None));
    let mut cases = Vec::new();
    for params in parameters(policy, binding, request)? {
        let mut scope = scope.clone();
        if let Some(params) = params {
            scope.set("params", expressions::from_json(&params, None));
        }
        bind_variables(policy, &mut scope);
        if policy.conditions.hold(&scope).map_err(Trouble::Configuration)? {
            cases.push(Case { entry: entry.clone(), scope });
        }
    }
    Ok(cases)
}

/// Named expressions, each of which may use those before it. One that fails is missing where it is used.
fn bind_variables(policy: &Policy, scope: &mut Scope) {
    let mut made = serde_json::Map::new();
    scope.set("variables", expressions::from_json(&Value::Object(made.clone()), None));
    for (name, expression) in &policy.variables {
        let value = expression.as_ref().map_err(Clone::clone).and_then(|expression| expression.evaluate_json(scope));
        if let Ok(value) = value {
            made.insert(name.clone(), value);
            scope.set("variables", expressions::from_json(&Value::Object(made.clone()), None));
        }
    }
}

/// What `params` is in turn; one absent value when the policy takes none.
fn parameters(
    policy: &Policy,
    binding: &Binding,
    request: &AdmissionRequest<'_>,
) -> Result<Vec<Option<Value>>, Trouble> {
    let Some((api_version, kind)) = &policy.param_kind else { return Ok(vec![None]) };
    let reference = &binding.param_ref;
    if given(reference).is_none() {
        return Ok(vec![Some(Value::Null)]);
    }
    let cluster = request.cluster;
    let Some(entry) = entry_of(cluster, api_version, kind) else {
        let why = format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'");
        return Err(Trouble::Configuration(why));
    };
    let namespace = match (entry.kind.scope, text(&reference["namespace"])) {
        (crate::kinds::Scope::Cluster, _) => "",
        (_, "") => request.namespace,
        (_, namespace) => namespace,
    };
    let found: Vec<Value> = match text(&reference["name"]) {
        "" => {
            let selector = Selector::labels(&selector_text(&reference["selector"])).map_err(Trouble::Configuration)?;
            let all = cluster.list(entry.kind.storage, Some(namespace));
            let labels = |object: &Value| -> Vec<(String, String)> {
                let labels = entries(&object["metadata"]["labels"]);
                labels.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
            };
            all.into_iter().filter(|object| selector.matches_labels(&labels(object))).collect()
        }
        name => cluster.get(entry.kind.storage, namespace, name).into_iter().collect(),
    };
    if !found.is_empty() {
        return Ok(found.into_iter().map(Some).collect());
    }
    match text(&reference["parameterNotFoundAction"]) {
        "Allow" => Ok(Vec::new()),
        _ => Err(Trouble::Configuration(
            "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        )),
    }
}

fn entry_of(cluster: &Cluster, api_version: &str, kind: &str) -> Option<Arc<Entry>> {
    let is_it = |entry: &&Arc<Entry>| entry.kind.kind == kind && entry.api_version() == api_version;
    cluster.registry.entries().iter().find(is_it).cloned()
}
