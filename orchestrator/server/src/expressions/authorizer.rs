//! `authorizer` in expressions: whether the caller may do something else than what is asked for.
//! `authorizer.group('apps').resource('deployments').namespace('x').check('create').allowed()`

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, Value as Cel};

use crate::seams::{Attributes, Authorize, Decision, Identity};

/// What has been said so far of the question.
#[derive(Clone)]
struct Question {
    authorizer: Arc<dyn Authorize>,
    identity: Arc<Identity>,
    attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer(Decision);

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("identity", &self.identity.user).field("attributes", &self.attributes).finish()
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity && self.attributes == other.attributes
    }
}

impl Eq for Question {}

impl Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

/// The variable `authorizer`.
pub fn authorizer(authorizer: Arc<dyn Authorize>, identity: &Identity) -> Cel {
    ask(authorizer, identity, Attributes::default())
}

/// The variable `authorizer.requestResource`'s twin: the question of the request itself.
pub fn ask(authorizer: Arc<dyn Authorize>, identity: &Identity, attributes: Attributes) -> Cel {
    Cel::Opaque(Arc::new(Question { authorizer, identity: Arc::new(identity.clone()), attributes }))
}

type Result<T> = std::result::Result<T, ExecutionError>;

fn changed(this: &Cel, function: &str, change: impl FnOnce(&mut Question)) -> Result<Cel> {
    let Cel::Opaque(opaque) = this else { return Err(ExecutionError::function_error(function, "no such overload")) };
    let question = opaque.downcast_ref::<Question>();
    let mut question = question.cloned().ok_or_else(|| ExecutionError::function_error(function, "no such overload"))?;
    change(&mut question);
    Ok(Cel::Opaque(Arc::new(question)))
}

fn answer(this: &Cel, function: &str) -> Result<Answer> {
    let Cel::Opaque(opaque) = this else { return Err(ExecutionError::function_error(function, "no such overload")) };
    let answer = opaque.downcast_ref::<Answer>().cloned();
    answer.ok_or_else(|| ExecutionError::function_error(function, "no such overload"))
}

fn judged(this: &Cel, verb: &str) -> Result<Cel> {
    let Cel::Opaque(opaque) = this else { return Err(ExecutionError::function_error("check", "no such overload")) };
    let question = opaque.downcast_ref::<Question>();
    let question = question.ok_or_else(|| ExecutionError::function_error("check", "no such overload"))?;
    let attributes = Attributes { verb: verb.to_owned(), ..question.attributes.clone() };
    let decision = question.authorizer.authorize(&question.identity, &attributes);
    Ok(Cel::Opaque(Arc::new(Answer(decision))))
}

fn text(text: String) -> Cel {
    Cel::String(Arc::new(text))
}

/// Adds the library's functions.
pub fn register(context: &mut Context<'_>) {
    context.add_function("group", |This(this): This<Cel>, name: Arc<String>| {
        changed(&this, "group", |question| question.attributes.group = name.to_string())
    });
    context.add_function("resource", |This(this): This<Cel>, name: Arc<String>| {
        changed(&this, "resource", |question| {
            question.attributes.resource = name.to_string();
            question.attributes.version = "*".to_owned();
        })
    });
    context.add_function("subresource", |This(this): This<Cel>, name: Arc<String>| {
        changed(&this, "subresource", |question| question.attributes.subresource = name.to_string())
    });
    context.add_function("namespace", |This(this): This<Cel>, name: Arc<String>| {
        changed(&this, "namespace", |question| question.attributes.namespace = name.to_string())
    });
    context.add_function("name", |This(this): This<Cel>, name: Arc<String>| {
        changed(&this, "name", |question| question.attributes.name = name.to_string())
    });
    context.add_function("path", |This(this): This<Cel>, path: Arc<String>| {
        changed(&this, "path", |question| question.attributes.path = Some(path.to_string()))
    });
    context.add_function("serviceAccount", |This(this): This<Cel>, namespace: Arc<String>, name: Arc<String>| {
        changed(&this, "serviceAccount", |question| {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let groups =
                ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
            question.identity = Arc::new(Identity::new(user, &groups));
        })
    });
    for ignored in ["fieldSelector", "labelSelector"] {
        context.add_function(ignored, move |This(this): This<Cel>, _selector: Arc<String>| {
            changed(&this, ignored, |_| {})
        });
    }
    context.add_function("check", |This(this): This<Cel>, verb: Arc<String>| judged(&this, &verb));
    context.add_function("allowed", |This(this): This<Cel>| {
        answer(&this, "allowed").map(|answer| matches!(answer.0, Decision::Allowed { .. }))
    });
    context.add_function("reason", |This(this): This<Cel>| {
        answer(&this, "reason").map(|answer| match answer.0 {
            Decision::Allowed { reason } | Decision::Denied { reason } => text(reason),
        })
    });
    context.add_function("errored", |This(this): This<Cel>| answer(&this, "errored").map(|_| false));
    context.add_function("error", |This(this): This<Cel>| answer(&this, "error").map(|_| text(String::new())));
    context.add_function("dyn", |value: Cel| -> Result<Cel> { Ok(value) });
}
