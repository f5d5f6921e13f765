//! Kinds that are asked and never stored: access, subject and token reviews, and the old way to bind a pod.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::call::{Call, FieldValidation, text};
use crate::kinds::component_status::COMPONENT_STATUS;
use crate::kinds::{Kind, Scope, UpdateRules};
use crate::pipeline::who;
use crate::reply::{self, Status};
use crate::seams::{Attributes, Decision, Identity};
use crate::{body, forms, subresources};

pub static KINDS: &[&Kind] = &[
    &review(("", "bindings", "Binding"), Scope::Namespaced, "io.k8s.api.core.v1.Binding"),
    &review(
        (AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview"),
        Scope::Cluster,
        "io.k8s.api.authentication.v1.SelfSubjectReview",
    ),
    &review(
        (AUTHENTICATION, "tokenreviews", "TokenReview"),
        Scope::Cluster,
        "io.k8s.api.authentication.v1.TokenReview",
    ),
    &review(
        (AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview"),
        Scope::Namespaced,
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    ),
    &review(
        (AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        Scope::Cluster,
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    ),
    &review(
        (AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        Scope::Cluster,
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    ),
    &review(
        (AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview"),
        Scope::Cluster,
        "io.k8s.api.authorization.v1.SubjectAccessReview",
    ),
];

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// A create-only kind. Its plural without the `s` is its singular.
const fn review(
    (group, plural, kind): (&'static str, &'static str, &'static str),
    scope: Scope,
    schema: &'static str,
) -> Kind {
    Kind {
        group,
        version: "v1",
        kind,
        plural,
        singular: plural.split_at(plural.len() - 1).0,
        short_names: &[],
        categories: &[],
        scope,
        verbs: &["create"],
        subresources: &[],
        schema,
        storage: "",
        update: UpdateRules { unconditional: false, creates: false, generation: false },
        defaults: |_| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        fields: |_| Vec::new(),
        field_labels: &[],
        is_custom: false,
        columns: &[],
        row: |_, _| Vec::new(),
    }
}

pub fn is_virtual(kind: &Kind) -> bool {
    let is_said = std::ptr::eq(kind, &COMPONENT_STATUS);
    is_said || KINDS.iter().any(|review| (review.group, review.plural) == (kind.group, kind.plural))
}

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let input = body::object(&call, body, FieldValidation::Warn).await?;
    let mut review = input.value;
    review["apiVersion"] = call.entry.api_version().into();
    review["kind"] = call.kind().kind.into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    match call.kind().kind {
        "Binding" => return subresources::bind(&call, &review).await,
        "SelfSubjectReview" => review["status"] = json!({ "userInfo": user_info(&call.identity) }),
        "TokenReview" => token(&call, &mut review).await?,
        "SelfSubjectRulesReview" => rules(&call, &mut review)?,
        "SelfSubjectAccessReview" => review["status"] = access(&call, &review["spec"], &call.identity)?,
        _ => {
            let subject = subject(&review["spec"])?;
            let namespace = text(&review, &["spec", "resourceAttributes", "namespace"]);
            if call.kind().scope == Scope::Namespaced && namespace != call.namespace() {
                let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
                return Err(Status::bad_request(why));
            }
            review["status"] = access(&call, &review["spec"], &subject)?;
        }
    }
    Ok(reply::created(forms::shaped(&Call { form: crate::accept::Form::Json, ..call }, review.to_string().into())?))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "username": identity.user, "groups": identity.groups });
    if let Some(uid) = &identity.uid {
        info["uid"] = uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

/// The same ways that let requests in judge the token.
async fn token(call: &Call, review: &mut Value) -> Result<(), Status> {
    let token = text(review, &["spec", "token"]).to_owned();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let request = http::Request::builder().header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.body(()).map_err(|_| Status::bad_request("the token is not made of header characters"))?;
    let (parts, ()) = request.into_parts();
    review["status"] = match who(&call.server, &parts).await {
        Ok(identity) if identity != Identity::anonymous() => {
            let mut status = json!({ "authenticated": true, "user": user_info(&identity) });
            if review["spec"]["audiences"].is_array() {
                status["audiences"] = review["spec"]["audiences"].clone();
            }
            status
        }
        _ => json!({ "user": {}, "error": "invalid bearer token" }),
    };
    Ok(())
}

fn rules(call: &Call, review: &mut Value) -> Result<(), Status> {
    let namespace = text(review, &["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = call.server.authorizer.rules(&call.identity, &namespace);
    review["status"] = json!({
        "resourceRules": rules.resource, "nonResourceRules": rules.non_resource, "incomplete": rules.incomplete,
    });
    if !rules.error.is_empty() {
        review["status"]["evaluationError"] = rules.error.into();
    }
    Ok(())
}

fn subject(spec: &Value) -> Result<Identity, Status> {
    let list = |value: &Value| -> Vec<String> {
        let list = value.as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let (user, groups) = (text(spec, &["user"]).to_owned(), list(&spec["groups"]));
    if user.is_empty() && groups.is_empty() {
        return Err(Status::bad_request("at least one of user or group must be specified"));
    }
    let extra = spec["extra"].as_object().cloned().unwrap_or_else(Map::new);
    let extra = extra.iter().map(|(key, values)| (key.to_lowercase(), list(values))).collect();
    let uid = Some(text(spec, &["uid"]).to_owned()).filter(|uid| !uid.is_empty());
    Ok(Identity { user, groups, uid, extra })
}

fn access(call: &Call, spec: &Value, identity: &Identity) -> Result<Value, Status> {
    let attributes = match (&spec["resourceAttributes"], &spec["nonResourceAttributes"]) {
        (Value::Object(_), Value::Object(_)) | (Value::Null, Value::Null) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(Status::bad_request(why));
        }
        (Value::Null, path) => Attributes {
            verb: text(path, &["verb"]).to_owned(),
            path: Some(text(path, &["path"]).to_owned()),
            ..Attributes::default()
        },
        (resource, _) => {
            let field = |name: &str| text(resource, &[name]).to_owned();
            Attributes {
                verb: field("verb"),
                group: field("group"),
                version: field("version"),
                resource: field("resource"),
                subresource: field("subresource"),
                namespace: field("namespace"),
                name: field("name"),
                path: None,
            }
        }
    };
    let (allowed, reason) = match call.server.authorizer.authorize(identity, &attributes) {
        Decision::Allowed { reason } => (true, reason),
        Decision::Denied { reason } => (false, reason),
    };
    let mut status = json!({ "allowed": allowed });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}
