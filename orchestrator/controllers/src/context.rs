//! What every controller is given: the one door for writes, the seam for reads, a recorder and the clock.
//! `follow` turns changes of a kind into keys.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::Object;
use amphipod_api::{Change, Informer, Informers, Recorder};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde::Serialize;
use serde_json::{Map, Value};

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone)]
pub struct Context {
    pub client: kube::Client,
    pub informers: Informers,
    pub recorder: Recorder,
    pub clock: Clock,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The same, but its events are signed by this component.
    pub fn signed_by(&self, component: &str) -> Self {
        Self { recorder: self.recorder.signed_by(component), ..self.clone() }
    }
}

/// Calls `each` with every object that changed, as it was and as it is; with all of them after a gap.
/// Returns only when the informer ends.
pub async fn follow<K: Object>(informer: Informer<K>, each: impl Fn(&K) + Send + Sync) {
    let mut changes = informer.subscribe();
    while let Some(change) = changes.next().await {
        match change {
            Change::Applied { now, before } => {
                if let Some(before) = before {
                    each(&before);
                }
                each(&now);
            }
            Change::Deleted(object) => each(&object),
            Change::Resynced => informer.list().iter().for_each(|object| each(object)),
        }
    }
}

/// An API object is there or not; other errors stay errors.
pub fn found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The merge patch that turns one status (or spec) into another; `None` when they are equal.
/// Whole arrays are replaced, fields that vanish become null.
pub fn difference(before: &impl Serialize, after: &impl Serialize) -> Option<Value> {
    let value = |result: serde_json::Result<Value>| result.expect("Kubernetes types are plain JSON");
    let before = value(serde_json::to_value(before));
    let after = value(serde_json::to_value(after));
    let patch = merge(&before, &after);
    Some(patch).filter(|patch| patch.as_object().is_none_or(|fields| !fields.is_empty()))
}

fn merge(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return after.clone() };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(same) if same == value => {}
            Some(other) => drop(patch.insert(key.clone(), merge(other, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

/// Writes the difference of two statuses; nothing when there is none.
pub async fn write_status<K, S>(api: &Api<K>, name: &str, before: &S, after: &S) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    S: Serialize,
{
    if let Some(status) = difference(before, after) {
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        found(api.patch_status(name, &PatchParams::default(), &patch).await)?;
    }
    Ok(())
}

/// Deletes an object only if it is still the one with this uid; gone already is fine.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> kube::Result<bool>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let preconditions = Some(Preconditions { uid, resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::background() };
    Ok(found(api.delete(name, &params).await)?.is_some())
}

/// Kubernetes leaves zero counts out of a status.
pub fn nonzero(count: usize) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX)).filter(|count| *count != 0)
}

/// How long since a moment; zero for the future and for moments unknown.
pub fn since(moment: Option<&Time>, now: Timestamp) -> Duration {
    let elapsed = moment.map(|moment| now.duration_since(moment.0));
    elapsed.and_then(|elapsed| Duration::try_from(elapsed).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_names_what_changed_and_what_vanished() {
        let before = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]});
        let after = json!({"b": {"c": 1, "d": 3}, "e": [1, 2]});
        assert_eq!(difference(&before, &after), Some(json!({"a": null, "b": {"d": 3}, "e": [1, 2]})));
        assert_eq!(difference(&before, &before), None);
    }
}
