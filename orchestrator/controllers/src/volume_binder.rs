//! Binds claims to volumes and says what phase each is in. `claim` and `volume` decide, `matching` finds, `writer` writes; this
//! file reads. Volumes are made and deleted by whoever provisions them; claims of classes that wait for their first consumer
//! are left to the scheduler.
//!
//! ```text
//!  claim  Pending ─► Bound ─► Lost        volume  Available ─► Bound ─► Released ─► Failed
//! ```

mod claim;
mod matching;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::Api;

use crate::context::{Context, follow, found};
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};
use claim::BIND_COMPLETED;
use volume::Reclaim;

/// One at a time: two claims never want the same volume at once.
const WORKERS: usize = 1;
const UNBOUND: &str = "unbound";
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

#[derive(Clone)]
struct Binder {
    context: Context,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    of_claims: Queue<ObjectKey>,
    of_volumes: Queue<String>,
}

struct Claims(Binder);
struct Volumes(Binder);

pub async fn run(context: Context) {
    let context = context.signed_by("persistentvolume-controller");
    let informers = &context.informers;
    let (claims, volumes) = (informers.of::<PersistentVolumeClaim>(), informers.of::<PersistentVolume>());
    let classes = informers.of::<StorageClass>();
    claims.index(UNBOUND, |claim| match claim.annotations().contains_key(BIND_COMPLETED) {
        true => Vec::new(),
        false => vec![String::new()],
    });
    tokio::join!(claims.synced(), volumes.synced(), classes.synced());
    let this = Binder {
        context,
        claims: claims.clone(),
        volumes: volumes.clone(),
        classes: classes.clone(),
        of_claims: Queue::new("claims"),
        of_volumes: Queue::new("volumes"),
    };
    tokio::join!(
        follow(claims, |claim| this.claim_changed(claim)),
        follow(volumes, |volume| this.volume_changed(volume)),
        follow(classes, |_| this.wake_unbound()),
        this.of_claims.clone().work(WORKERS, Arc::new(Claims(this.clone()))),
        this.of_volumes.clone().work(WORKERS, Arc::new(Volumes(this.clone()))),
    );
}

impl Binder {
    fn claim_changed(&self, claim: &PersistentVolumeClaim) {
        self.of_claims.add(key_of(&claim.metadata));
        let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
        bound.filter(|name| !name.is_empty()).into_iter().for_each(|name| self.of_volumes.add(name));
    }

    fn volume_changed(&self, volume: &PersistentVolume) {
        self.of_volumes.add(volume.name_any());
        match claim_key(volume) {
            Some(key) => self.of_claims.add(key),
            None => self.wake_unbound(),
        }
    }

    fn wake_unbound(&self) {
        self.claims.indexed(UNBOUND, "").iter().for_each(|claim| self.of_claims.add(key_of(&claim.metadata)));
    }

    /// Claims that named no class before there was a default get it afterwards.
    fn default_class(&self, claim: &PersistentVolumeClaim) -> Option<String> {
        let has_class = claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some());
        if has_class || !matching::class_of(claim.annotations(), None).is_empty() {
            return None;
        }
        let is_default = |class: &Arc<StorageClass>| class.annotations().get(IS_DEFAULT).is_some_and(|is| is == "true");
        let defaults = self.classes.list().into_iter().filter(is_default);
        let newest = defaults.max_by_key(|class| (class.creation_timestamp(), std::cmp::Reverse(class.name_any())));
        newest.map(|class| class.name_any())
    }
}

impl Reconcile<ObjectKey> for Claims {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let binder = &self.0;
        let Some(claim) = binder.claims.get(namespace, name) else { return Ok(None) };
        let is_bound = claim.annotations().contains_key(BIND_COMPLETED);
        if !is_bound
            && !is_terminating(&claim.metadata)
            && let Some(class) = binder.default_class(&claim)
        {
            let mut classed = (*claim).clone();
            classed.spec.get_or_insert_default().storage_class_name = Some(class);
            return binder.write_claim(&claim, &classed).await.map(|_| None);
        }
        let spec = claim.spec.as_ref();
        let class = matching::class_of(claim.annotations(), spec.and_then(|spec| spec.storage_class_name.as_ref()));
        let class = binder.classes.get("", &class);
        // A bound claim knows its volume; only others look at all.
        let named = spec.and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
        let volumes = match named {
            Some(name) => binder.volumes.get("", name).into_iter().collect(),
            None => binder.volumes.list(),
        };
        match claim::step(&claim, &volumes, class.as_deref()) {
            claim::Step::Rest => {}
            claim::Step::Bind(volume) => binder.bind(&claim, &volume).await?,
            claim::Step::Provision { provisioner } => binder.await_provisioner(&claim, &provisioner).await?,
            claim::Step::Wait(why) => {
                why.iter().for_each(|why| binder.tell(&claim, why));
                binder.set_claim_phase(&claim, "Pending", None).await?;
            }
            claim::Step::Lost { reason, message } => {
                // The informer of volumes may be behind that of claims.
                let unseen = named.filter(|_| volumes.is_empty());
                if let Some(name) = unseen
                    && found(binder.volume_api().get(name).await)?.is_some()
                {
                    return Ok(Some(Duration::from_secs(1)));
                }
                if binder.set_claim_phase(&claim, "Lost", None).await? {
                    binder.context.recorder.warning(&*claim, reason, message);
                }
            }
        }
        Ok(None)
    }
}

impl Reconcile<String> for Volumes {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let binder = &self.0;
        let Some(volume) = binder.volumes.get("", name) else { return Ok(None) };
        let key = claim_key(&volume);
        let mut claim = key.as_ref().and_then(|(namespace, name)| binder.claims.get(namespace, name));
        let is_released = matches!(phase(&volume), "Released" | "Failed");
        // The informer of claims may be behind that of volumes, and a release cannot be undone.
        if let Some((namespace, name)) = key.as_ref().filter(|_| claim.is_none() && !is_released) {
            let api: Api<PersistentVolumeClaim> = binder.context.namespaced(namespace);
            claim = found(api.get(name).await)?.map(Arc::new);
        }
        match volume::step(&volume, claim.as_deref()) {
            volume::Step::Phase(phase) => drop(binder.set_phase(&volume, phase, "").await?),
            volume::Step::WakeClaim => key.into_iter().for_each(|key| binder.of_claims.add(key)),
            volume::Step::Unbind => binder.unbind(&volume).await?,
            volume::Step::Reclaim(reclaim) => {
                let volume =
                    if is_released { (*volume).clone() } else { binder.set_phase(&volume, "Released", "").await? };
                if let Reclaim::Fail { reason, message } = reclaim
                    && phase(&volume) != "Failed"
                {
                    binder.set_phase(&volume, "Failed", &message).await?;
                    binder.context.recorder.warning(&volume, reason, message);
                }
            }
        }
        Ok(None)
    }
}

fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The claim that a volume refers to.
fn claim_key(volume: &PersistentVolume) -> Option<ObjectKey> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default()))
}
