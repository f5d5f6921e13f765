//! `pods/eviction`: a deletion that asks the pod's disruption budget first.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions, text};
use crate::delete::{self, Options};
use crate::reply::{self, Status};
use crate::selectors::Selector;
use crate::{stamp, update};

const BUDGETS: &str = "policy/poddisruptionbudgets";

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let expected = Expected::known("policy/v1", "Eviction");
    let bytes = body::bytes(body).await?;
    let eviction =
        body::decode((call.header(http::header::CONTENT_TYPE), &bytes), &expected, options.validation)?.value;
    let mut how = delete::from_json(&eviction["deleteOptions"])?;
    how.dry_run |= options.dry_run;
    let pod = update::read(&call, call.name())?;
    let value = call.server.codec.value(&pod);
    let at_rest = matches!(text(&value, &["status", "phase"]), "Succeeded" | "Failed" | "Pending");
    if !at_rest && !stamp::is_terminating(&value) {
        charge(&call, &options, &pod.meta.labels).await?;
    }
    delete::delete_one(&call, &Options { uid: how.uid.clone().or(Some(pod.meta.uid.clone())), ..how }).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::created(success.to_string().into()))
}

/// Takes one disruption off the budget that covers the pod.
async fn charge(call: &Call, options: &WriteOptions, labels: &[(String, String)]) -> Result<(), Status> {
    let cluster = call.server.cluster(call.server.store.snapshot());
    let budgets = cluster.list(BUDGETS, Some(call.namespace()));
    let mut covering = budgets.iter().filter(|budget| covers(budget, labels));
    let Some(budget) = covering.next() else { return Ok(()) };
    if covering.next().is_some() {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::internal(why));
    }
    let entry = call.server.registry.find("policy", "v1", "poddisruptionbudgets").cloned();
    let entry = entry.ok_or_else(Status::no_such_path)?;
    let mut route = (*call.route).clone();
    route.attributes.name = text(budget, &["metadata", "name"]).to_owned();
    route.attributes.subresource = "status".to_owned();
    let budget_call = Call { entry, route: route.into(), ..call.clone() };
    let (pod, now) = (call.name().to_owned(), stamp::time(call.server.now()));
    update::modify(&budget_call, options, &mut |old| {
        let allowed = old["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            return Err(refused(old));
        }
        let mut new = old.clone();
        new["status"]["disruptionsAllowed"] = (allowed - 1).into();
        new["status"]["disruptedPods"][&pod] = now.as_str().into();
        Ok(new)
    })
    .await?;
    Ok(())
}

fn refused(budget: &Value) -> Status {
    let name = text(budget, &["metadata", "name"]);
    let count = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let why = format!(
        "The disruption budget {name} needs {} healthy pods and has {} currently",
        count("desiredHealthy"),
        count("currentHealthy")
    );
    let status = Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
    status.with_cause("DisruptionBudget", &why)
}

fn covers(budget: &Value, labels: &[(String, String)]) -> bool {
    let selector = super::scale::selector(&budget["spec"]["selector"]);
    Selector::labels(&selector).is_ok_and(|selector| selector.matches_labels(labels))
}
