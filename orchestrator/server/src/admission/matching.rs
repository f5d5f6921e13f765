//! Which requests a webhook or a policy is asked about: rules, then selectors of namespaces and objects. What conditions
//! in CEL may speak of is made here, too.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::expressions::{self, Expression, Known, Scope as Names, Variables, authorizer};
use crate::kinds::Scope;
use crate::kinds::json::{entries, is_set, items, text};
use crate::registry::Entry;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Attributes, Operation};
use crate::selectors::Selector;
use crate::subresources::selector_text;
use crate::{versions, write};

/// Rules and selectors of one webhook, policy or binding, read once.
pub struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
    equivalent: bool,
}

struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

/// Resources that decide about others and so are decided by nobody.
const EXEMPT: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

pub fn is_exempt(request: &AdmissionRequest<'_>) -> bool {
    request.kind.group == "admissionregistration.k8s.io" && EXEMPT.contains(&request.kind.plural)
}

pub fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn texts(value: &Value) -> Vec<String> {
    items(value).iter().map(|one| text(one).to_owned()).collect()
}

impl Rule {
    fn of(rule: &Value) -> Self {
        Self {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            scope: text(&rule["scope"]).to_owned(),
        }
    }

    fn matches(&self, request: &AdmissionRequest<'_>, entry: &Entry) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        let scope_fits = match (self.scope.as_str(), request.namespace, entry.kind.scope) {
            ("Namespaced", _, scope) => scope == Scope::Namespaced,
            ("Cluster", _, scope) => scope == Scope::Cluster,
            _ => true,
        };
        scope_fits
            && has(&self.operations, operation(request.operation))
            && has(&self.groups, entry.kind.group)
            && has(&self.versions, entry.kind.version)
            && self.resources.iter().any(|wanted| names_resource(wanted, entry.kind.plural, request.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name))
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*`, `*/*`.
fn names_resource(wanted: &str, resource: &str, subresource: &str) -> bool {
    let (want, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
    (want == "*" || want == resource) && (sub == "*" || sub == subresource)
}

impl Matcher {
    /// `rules` and selectors as a webhook has them.
    pub fn of_webhook(hook: &Value) -> Self {
        Self::new(hook, "rules")
    }

    /// `matchConstraints` or `matchResources` of a policy.
    pub fn of_resources(resources: &Value) -> Self {
        Self::new(resources, "resourceRules")
    }

    fn new(holder: &Value, rules: &str) -> Self {
        let selector = |name: &str| {
            let selector = &holder[name];
            let is_any = entries(selector).next().is_none();
            if is_any { None } else { Selector::labels(&selector_text(selector)).ok() }
        };
        Self {
            rules: items(&holder[rules]).iter().map(Rule::of).collect(),
            excluded: items(&holder["excludeResourceRules"]).iter().map(Rule::of).collect(),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            equivalent: holder["matchPolicy"] != "Exact",
        }
    }

    /// Whether the request is one of these, and as which version of its resource.
    pub fn matches(&self, request: &AdmissionRequest<'_>) -> Option<Arc<Entry>> {
        let entry = self.matched(request, &self.rules)?;
        let excluded = !self.excluded.is_empty() && self.matched(request, &self.excluded).is_some();
        (!excluded && self.selects(request)).then_some(entry)
    }

    /// A binding may leave its rules out: then the policy's count.
    pub fn is_without_rules(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn selects(&self, request: &AdmissionRequest<'_>) -> bool {
        self.selects_namespace(request) && self.selects_object(request)
    }

    fn matched(&self, request: &AdmissionRequest<'_>, rules: &[Rule]) -> Option<Arc<Entry>> {
        let registry = &request.cluster.registry;
        let own = registry.find(request.kind.group, request.kind.version, request.kind.plural)?;
        if rules.iter().any(|rule| rule.matches(request, own)) {
            return Some(own.clone());
        }
        let twins = registry.entries().iter().filter(|twin| {
            !twin.kind.storage.is_empty() && twin.kind.storage == own.kind.storage && !Arc::ptr_eq(twin, own)
        });
        let mut twins = twins.filter(|_| self.equivalent);
        twins.find(|twin| rules.iter().any(|rule| rule.matches(request, twin))).cloned()
    }

    fn selects_namespace(&self, request: &AdmissionRequest<'_>) -> bool {
        let Some(selector) = &self.namespaces else { return true };
        if request.kind.group.is_empty() && request.kind.plural == "namespaces" {
            let object = request.object.as_ref().or(request.old);
            return object.is_some_and(|object| selector.matches_labels(&labels(object)));
        }
        if request.namespace.is_empty() {
            return true;
        }
        let namespace = request.cluster.get("namespaces", "", request.namespace);
        namespace.is_some_and(|namespace| selector.matches_labels(&labels(&namespace)))
    }

    fn selects_object(&self, request: &AdmissionRequest<'_>) -> bool {
        let Some(selector) = &self.objects else { return true };
        let mut sides = [request.object.as_ref(), request.old].into_iter().flatten();
        sides.any(|object| selector.matches_labels(&labels(object)))
    }
}

fn labels(object: &Value) -> Vec<(String, String)> {
    let labels = entries(&object["metadata"]["labels"]);
    labels.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

/// The request as reviews and expressions see it, without objects. `entry` is the version that was matched.
pub fn described(request: &AdmissionRequest<'_>, entry: &Entry, uid: &str) -> Value {
    let named = |entry: &Entry| {
        let (group, version) = (entry.kind.group, entry.kind.version);
        let kind = json!({ "group": group, "version": version, "kind": entry.kind.kind });
        (kind, json!({ "group": group, "version": version, "resource": entry.kind.plural }))
    };
    let ((mut kind, resource), (mut own_kind, own_resource)) = (named(entry), named(request.entry));
    if let Some((group, version, name)) = request.own_kind() {
        kind = json!({ "group": group, "version": version, "kind": name });
        own_kind = kind.clone();
    }
    let identity = request.identity;
    let mut user = json!({ "username": identity.user, "groups": identity.groups });
    if let Some(uid) = &identity.uid {
        user["uid"] = uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    let options = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => "",
    };
    let options = match options {
        "" => Value::Null,
        kind => json!({ "kind": kind, "apiVersion": "meta.k8s.io/v1" }),
    };
    let mut described = json!({
        "uid": uid, "kind": kind, "resource": resource, "requestKind": own_kind, "requestResource": own_resource,
        "name": request.name, "operation": operation(request.operation), "userInfo": user,
        "dryRun": request.dry_run, "options": options,
    });
    if !request.namespace.is_empty() {
        described["namespace"] = request.namespace.into();
    }
    if !request.subresource.is_empty() {
        described["subResource"] = request.subresource.into();
        described["requestSubResource"] = request.subresource.into();
    }
    described
}

/// A request's body as the version of its resource that was matched. A subresource's own kind has one version.
pub async fn seen(request: &AdmissionRequest<'_>, entry: &Entry, value: Option<&Value>) -> Result<Value, Status> {
    match value {
        None => Ok(Value::Null),
        Some(value) if request.own_kind().is_some() => Ok(value.clone()),
        Some(value) => versions::between(request.cluster, (request.entry, entry), value.clone()).await,
    }
}

/// A body that was changed as this version, back in the request's own: defaulted again, and in Go's shape.
pub async fn taken_back(request: &AdmissionRequest<'_>, entry: &Entry, value: Value) -> Result<Value, Status> {
    if request.own_kind().is_none() {
        let mut value = versions::between(request.cluster, (entry, request.entry), value).await?;
        write::fill_defaults(&mut value, request.entry);
        write::shape(&mut value, request.entry);
        return Ok(value);
    }
    let mut value = value;
    if let Some(ty) = request.body_type() {
        amphipod_schema::fill_defaults(&mut value, ty);
        amphipod_schema::prune_empty(&mut value, ty);
    }
    Ok(value)
}

/// What conditions may speak of.
pub fn condition_variables() -> Variables<'static> {
    Variables::new(["object", "oldObject", "request", "authorizer"].map(|name| (name, Known::Anything)))
}

/// The same names with their values; `sides` are the new object and the old one.
pub fn scope(request: &AdmissionRequest<'_>, entry: &Entry, sides: (&Value, &Value)) -> Names {
    let described = described(request, entry, "");
    let authorizer_of = request.cluster.authorizer.clone();
    Names::default()
        .with("object", expressions::from_json(sides.0, None))
        .with("oldObject", expressions::from_json(sides.1, None))
        .with("request", expressions::from_json(&described, None))
        .with("authorizer", authorizer::authorizer(authorizer_of, request.identity))
        .with(
            "authorizer.requestResource",
            authorizer::ask(request.cluster.authorizer.clone(), request.identity, asked(request)),
        )
}

fn asked(request: &AdmissionRequest<'_>) -> Attributes {
    Attributes {
        group: request.kind.group.to_owned(),
        version: request.kind.version.to_owned(),
        resource: request.kind.plural.to_owned(),
        subresource: request.subresource.to_owned(),
        namespace: request.namespace.to_owned(),
        name: request.name.to_owned(),
        ..Attributes::default()
    }
}

/// `matchConditions`, compiled; those that do not compile fail each time they are asked.
pub struct Conditions(Vec<(String, Result<Expression, String>)>);

impl Conditions {
    pub fn of(list: &Value, variables: &Variables<'_>) -> Self {
        let compiled = items(list).iter().map(|condition| {
            let expression = Expression::compile(text(&condition["expression"]), variables);
            (text(&condition["name"]).to_owned(), expression)
        });
        Self(compiled.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that is false decides, whatever goes wrong with the others; else the first error is told.
    pub fn hold(&self, scope: &Names) -> Result<bool, String> {
        let mut failed = None;
        for (name, expression) in &self.0 {
            let verdict =
                expression.as_ref().map_err(Clone::clone).and_then(|expression| expression.evaluate_bool(scope));
            match verdict {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => drop(failed.get_or_insert(format!("match condition {name:?}: {why}"))),
            }
        }
        failed.map_or(Ok(true), Err)
    }
}

/// Whether a field is there and true of anything but null.
pub fn given(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| is_set(value))
}
