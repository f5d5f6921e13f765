//! MutatingAdmissionPolicy: objects changed by expressions, as an apply configuration or as a JSON patch.

use amphipod_schema::Shape;
use amphipod_schema::apply::{Force, apply};
use amphipod_schema::managed_fields::Manager;
use async_trait::async_trait;
use serde_json::Value;

use super::super::compiled::Compiled;
use super::super::matching::{is_exempt, seen, taken_back};
use super::{Binding, Case, Policy, Trouble, bindings, cases, variables};
use crate::expressions::Expression;
use crate::kinds::json::{items, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const POLICIES: &str = "admissionregistration.k8s.io/mutatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/mutatingadmissionpolicybindings";

#[derive(Default)]
pub struct MutatingPolicies {
    policies: Compiled<Mutating>,
    bindings: Compiled<Binding>,
}

struct Mutating {
    policy: Policy,
    mutations: Vec<Mutation>,
    reinvoked: bool,
}

enum Mutation {
    Configuration(Result<Expression, String>),
    Patch(Result<Expression, String>),
}

fn read(policy: Value) -> Vec<Mutating> {
    let known = variables(&policy["spec"]);
    let compiled = |holder: &Value| Expression::compile(text(&holder["expression"]), &known);
    let mutation = |one: &Value| match text(&one["patchType"]) {
        "JSONPatch" => Mutation::Patch(compiled(&one["jsonPatch"])),
        _ => Mutation::Configuration(compiled(&one["applyConfiguration"])),
    };
    let mutations = items(&policy["spec"]["mutations"]).iter().map(mutation).collect();
    let reinvoked = policy["spec"]["reinvocationPolicy"] == "IfNeeded";
    vec![Mutating { policy: Policy::of(&policy), mutations, reinvoked }]
}

#[async_trait]
impl Admit for MutatingPolicies {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if is_exempt(request) || request.object.is_none() || request.operation == Operation::Delete {
            return Ok(());
        }
        let Some(bindings) = self.bindings.get(request.cluster, BINDINGS, bindings) else { return Ok(()) };
        let Some(policies) = self.policies.get(request.cluster, POLICIES, read) else { return Ok(()) };
        let pairs: Vec<(&Mutating, &Binding)> = bindings
            .iter()
            .filter_map(|binding| Some((policies.iter().find(|one| one.policy.name == binding.policy)?, binding)))
            .collect();
        let mut left_behind = Vec::with_capacity(pairs.len());
        for (policy, binding) in &pairs {
            policy.change(binding, request).await?;
            left_behind.push(request.object.clone());
        }
        // Who asked for it sees once more what others changed behind it.
        for ((policy, binding), seen) in pairs.iter().zip(left_behind) {
            if policy.reinvoked && seen != request.object {
                policy.change(binding, request).await?;
            }
        }
        Ok(())
    }
}

impl Mutating {
    async fn change(&self, binding: &Binding, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        match self.try_to_change(binding, request).await {
            Ok(()) => Ok(()),
            Err(Trouble::Status(status)) => Err(status),
            Err(Trouble::Configuration(_)) if self.policy.ignores_failure => Ok(()),
            Err(Trouble::Configuration(why)) => {
                let (policy, binding) = (&self.policy.name, &binding.name);
                let why = format!("policy '{policy}' with binding '{binding}' denied request: {why}");
                Err(Status::forbidden(request.kind, request.name, &why))
            }
        }
    }

    /// Each mutation sees what the one before it made.
    async fn try_to_change(&self, binding: &Binding, request: &mut AdmissionRequest<'_>) -> Result<(), Trouble> {
        for mutation in &self.mutations {
            for case in cases(&self.policy, binding, request).await? {
                let object = seen(request, &case.entry, request.object.as_ref()).await?;
                let shape = match request.own_kind() {
                    Some(_) => Shape::from(request.body_type()),
                    None => case.entry.shape(),
                };
                let changed = mutation.carried_out(&object, &case, shape).map_err(Trouble::Configuration)?;
                request.object = Some(taken_back(request, &case.entry, changed).await?);
            }
        }
        Ok(())
    }
}

impl Mutation {
    /// The object after it. The error is a text for the client.
    fn carried_out(&self, object: &Value, case: &Case, shape: Shape<'_>) -> Result<Value, String> {
        match self {
            Self::Configuration(expression) => {
                let expression = expression.as_ref().map_err(Clone::clone)?;
                let mut wanted = expression.evaluate_json(&case.scope)?;
                for field in ["apiVersion", "kind"] {
                    wanted[field] = object[field].clone();
                }
                merged(object, &wanted, shape)
            }
            Self::Patch(expression) => {
                let expression = expression.as_ref().map_err(Clone::clone)?;
                let patch = expression.evaluate_json(&case.scope)?.to_string();
                amphipod_schema::patch::json_patch(object, patch.as_bytes()).map_err(|error| error.to_string())
            }
        }
    }
}

/// As server-side apply merges, but nobody's field is anybody's conflict.
fn merged(object: &Value, wanted: &Value, shape: Shape<'_>) -> Result<Value, String> {
    let manager = Manager { name: "policy", api_version: "v1", subresource: "", time: "1970-01-01T00:00:00Z" };
    let applied = apply(Some(object), wanted, &Value::Null, (manager, Force::Yes), shape);
    applied.map(|applied| applied.value).map_err(|error| error.to_string())
}
