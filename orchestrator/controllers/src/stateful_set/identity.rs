//! What makes a pod the one of its ordinal: name, labels, host name, and the volumes of its claims.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::pods::from_template;

pub const REVISION: &str = "controller-revision-hash";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The ordinals that the set should have pods for.
pub fn ordinals(set: &StatefulSet) -> Range<i32> {
    let start = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let replicas = set.spec.replicas.unwrap_or(1);
    start..start.saturating_add(replicas)
}

pub fn pod_name(set: &str, ordinal: i32) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal of a set's pod; `None` for a name that the set would not give.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal = digits.parse().ok().filter(|ordinal| *ordinal >= 0)?;
    (pod_name(set, ordinal) == pod).then_some(ordinal)
}

/// The name of the revision that a pod was made of.
pub fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).map_or("", String::as_str)
}

/// The pod of an ordinal, of this template.
pub fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = from_template(template, set);
    let name = pod_name(&set.name_any(), ordinal);
    pod.metadata.labels.get_or_insert_default().insert(REVISION.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.service_name.clone();
    pod.metadata.name = Some(name);
    identify(&mut pod, ordinal);
    furnish(set, &mut pod, ordinal);
    pod
}

/// The labels by which Services and people find the one pod.
pub fn identify(pod: &mut Pod, ordinal: i32) {
    let name = pod.name_any();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name);
    labels.insert(POD_INDEX.into(), ordinal.to_string());
}

/// Upstream looks at the name only: pods made before there was an index are left as they are.
pub fn is_identified(pod: &Pod) -> bool {
    pod.labels().get(POD_NAME) == Some(&pod.name_any())
}

/// The claims of an ordinal, one for each template, by the name of their volume.
pub fn claims(set: &StatefulSet, ordinal: i32) -> BTreeMap<String, PersistentVolumeClaim> {
    let selected = set.spec.selector.match_labels.clone().unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(selected.clone());
        let volume = template.name_any();
        let metadata = ObjectMeta {
            name: Some(format!("{volume}-{}", pod_name(&set.name_any(), ordinal))),
            namespace: set.namespace(),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            ..template.metadata.clone()
        };
        (volume, PersistentVolumeClaim { metadata, spec: template.spec.clone(), status: None })
    };
    set.spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// Puts the claims among the pod's volumes, in place of others of their names.
pub fn furnish(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let claims = claims(set, ordinal);
    let own = pod.spec.get_or_insert_default().volumes.get_or_insert_default();
    own.retain(|volume| !claims.contains_key(&volume.name));
    let claimed = claims.into_iter().map(|(name, claim)| Volume {
        name,
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.name_any(),
            read_only: None,
        }),
        ..Volume::default()
    });
    own.splice(0..0, claimed);
}

pub fn is_furnished(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted: HashSet<(&str, &str)> = volumes
        .filter_map(|volume| Some((volume.name.as_str(), volume.persistent_volume_claim.as_ref()?.claim_name.as_str())))
        .collect();
    claims(set, ordinal).iter().all(|(volume, claim)| mounted.contains(&(volume.as_str(), claim.name_any().as_str())))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "d", "uid": "u"},
            "spec": {
                "serviceName": "peers", "replicas": 2, "ordinals": {"start": 3},
                "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [], "volumes": [
                    {"name": "data", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"tier": "x"}}, "spec": {}}],
            },
        }))
        .expect("a set")
    }

    #[test]
    fn a_pod_is_named_after_its_ordinal_and_nothing_else_is() {
        assert_eq!(ordinals(&set()), 3..5);
        assert_eq!(ordinal("db", "db-12"), Some(12));
        for stranger in ["db", "db-", "db-01", "db--1", "db-x", "other-1", "db-99999999999"] {
            assert_eq!(ordinal("db", stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_pod_bears_its_identity() {
        let (set, template) = (set(), set().spec.template);
        let pod = pod(&set, &template, "db-r1", 3);
        assert!(is_identified(&pod) && is_furnished(&set, &pod, 3) && !is_furnished(&set, &pod, 4));
        let shown = serde_json::to_string_pretty(&json!({
            "labels": pod.metadata.labels, "name": pod.metadata.name, "generateName": pod.metadata.generate_name,
            "spec": pod.spec,
        }));
        expect![[r#"
            {
              "generateName": "db-",
              "labels": {
                "app": "db",
                "apps.kubernetes.io/pod-index": "3",
                "controller-revision-hash": "db-r1",
                "statefulset.kubernetes.io/pod-name": "db-3"
              },
              "name": "db-3",
              "spec": {
                "containers": [],
                "hostname": "db-3",
                "subdomain": "peers",
                "volumes": [
                  {
                    "name": "data",
                    "persistentVolumeClaim": {
                      "claimName": "data-db-3"
                    }
                  },
                  {
                    "emptyDir": {},
                    "name": "other"
                  }
                ]
              }
            }"#]]
        .assert_eq(&shown.expect("JSON"));
        let claim = &claims(&set, 3)["data"];
        assert_eq!(serde_json::to_value(&claim.metadata.labels).unwrap(), json!({"app": "db", "tier": "x"}));
    }
}
