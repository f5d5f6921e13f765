//! What an owner has written and its informer has not shown yet. Counting it in keeps an owner from creating
//! or deleting twice, without waiting for the informer to catch up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{Object, ObjectKey, key_of};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::pods::controller_of;

/// After this the API is asked whether an unseen pod is still there.
pub const UNSEEN_MAX: Duration = Duration::from_secs(5);

/// Pods created or deleted by uid of their owner.
#[derive(Default)]
pub struct Pending {
    owners: Mutex<HashMap<String, Writes>>,
}

#[derive(Default)]
struct Writes {
    created: HashMap<String, (Pod, Instant)>,
    deleted: HashSet<String>,
}

impl Pending {
    /// Call with the API's answer to a create.
    pub fn created(&self, owner: &str, pod: Pod, informer: &Informer<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        self.of(owner, |writes| writes.created.insert(uid.clone(), (pod, Instant::now())));
        // The informer may have been faster than the answer.
        if informer.get(&namespace, &name).and_then(|seen| seen.uid()).as_ref() == Some(&uid) {
            self.of(owner, |writes| writes.created.remove(&uid));
        }
    }

    /// Call once the API has accepted a delete.
    pub fn deleted(&self, owner: &str, uid: String) {
        self.of(owner, |writes| writes.deleted.insert(uid));
    }

    /// Call with every pod that the informer shows, whatever happened to it. Gives whom it concerns: its owner of this
    /// kind or, where nobody owns it, those of its namespace that would take it.
    pub fn concerned<K: Object>(
        &self,
        pod: &Pod,
        (kind, owners): (&str, &Informer<K>),
        takes: impl Fn(&K) -> bool,
    ) -> Vec<ObjectKey> {
        let namespace = pod.namespace().unwrap_or_default();
        match controller_of(&pod.metadata) {
            Some(owner) if owner.kind == kind => {
                self.seen(&owner.uid, pod);
                vec![(namespace, owner.name.clone())]
            }
            Some(_) => Vec::new(),
            None => {
                let owners = owners.in_namespace(&namespace);
                owners.iter().filter(|owner| takes(owner)).map(|owner| key_of(owner.meta())).collect()
            }
        }
    }

    /// The informer shows it, or the API knows nothing of it.
    pub fn seen(&self, owner: &str, pod: &Pod) {
        let Some(uid) = &pod.metadata.uid else { return };
        if let Some(writes) = self.owners.lock().get_mut(owner) {
            writes.created.remove(uid);
        }
    }

    pub fn forget(&self, owner: &str) {
        self.owners.lock().remove(owner);
    }

    /// Pods created and not yet shown, with how long they have been missing.
    pub fn unseen(&self, owner: &str) -> Vec<(Pod, Duration)> {
        let owners = self.owners.lock();
        let created = owners.get(owner).map(|writes| writes.created.values());
        created.into_iter().flatten().map(|(pod, since)| (pod.clone(), since.elapsed())).collect()
    }

    /// Of these uids, those whose deletion was accepted; what is no longer listed is forgotten.
    pub fn ending(&self, owner: &str, listed: &HashSet<String>) -> HashSet<String> {
        let mut owners = self.owners.lock();
        let Some(writes) = owners.get_mut(owner) else { return HashSet::new() };
        writes.deleted.retain(|uid| listed.contains(uid));
        writes.deleted.clone()
    }

    fn of<T>(&self, owner: &str, change: impl FnOnce(&mut Writes) -> T) {
        change(self.owners.lock().entry(owner.to_owned()).or_default());
    }
}
