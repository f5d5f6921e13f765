//! Who owns the claims of a set's pods: that says when they are deleted (`persistentVolumeClaimRetentionPolicy`).
//! The garbage collector then does it.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use super::identity;
use crate::pods::controlled_by;

/// The set and the pod that a claim may belong to, and to which of them it should.
pub struct Owners {
    set: OwnerReference,
    pod: OwnerReference,
    by_set: bool,
    by_pod: bool,
    /// Claims outlive both: who else controls them is no conflict.
    retained: bool,
}

impl Owners {
    /// `pod` is one of the set's, with this ordinal.
    pub fn of(set: &StatefulSet, pod: &Pod, ordinal: i32) -> Self {
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
        let when_deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
        let when_scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
        let is_surplus = !identity::ordinals(set).contains(&ordinal);
        Self {
            set: controlled_by(set),
            pod: controlled_by(pod),
            by_set: when_deleted && !(when_scaled && is_surplus),
            by_pod: when_scaled && is_surplus,
            retained: !when_deleted && !when_scaled,
        }
    }

    /// The owners that a claim should have; `None`: it has them, or is nothing that we may touch.
    pub fn wanted(&self, owners: &[OwnerReference]) -> Option<Vec<OwnerReference>> {
        let conflict = self.conflicts(owners);
        if self.is_right(owners, conflict) {
            return None;
        }
        let ours = |owner: &&OwnerReference| !same(owner, &self.set) && !same(owner, &self.pod);
        let mut wanted: Vec<_> = owners.iter().filter(ours).cloned().collect();
        if !conflict && self.by_set {
            wanted.push(self.set.clone());
        }
        if !conflict && self.by_pod {
            wanted.push(self.pod.clone());
        }
        Some(wanted)
    }

    /// Someone else controls the claim.
    pub fn conflicts(&self, owners: &[OwnerReference]) -> bool {
        let stranger = |owner: &OwnerReference| match [&self.set, &self.pod].iter().find(|ours| same(owner, ours)) {
            Some(ours) => owner.uid != ours.uid,
            None => owner.controller == Some(true),
        };
        !self.retained && owners.iter().any(stranger)
    }

    fn is_right(&self, owners: &[OwnerReference], conflict: bool) -> bool {
        let first = |ours: &OwnerReference| owners.iter().find(|owner| same(owner, ours));
        let has = |ours: &OwnerReference| owners.iter().any(|owner| owner.uid == ours.uid);
        // It belongs to a set or pod of the same name that is gone: the garbage collector's.
        if [&self.set, &self.pod].iter().any(|ours| first(ours).is_some_and(|owner| owner.uid != ours.uid)) {
            return true;
        }
        if conflict {
            return !has(&self.set) && !has(&self.pod);
        }
        let is_ours = |owner: &&OwnerReference| owner.uid == self.set.uid || owner.uid == self.pod.uid;
        let all_control = owners.iter().filter(is_ours).all(|owner| owner.controller == Some(true));
        all_control && has(&self.set) == self.by_set && has(&self.pod) == self.by_pod
    }
}

/// A claim left by an earlier pod of this name, which will be deleted: a new pod must not take it.
pub fn is_stale(owners: &[OwnerReference], pod: &str) -> bool {
    owners.iter().any(|owner| owner.api_version == "v1" && owner.kind == "Pod" && owner.name == pod)
}

/// Whether claims may be stale at all.
pub fn deletes_when_scaled(set: &StatefulSet) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.and_then(|policy| policy.when_scaled.as_deref()) == Some("Delete")
}

/// Whether a claim of this name could be one of the set's.
pub fn could_be_of(set: &StatefulSet, claim: &str) -> bool {
    set.spec.volume_claim_templates.iter().flatten().any(|template| {
        let pod = claim.strip_prefix(&template.name_any()).and_then(|rest| rest.strip_prefix('-'));
        pod.and_then(|pod| identity::ordinal(&set.name_any(), pod)).is_some()
    })
}

/// The same object by name, whatever its uid.
fn same(owner: &OwnerReference, other: &OwnerReference) -> bool {
    (&owner.api_version, &owner.kind, &owner.name) == (&other.api_version, &other.kind, &other.name)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn set(when_deleted: &str, when_scaled: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "uid": "set"},
            "spec": {"replicas": 1, "selector": {}, "template": {},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": when_scaled}},
        }))
        .expect("a set")
    }

    fn pod(ordinal: i32) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": format!("db-{ordinal}"), "uid": format!("pod{ordinal}")}}))
            .expect("a pod")
    }

    /// Owners are words `Kind/name/uid`, with `!` when they control.
    fn references(words: &str) -> Vec<OwnerReference> {
        let reference = |word: &str| -> OwnerReference {
            let parts: Vec<_> = word.trim_end_matches('!').split('/').collect();
            let version = if parts[0] == "Pod" { "v1" } else { "apps/v1" };
            let controller: Value = if word.ends_with('!') { true.into() } else { Value::Null };
            serde_json::from_value(json!({
                "apiVersion": version, "kind": parts[0], "name": parts[1], "uid": parts[2], "controller": controller,
            }))
            .expect("a reference")
        };
        words.split_whitespace().map(reference).collect()
    }

    fn check((deleted, scaled, ordinal): (&str, &str, i32), owners: &str, expected: Expect) {
        let wanted = Owners::of(&set(deleted, scaled), &pod(ordinal), ordinal).wanted(&references(owners));
        let word = |owner: &OwnerReference| {
            let mark = if owner.controller == Some(true) { "!" } else { "" };
            format!("{}/{}/{}{mark}", owner.kind, owner.name, owner.uid)
        };
        let shown = match wanted {
            None => "right".to_owned(),
            Some(owners) if owners.is_empty() => "nobody".to_owned(),
            Some(owners) => owners.iter().map(word).collect::<Vec<_>>().join(" "),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_policy_says_who_owns_a_claim() {
        check(("Retain", "Retain", 0), "", expect!["right"]);
        check(("Retain", "Retain", 0), "StatefulSet/db/set!", expect!["nobody"]);
        check(("Delete", "Retain", 0), "", expect!["StatefulSet/db/set!"]);
        check(("Delete", "Retain", 0), "StatefulSet/db/set!", expect!["right"]);
        check(("Delete", "Retain", 1), "Pod/db-1/pod1!", expect!["StatefulSet/db/set!"]);
        check(("Retain", "Delete", 0), "Pod/db-0/pod0!", expect!["nobody"]);
        check(("Retain", "Delete", 1), "", expect!["Pod/db-1/pod1!"]);
        check(("Delete", "Delete", 0), "Pod/db-0/pod0!", expect!["StatefulSet/db/set!"]);
        check(("Delete", "Delete", 1), "StatefulSet/db/set!", expect!["Pod/db-1/pod1!"]);
        check(("Delete", "Retain", 0), "StatefulSet/db/set", expect!["StatefulSet/db/set!"]);
        check(("Delete", "Retain", 0), "Other/x/y", expect!["Other/x/y StatefulSet/db/set!"]);
    }

    #[test]
    fn what_others_control_is_left_to_them() {
        check(("Delete", "Retain", 0), "Other/x/y!", expect!["right"]);
        check(("Delete", "Retain", 0), "Other/x/y! StatefulSet/db/set", expect!["Other/x/y!"]);
        check(("Delete", "Retain", 0), "StatefulSet/db/old!", expect!["right"]);
        check(("Retain", "Delete", 1), "Pod/db-1/old!", expect!["right"]);
    }

    #[test]
    fn claims_are_told_by_their_names() {
        let set = set("Retain", "Delete");
        assert!(could_be_of(&set, "data-db-4"));
        assert!(!could_be_of(&set, "data-dbx-4") && !could_be_of(&set, "log-db-4") && !could_be_of(&set, "data-db-x"));
        assert!(is_stale(&references("Pod/db-1/old"), "db-1") && !is_stale(&references("Pod/db-1/old"), "db-2"));
    }
}
