//! What a validating policy's expressions get wrong about the types that they will be asked of: found when the policy
//! is written, and told in its status. Source: upstream's ValidatingAdmissionPolicy status controller.

use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Error, Watch};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use super::variables;
use crate::expressions::{Expression, Known};
use crate::kinds::json::{items, text};
use crate::registry::{Entry, Registry};
use crate::seams::Identity;
use crate::server::Server;

const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const PAUSE: Duration = Duration::from_millis(200);
/// More types of one policy are not looked at.
const TYPES_MAX: usize = 10;
const MANAGER: &str = "kube-controller-manager";

/// Runs until dropped: judges each policy that was changed since it was judged.
pub async fn keep(server: Server) {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "ValidatingAdmissionPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "validatingadmissionpolicies");
    let api: Api<DynamicObject> = Api::all_with(server.client(Identity::system_masters()), &resource);
    loop {
        let mut watch = match judge_all(&server, &api).await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::debug!(%error, "policies cannot be read");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(error) = watch.next().await {
            tracing::debug!(%error, "policies are read again");
        }
    }
}

/// Writes what there is to say; gives what will tell of the next change.
async fn judge_all(server: &Server, api: &Api<DynamicObject>) -> Result<Box<dyn Watch>, Error> {
    let id = server.store.resource(POLICIES).await?;
    let snapshot = server.store.snapshot();
    let watch = server.store.watch(id, snapshot.revision())?;
    let cluster = server.cluster(snapshot);
    for policy in cluster.list(POLICIES, None) {
        let generation = policy["metadata"]["generation"].as_i64().unwrap_or(0);
        if policy["status"]["observedGeneration"].as_i64() == Some(generation) {
            continue;
        }
        let mut checking = json!({});
        let warnings = warnings(&policy, &cluster.registry);
        if !warnings.is_empty() {
            checking["expressionWarnings"] = warnings.into();
        }
        let status = json!({ "status": { "observedGeneration": generation, "typeChecking": checking } });
        let name = text(&policy["metadata"]["name"]);
        let options = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        if let Err(error) = api.patch_status(name, &options, &Patch::Merge(&status)).await {
            tracing::debug!(%error, name, "a policy's status was not written");
        }
    }
    Ok(watch)
}

/// One for each expression that does not fit a type it is for.
fn warnings(policy: &Value, registry: &Registry) -> Vec<Value> {
    let entries = entries(policy, registry);
    let mut found = Vec::new();
    for (index, validation) in items(&policy["spec"]["validations"]).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(&validation[field]);
            let faults: Vec<String> = entries.iter().filter_map(|entry| fault(policy, source, entry)).collect();
            if !source.is_empty() && !faults.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                found.push(json!({ "fieldRef": place, "warning": faults.join("\n") }));
            }
        }
    }
    found
}

/// The types that a policy's rules name; wildcards name none.
fn entries(policy: &Value, registry: &Registry) -> Vec<Arc<Entry>> {
    let mut found: Vec<Arc<Entry>> = Vec::new();
    for rule in items(&policy["spec"]["matchConstraints"]["resourceRules"]) {
        for group in items(&rule["apiGroups"]) {
            for version in items(&rule["apiVersions"]) {
                let named = items(&rule["resources"])
                    .iter()
                    .filter_map(|resource| registry.find(text(group), text(version), text(resource)).cloned());
                found.extend(named);
            }
        }
    }
    found.truncate(TYPES_MAX);
    found
}

fn fault(policy: &Value, source: &str, entry: &Entry) -> Option<String> {
    let object = match (entry.kind.custom(), entry.ty) {
        (Some(custom), _) => Known::Schema(&custom.schema, true),
        (None, Some(ty)) => Known::Table(ty),
        (None, None) => return None,
    };
    let known = variables(&policy["spec"]).with("object", object).with("oldObject", object);
    let why = Expression::compile(source, &known).err()?;
    Some(format!("{}, Kind={}: {why}", entry.api_version(), entry.kind.kind))
}
