//! Lets storage go when nothing uses it any more: takes the protecting finalizer off a deleted claim that no scheduled
//! pod mounts, a deleted volume that is not bound, a deleted attributes class that no claim or volume names.
//! The finalizers are put there on creation, by the server's admission.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{Object, ObjectKey, key_of};
use amphipod_api::labels::{CLAIM_PROTECTION, CLASS_PROTECTION, VOLUME_PROTECTION};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::context::{Context, follow, found};
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 2;

pub async fn run(context: Context) {
    let informers = &context.informers;
    let (pods, claims) = (informers.of::<Pod>(), informers.of::<PersistentVolumeClaim>());
    let (volumes, classes) = (informers.of::<PersistentVolume>(), informers.of::<VolumeAttributesClass>());
    tokio::join!(pods.synced(), claims.synced(), volumes.synced(), classes.synced());
    let this = Protection { context, claims: claims.clone(), volumes: volumes.clone(), classes: classes.clone() };
    let (of_claims, of_volumes) = (Queue::new("pvcprotection"), Queue::new("pvprotection"));
    let of_classes = Queue::new("vacprotection");
    let of_pod = |pod: &Pod| {
        let namespace = pod.namespace().unwrap_or_default();
        for name in mounted(pod) {
            if claims.get(&namespace, &name).is_some_and(|claim| is_held(&claim.metadata, CLAIM_PROTECTION)) {
                of_claims.add((namespace.clone(), name));
            }
        }
    };
    let of_claim = |claim: &PersistentVolumeClaim| {
        if is_held(&claim.metadata, CLAIM_PROTECTION) {
            of_claims.add(key_of(&claim.metadata));
        }
        classes_of(claim).into_iter().for_each(|class| of_classes.add(class));
    };
    let of_volume = |volume: &PersistentVolume| {
        if is_held(&volume.metadata, VOLUME_PROTECTION) {
            of_volumes.add(volume.name_any());
        }
        class_of(volume).into_iter().for_each(|class| of_classes.add(class));
    };
    tokio::join!(
        follow(pods, of_pod),
        follow(claims.clone(), of_claim),
        follow(volumes, of_volume),
        follow(classes, |class| of_classes.add(class.name_any())),
        of_claims.clone().work(WORKERS, Arc::new(Claims(this.clone()))),
        of_volumes.clone().work(WORKERS, Arc::new(Volumes(this.clone()))),
        of_classes.clone().work(WORKERS, Arc::new(Classes(this.clone()))),
    );
}

#[derive(Clone)]
struct Protection {
    context: Context,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<VolumeAttributesClass>,
}

struct Claims(Protection);
struct Volumes(Protection);
struct Classes(Protection);

impl Reconcile<ObjectKey> for Claims {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let claim = self.0.claims.get(namespace, name).filter(|claim| is_held(&claim.metadata, CLAIM_PROTECTION));
        let Some(claim) = claim else { return Ok(None) };
        // Deleted claims are few: what the API itself says leaves no pod out that is new.
        let pods: Api<Pod> = self.0.context.namespaced(namespace);
        let pods = pods.list(&ListParams::default()).await?;
        if pods.iter().any(|pod| uses(pod, &claim)) {
            return Ok(None);
        }
        release(self.0.context.namespaced(namespace), &*claim, CLAIM_PROTECTION).await
    }
}

impl Reconcile<String> for Volumes {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let volume = self.0.volumes.get("", name).filter(|volume| is_held(&volume.metadata, VOLUME_PROTECTION));
        let Some(volume) = volume else { return Ok(None) };
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase == Some("Bound") {
            return Ok(None);
        }
        release(Api::all(self.0.context.client.clone()), &*volume, VOLUME_PROTECTION).await
    }
}

impl Reconcile<String> for Classes {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let class = self.0.classes.get("", name).filter(|class| is_held(&class.metadata, CLASS_PROTECTION));
        let Some(class) = class else { return Ok(None) };
        let in_use = self.0.claims.list().iter().any(|claim| classes_of(claim).contains(name))
            || self.0.volumes.list().iter().any(|volume| class_of(volume).as_ref() == Some(name));
        if in_use {
            return Ok(None);
        }
        release(Api::all(self.0.context.client.clone()), &*class, CLASS_PROTECTION).await
    }
}

/// Deleted, and only kept for this finalizer or others.
fn is_held(meta: &ObjectMeta, finalizer: &str) -> bool {
    is_terminating(meta) && meta.finalizers.iter().flatten().any(|one| one == finalizer)
}

/// Whether this pod, on a node already, mounts the claim. A node starts no new pod with a deleted claim.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()))
    else {
        return false;
    };
    let name = claim.name_any();
    let is_ended = is_terminating(&pod.metadata) && pod.metadata.deletion_grace_period_seconds == Some(0);
    let is_owner = || claim.owner_references().iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref());
    spec.volumes.iter().flatten().any(|volume| {
        let named = volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == name);
        let own = volume.ephemeral.is_some() && format!("{}-{}", pod.name_any(), volume.name) == name;
        named || (own && !is_ended && is_owner())
    })
}

/// Names of the claims that a pod mounts.
fn mounted(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let name = |volume: &k8s_openapi::api::core::v1::Volume| match &volume.persistent_volume_claim {
        Some(source) => Some(source.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name)),
    };
    volumes.filter_map(name).collect()
}

fn classes_of(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let modify = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = modify.and_then(|modify| modify.target_volume_attributes_class_name.clone());
    [wanted, current, target].into_iter().flatten().filter(|class| !class.is_empty()).collect()
}

fn class_of(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.volume_attributes_class_name.clone().filter(|class| !class.is_empty())
}

/// Takes the finalizer off the object as it was seen; when it changed, its change wakes us again.
async fn release<K>(api: Api<K>, object: &K, finalizer: &str) -> kube::Result<Option<Duration>>
where
    K: Object + Clone + Debug + DeserializeOwned + ResourceExt,
{
    let left: Vec<&String> = object.finalizers().iter().filter(|one| *one != finalizer).collect();
    let metadata = json!({ "finalizers": left, "resourceVersion": object.resource_version() });
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    found(api.patch(&object.name_any(), &PatchParams::default(), &patch).await).map(|_| None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value};

    use super::*;

    fn pod(node: &str, volumes: Value) -> Pod {
        let spec = json!({ "nodeName": node, "containers": [], "volumes": volumes });
        from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec })).unwrap()
    }

    fn claim(name: &str) -> PersistentVolumeClaim {
        let owners = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u" }]);
        from_value(json!({ "metadata": { "name": name, "ownerReferences": owners } })).unwrap()
    }

    #[test]
    fn scheduled_pods_use_their_claims_by_name_and_ephemeral_ones() {
        let named = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }]);
        assert!(uses(&pod("n", named.clone()), &claim("c")));
        assert!(!uses(&pod("", named.clone()), &claim("c")));
        assert!(!uses(&pod("n", named.clone()), &claim("d")));
        let own = json!([{ "name": "v", "ephemeral": {} }]);
        assert!(uses(&pod("n", own.clone()), &claim("p-v")));
        let mut ended = pod("n", own.clone());
        ended.metadata.deletion_timestamp = from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        ended.metadata.deletion_grace_period_seconds = Some(0);
        assert!(!uses(&ended, &claim("p-v")));
        assert_eq!(mounted(&pod("n", own)), ["p-v"]);
        assert_eq!(mounted(&pod("n", named)), ["c"]);
    }

    #[test]
    fn only_what_is_deleted_is_let_go() {
        let meta = |deleted: bool, finalizer: &str| ObjectMeta {
            deletion_timestamp: deleted.then(|| from_value(json!("2026-01-01T00:00:00Z")).unwrap()),
            finalizers: Some(vec![finalizer.to_owned()]),
            ..ObjectMeta::default()
        };
        assert!(is_held(&meta(true, CLAIM_PROTECTION), CLAIM_PROTECTION));
        assert!(!is_held(&meta(false, CLAIM_PROTECTION), CLAIM_PROTECTION));
        assert!(!is_held(&meta(true, VOLUME_PROTECTION), CLAIM_PROTECTION));
    }
}
