//! ValidatingAdmissionPolicy: each binding denies, warns or notes what its policy finds wrong.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::compiled::Compiled;
use super::super::matching::is_exempt;
use super::{Binding, Case, Policy, Trouble, bindings, cases, variables};
use crate::expressions::Expression;
use crate::kinds::json::{items, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit};

const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// Under which auditors find what failed where a binding's action is Audit.
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Longer annotations are cut.
const ANNOTATION_CHARS_MAX: usize = 10 * 1024;

#[derive(Default)]
pub struct ValidatingPolicies {
    policies: Compiled<Validating>,
    bindings: Compiled<Binding>,
}

struct Validating {
    policy: Policy,
    validations: Vec<Validation>,
    annotations: Vec<Annotation>,
}

/// A word for the auditors.
struct Annotation {
    key: String,
    expression: Result<Expression, String>,
}

struct Validation {
    index: usize,
    expression: Result<Expression, String>,
    source: String,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

fn read(policy: Value) -> Vec<Validating> {
    let known = variables(&policy["spec"]);
    let validation = |(index, one): (usize, &Value)| Validation {
        index,
        expression: Expression::compile(text(&one["expression"]), &known),
        source: text(&one["expression"]).trim().to_owned(),
        message: text(&one["message"]).to_owned(),
        message_expression: one["messageExpression"]
            .as_str()
            .and_then(|source| Expression::compile(source, &known).ok()),
        reason: text(&one["reason"]).to_owned(),
    };
    let validations = items(&policy["spec"]["validations"]).iter().enumerate().map(validation).collect();
    let annotation = |one: &Value| Annotation {
        key: format!("{}/{}", text(&policy["metadata"]["name"]), text(&one["key"])),
        expression: Expression::compile(text(&one["valueExpression"]), &known),
    };
    let annotations = items(&policy["spec"]["auditAnnotations"]).iter().map(annotation).collect();
    vec![Validating { policy: Policy::of(&policy), validations, annotations }]
}

/// One thing that a policy has against a request.
struct Finding {
    message: String,
    reason: String,
    /// Which of its validations it is.
    index: usize,
}

#[async_trait]
impl Admit for ValidatingPolicies {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if is_exempt(request) {
            return Ok(());
        }
        let Some(bindings) = self.bindings.get(request.cluster, BINDINGS, bindings) else { return Ok(()) };
        let Some(policies) = self.policies.get(request.cluster, POLICIES, read) else { return Ok(()) };
        let mut failures = Vec::new();
        for binding in bindings.iter() {
            let Some(policy) = policies.iter().find(|one| one.policy.name == binding.policy) else { continue };
            for finding in policy.findings(binding, request).await? {
                failures.extend(noted(&finding, policy, binding));
                if !failures.is_empty() {
                    request.notes.set(FAILURES, Value::from(failures.clone()).to_string());
                }
                act(&finding, policy, binding, request)?;
            }
        }
        Ok(())
    }
}

impl Validating {
    async fn findings(&self, binding: &Binding, request: &AdmissionRequest<'_>) -> Result<Vec<Finding>, Status> {
        match cases(&self.policy, binding, request).await {
            Ok(cases) => {
                cases.iter().for_each(|case| self.annotate(case, request));
                Ok(cases.iter().flat_map(|case| self.judge(case)).collect())
            }
            Err(Trouble::Status(status)) => Err(status),
            Err(Trouble::Configuration(_)) if self.policy.ignores_failure => Ok(Vec::new()),
            Err(Trouble::Configuration(why)) => {
                let message = format!("failed to configure binding: {why}");
                Ok(vec![Finding { message, reason: String::new(), index: 0 }])
            }
        }
    }

    /// Words that are null are not said.
    fn annotate(&self, case: &Case, request: &AdmissionRequest<'_>) {
        for annotation in &self.annotations {
            let value = annotation.expression.as_ref().map(|expression| expression.evaluate_json(&case.scope));
            if let Ok(Ok(Value::String(value))) = value
                && !value.trim().is_empty()
            {
                request.notes.add(annotation.key.clone(), value.chars().take(ANNOTATION_CHARS_MAX).collect());
            }
        }
    }

    fn judge(&self, case: &Case) -> Vec<Finding> {
        self.validations.iter().filter_map(|validation| validation.judge(case, self.policy.ignores_failure)).collect()
    }
}

impl Validation {
    fn judge(&self, case: &Case, ignores_failure: bool) -> Option<Finding> {
        let verdict = match &self.expression {
            Ok(expression) => expression.evaluate_bool(&case.scope),
            Err(why) => Err(format!("compilation error: {why}")),
        };
        let message = match verdict {
            Ok(true) => return None,
            Ok(false) => self.message(case),
            Err(_) if ignores_failure => return None,
            Err(why) => format!("expression '{}' resulted in error: {why}", self.source),
        };
        Some(Finding { message, reason: self.reason.clone(), index: self.index })
    }

    fn message(&self, case: &Case) -> String {
        let computed = self.message_expression.as_ref().and_then(|message| message.evaluate_message(&case.scope));
        computed.unwrap_or_else(|| match self.message.trim() {
            "" => format!("failed expression: {}", self.source),
            message => message.to_owned(),
        })
    }
}

/// The finding as auditors read it, where the binding says so.
fn noted(finding: &Finding, policy: &Validating, binding: &Binding) -> Option<Value> {
    binding.actions.iter().any(|action| action == "Audit").then(|| {
        json!({
            "message": finding.message, "policy": policy.policy.name, "binding": binding.name,
            "expressionIndex": finding.index.to_string(), "validationActions": binding.actions,
        })
    })
}

fn act(
    finding: &Finding,
    policy: &Validating,
    binding: &Binding,
    request: &mut AdmissionRequest<'_>,
) -> Result<(), Status> {
    let does = |action: &str| binding.actions.iter().any(|one| one == action);
    let (policy, binding_name, message) = (&policy.policy.name, &binding.name, &finding.message);
    if does("Warn") {
        request.warnings.push(format!(
            "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': {message}"
        ));
    }
    if !does("Deny") {
        return Ok(());
    }
    let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}' denied request: {message}");
    let denied = Status::forbidden(request.kind, request.name, &why);
    let (code, reason) = match finding.reason.as_str() {
        "Unauthorized" => (401, "Unauthorized"),
        "Forbidden" => (403, "Forbidden"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    let cause = json!({ "message": why });
    Err(Status { code, reason: reason.into(), ..denied }.with_causes(vec![cause]))
}
