//! A deployment's annotations live on in its newest replica set: what `kubectl rollout history` shows comes from there.

use std::collections::BTreeMap;

use amphipod_api::labels::DEPLOYMENT_REVISION;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::{DESIRED, MAX};

pub type Annotations = BTreeMap<String, String>;

/// The numbers that a replica set bore before it was rolled back to.
pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const HISTORY_BYTES_MAX: usize = 2000;

const NOT_COPIED: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", DEPLOYMENT_REVISION, HISTORY, DESIRED, MAX];

/// What a replica set takes from its deployment.
pub fn copied(deployment: &Deployment) -> Annotations {
    let own = |key: &str| NOT_COPIED.contains(&key);
    deployment.annotations().clone().into_iter().filter(|(key, _)| !own(key)).collect()
}

/// What a set's history becomes when the set is numbered anew; the oldest numbers go when there is no room for all.
pub fn history(set: &ReplicaSet, wanted: i64) -> Option<String> {
    let borne = set.annotations().get(DEPLOYMENT_REVISION)?;
    if borne.parse::<i64>().unwrap_or(0) >= wanted {
        return None;
    }
    let known = set.annotations().get(HISTORY).map(|known| known.split(','));
    let numbers: Vec<&str> =
        known.into_iter().flatten().filter(|number| !number.is_empty()).chain([&**borne]).collect();
    let fits =
        |from: &usize| numbers[*from..].iter().map(|number| number.len() + 1).sum::<usize>() <= HISTORY_BYTES_MAX + 1;
    let from = (0..numbers.len()).find(fits)?;
    Some(numbers[from..].join(","))
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

    #[test]
    fn a_set_that_is_rolled_back_to_remembers_its_numbers() {
        let long: String = (100..600).map(|number| format!("{number},")).collect();
        let set = |revision: &str, history: &str| {
            let annotations = json!({DEPLOYMENT_REVISION: revision, HISTORY: history});
            serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": {"selector": {}}})).unwrap()
        };
        let table: [(_, _, _, Option<&str>); 4] =
            [("2", "", 2, None), ("1", "", 3, Some("1")), ("3", "1", 5, Some("1,3")), ("7", "1,3", 6, None)];
        for (revision, known, wanted, expected) in table {
            assert_eq!(history(&set(revision, known), wanted).as_deref(), expected, "{revision} {known} {wanted}");
        }
        let kept = history(&set("600", long.trim_end_matches(',')), 700).unwrap();
        assert!(kept.len() <= HISTORY_BYTES_MAX && kept.starts_with("101,") && kept.ends_with("599,600"), "{kept}");
        let fresh: ReplicaSet = serde_json::from_value(json!({"spec": {"selector": {}}})).unwrap();
        assert_eq!(history(&fresh, 1), None);
    }
}
