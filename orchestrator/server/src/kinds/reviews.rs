//! The reviews: virtual kinds that are created to ask a question and never stored.
//!
//! The verbs answer them by kind; here is only what they are called and what they must hold.

use serde_json::Value;

use super::json::{entries, is_empty, is_set};
use super::{Kind, PLAIN, Problem, Scope};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const CREATE: &[&str] = &["create"];

pub static SELF_SUBJECT_REVIEW: Kind = Kind {
    group: AUTHENTICATION,
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    scope: Scope::Cluster,
    verbs: CREATE,
    schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
    storage: "authentication.k8s.io/selfsubjectreviews",
    ..PLAIN
};

pub static TOKEN_REVIEW: Kind = Kind {
    group: AUTHENTICATION,
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    scope: Scope::Cluster,
    verbs: CREATE,
    schema: "io.k8s.api.authentication.v1.TokenReview",
    storage: "authentication.k8s.io/tokenreviews",
    ..PLAIN
};

pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: AUTHORIZATION,
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    verbs: CREATE,
    schema: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    storage: "authorization.k8s.io/localsubjectaccessreviews",
    validate: |review| {
        let mut problems = validate_metadata(review, &["namespace"]);
        problems.extend(validate_attributes(review));
        problems.extend(validate_subject(review));
        let spec = &review["spec"];
        if is_set(&spec["nonResourceAttributes"]) {
            let detail = "disallowed on this kind of request";
            let value = spec["nonResourceAttributes"].clone();
            problems.push(Problem::invalid("spec.nonResourceAttributes", value, detail));
        }
        let asked = &spec["resourceAttributes"]["namespace"];
        if asked != &review["metadata"]["namespace"] {
            let detail = "must match metadata.namespace";
            problems.push(Problem::invalid("spec.resourceAttributes.namespace", asked.clone(), detail));
        }
        problems
    },
    ..PLAIN
};

pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: AUTHORIZATION,
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    scope: Scope::Cluster,
    verbs: CREATE,
    schema: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    storage: "authorization.k8s.io/selfsubjectaccessreviews",
    validate: |review| {
        let mut problems = validate_metadata(review, &[]);
        problems.extend(validate_attributes(review));
        problems
    },
    ..PLAIN
};

pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind {
    group: AUTHORIZATION,
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    scope: Scope::Cluster,
    verbs: CREATE,
    schema: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    storage: "authorization.k8s.io/selfsubjectrulesreviews",
    ..PLAIN
};

pub static SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: AUTHORIZATION,
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    scope: Scope::Cluster,
    verbs: CREATE,
    schema: "io.k8s.api.authorization.v1.SubjectAccessReview",
    storage: "authorization.k8s.io/subjectaccessreviews",
    validate: |review| {
        let mut problems = validate_metadata(review, &[]);
        problems.extend(validate_attributes(review));
        problems.extend(validate_subject(review));
        problems
    },
    ..PLAIN
};

/// A question has no name.
fn validate_metadata(review: &Value, allowed: &[&str]) -> Vec<Problem> {
    let known = |key: &str| allowed.contains(&key) || key == "managedFields" || key == "creationTimestamp";
    if entries(&review["metadata"]).all(|(key, _)| known(key)) {
        return Vec::new();
    }
    let detail = if allowed.is_empty() { "must be empty" } else { "must be empty except for namespace" };
    vec![Problem::invalid("metadata", review["metadata"].clone(), detail)]
}

fn validate_attributes(review: &Value) -> Vec<Problem> {
    let spec = &review["spec"];
    match (is_set(&spec["resourceAttributes"]), is_set(&spec["nonResourceAttributes"])) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            let value = spec["nonResourceAttributes"].clone();
            vec![Problem::invalid("spec.nonResourceAttributes", value, detail)]
        }
        (false, false) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Problem::invalid("spec.resourceAttributes", Value::Null, detail)]
        }
        _ => Vec::new(),
    }
}

fn validate_subject(review: &Value) -> Option<Problem> {
    let spec = &review["spec"];
    if !is_empty(&spec["user"]) || !is_empty(&spec["groups"]) {
        return None;
    }
    Some(Problem::invalid("spec.user", "", "at least one of user or group must be specified"))
}
