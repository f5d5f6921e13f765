//! A deployment's annotations live on in its newest replica set: what `kubectl rollout history` shows comes from there.

use std::collections::BTreeMap;

use amphipod_api::labels::DEPLOYMENT_REVISION;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::{DESIRED, MAX};

pub type Annotations = BTreeMap<String, String>;

const NOT_COPIED: &[&str] = &["kubectl.kubernetes.io/last-applied-configuration", DEPLOYMENT_REVISION, DESIRED, MAX];

/// What a replica set takes from its deployment.
pub fn copied(deployment: &Deployment) -> Annotations {
    let own = |key: &str| NOT_COPIED.contains(&key);
    deployment.annotations().clone().into_iter().filter(|(key, _)| !own(key)).collect()
}

/// What `set` has not yet, or otherwise, of the deployment's annotations and of `more`.
pub fn missing(deployment: &Deployment, more: &Annotations, set: &ReplicaSet) -> Annotations {
    let mut wanted = copied(deployment);
    wanted.extend(more.clone());
    wanted.retain(|key, value| set.annotations().get(key) != Some(value));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_later_change_cause_reaches_the_newest_set() {
        let of = |annotations: serde_json::Value| {
            json!({"metadata": {"annotations": annotations},
            "spec": {"selector": {}, "template": {}}})
        };
        let deployment = of(json!({"kubernetes.io/change-cause": "v2", DEPLOYMENT_REVISION: "1",
            "kubectl.kubernetes.io/last-applied-configuration": "{}"}));
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        let more = Annotations::from([(DEPLOYMENT_REVISION.to_owned(), "2".to_owned())]);
        let check = |set: serde_json::Value| missing(&deployment, &more, &serde_json::from_value(of(set)).unwrap());
        let both = [("deployment.kubernetes.io/revision", "2"), ("kubernetes.io/change-cause", "v2")];
        let both: Annotations = both.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(check(json!({})), both);
        assert_eq!(check(json!({"other": "stays", DEPLOYMENT_REVISION: "2"})).len(), 1);
        assert!(check(json!({"kubernetes.io/change-cause": "v2", DEPLOYMENT_REVISION: "2"})).is_empty());
    }
}
