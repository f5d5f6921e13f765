//! `pods/eviction`: a deletion that asks the pod's disruption budget first.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions, text};
use crate::delete::{self, Options};
use crate::kinds::json::items;
use crate::reply::{self, Status};
use crate::seams::Operation;
use crate::selectors::Selector;
use crate::{stamp, update, write};

const BUDGETS: &str = "policy/poddisruptionbudgets";
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const SEVERAL: &str =
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
/// Evictions that the budget's controller has not seen yet.
const UNCONFIRMED_MAX: usize = 2_000;
/// When to ask again after an answer that is out of date.
const RETRY_SECONDS: u32 = 10;

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let expected = Expected::known("policy/v1", "Eviction");
    let bytes = body::bytes(body).await?;
    let eviction =
        body::decode((call.header(http::header::CONTENT_TYPE), &bytes), &expected, options.validation)?.value;
    if !matches!(text(&eviction, &["metadata", "name"]), name if name.is_empty() || name == call.name()) {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let eviction = write::admit_body(&call, Operation::Create, eviction, options.dry_run).await?;
    let mut how = delete::from_json(&eviction["deleteOptions"])?;
    how.dry_run |= options.dry_run;
    let options = WriteOptions { dry_run: how.dry_run, ..options };
    let pod = update::read(&call, call.name())?;
    let value = call.server.codec.value(&pod);
    if !is_at_rest(&value)
        && let Some(budget) = budget(&call, &pod.meta.labels)?
        && !goes_free(&value, &budget)
    {
        charge(&call, &options, &budget).await?;
    }
    tell_why(&call, &options).await?;
    delete::delete_one(&call, &Options { uid: how.uid.clone().or(Some(pod.meta.uid.clone())), ..how }).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::created(success.to_string().into()))
}

/// Pods that serve nobody are not asked for.
fn is_at_rest(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending") || stamp::is_terminating(pod)
}

/// The one budget that covers a pod of these labels.
fn budget(call: &Call, labels: &[(String, String)]) -> Result<Option<Value>, Status> {
    let cluster = call.server.cluster(call.server.store.snapshot());
    let budgets = cluster.list(BUDGETS, Some(call.namespace()));
    let mut covering = budgets.into_iter().filter(|budget| covers(budget, labels));
    let found = covering.next();
    if covering.next().is_some() {
        return Err(Status { message: SEVERAL.to_owned(), ..Status::internal(SEVERAL) });
    }
    Ok(found)
}

fn covers(budget: &Value, labels: &[(String, String)]) -> bool {
    let selector = &budget["spec"]["selector"];
    // No selector at all selects nothing; an empty one selects every pod of the namespace.
    let selected = Selector::labels(&super::scale::selector(selector));
    !selector.is_null() && selected.is_ok_and(|selector| selector.matches_labels(labels))
}

/// A pod that is not ready counts for no budget that is kept without it.
fn goes_free(pod: &Value, budget: &Value) -> bool {
    let is_ready = items(&pod["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let is_kept = count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0;
    !is_ready && (is_kept || budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow")
}

/// Takes one disruption off a budget.
async fn charge(call: &Call, options: &WriteOptions, budget: &Value) -> Result<(), Status> {
    let entry = call.server.catalog.load().registry.find("policy", "v1", "poddisruptionbudgets").cloned();
    let entry = entry.ok_or_else(Status::no_such_path)?;
    let mut route = (*call.route).clone();
    route.attributes.name = text(budget, &["metadata", "name"]).to_owned();
    route.attributes.subresource = "status".to_owned();
    let budget_call = Call { entry, route: route.into(), ..call.clone() };
    let (pod, now) = (call.name().to_owned(), stamp::time(call.server.now()));
    update::modify(&budget_call, options, &mut |old| charged(old, &pod, &now, &budget_call)).await?;
    Ok(())
}

/// The budget after one more eviction, or why there is none.
fn charged(budget: &Value, pod: &str, now: &str, call: &Call) -> Result<Value, Status> {
    let status = &budget["status"];
    let name = text(budget, &["metadata", "name"]);
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    if count("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Status::too_many_requests(VIOLATES, RETRY_SECONDS).with_cause("DisruptionBudget", &why));
    }
    let forbidden = |why: &str| Err(Status::forbidden(call.kind(), name, why));
    if count("disruptionsAllowed") < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > UNCONFIRMED_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    let allowed = count("disruptionsAllowed");
    if allowed == 0 {
        return Err(refused(budget));
    }
    let mut new = budget.clone();
    new["status"]["disruptionsAllowed"] = (allowed - 1).into();
    new["status"]["disruptedPods"][pod] = now.into();
    if allowed == 1 {
        let conditions = new["status"]["conditions"].as_array_mut();
        for condition in conditions.into_iter().flatten().filter(|condition| condition["type"] == "DisruptionAllowed") {
            condition["status"] = "False".into();
            condition["reason"] = "InsufficientPods".into();
            condition["lastTransitionTime"] = now.into();
        }
    }
    Ok(new)
}

fn refused(budget: &Value) -> Status {
    let name = text(budget, &["metadata", "name"]);
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let failed = items(&budget["status"]["conditions"]).iter().find(|condition| {
        condition["type"] == "DisruptionAllowed"
            && condition["status"] == "False"
            && condition["reason"] == "SyncFailed"
    });
    let why = match failed {
        Some(condition) => {
            let message = text(condition, &["message"]);
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
            )
        }
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            count("desiredHealthy"),
            count("currentHealthy")
        ),
    };
    Status::too_many_requests(VIOLATES, 0).with_cause("DisruptionBudget", &why)
}

/// The pod says why it ends, for the controllers that count failures.
async fn tell_why(call: &Call, options: &WriteOptions) -> Result<(), Status> {
    let mut route = (*call.route).clone();
    route.attributes.subresource = "status".to_owned();
    let pod_call = Call { route: route.into(), ..call.clone() };
    let now = stamp::time(call.server.now());
    let mut change = |old: &Value| {
        let mut new = old.clone();
        let told = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": now.as_str(),
        });
        let mut conditions = items(&old["status"]["conditions"]).to_vec();
        conditions.retain(|condition| condition["type"] != "DisruptionTarget");
        conditions.push(told);
        new["status"]["conditions"] = conditions.into();
        Ok(new)
    };
    update::modify(&pod_call, options, &mut change).await?;
    Ok(())
}
