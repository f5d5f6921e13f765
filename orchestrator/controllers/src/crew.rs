//! The pods of an owner: which are its own, making more of them, ending some. What was written and is not shown yet
//! (`pending`) is counted in, so that nobody creates or deletes twice. ReplicaSets, StatefulSets, DaemonSets
//! and Jobs keep one.

use std::collections::HashSet;
use std::sync::Arc;

use amphipod_api::Informer;
use amphipod_api::informer::{Object, ObjectKey};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};

use crate::claim::Claimer;
use crate::context::{Context, delete, found};
use crate::pending::{Pending, UNSEEN_MAX};
use crate::pods::controller_of;
use crate::replica_set::{is_namespace_terminating, reason};

/// Creates and deletes under way at once for one owner.
const WRITES_MAX: usize = 64;
/// Pods created or deleted in one pass; upstream's burst.
pub const BURST_MAX: usize = 500;

const ORPHANS: &str = "orphans";

/// What owns pods.
pub trait Owner: Object + Resource<Scope = NamespaceResourceScope> {}
impl<T: Object + Resource<Scope = NamespaceResourceScope>> Owner for T {}

pub struct Crew {
    context: Context,
    pods: Informer<Pod>,
    pending: Pending,
    mark: Option<&'static str>,
}

impl Crew {
    /// `context` signs the events.
    pub fn new(context: Context, pods: Informer<Pod>) -> Self {
        pods.index(ORPHANS, |pod| match controller_of(&pod.metadata) {
            None => vec![pod.metadata.namespace.clone().unwrap_or_default()],
            Some(_) => Vec::new(),
        });
        Self { context, pods, pending: Pending::default(), mark: None }
    }

    /// What is adopted gets this finalizer, what is released loses it.
    pub fn marked(self, finalizer: &'static str) -> Self {
        Self { mark: Some(finalizer), ..self }
    }

    /// Call with every pod that the informer shows: whom of these owners it concerns (`Pending::concerned`).
    pub fn concerned<K: Object>(
        &self,
        pod: &Pod,
        owners: (&str, &Informer<K>),
        takes: impl Fn(&K) -> bool,
    ) -> Vec<ObjectKey> {
        self.pending.concerned(pod, owners, takes)
    }

    /// The owner ends: what was written for it is nobody's matter any more.
    pub fn forget(&self, owner: &str) {
        self.pending.forget(owner);
    }

    /// What may be the owner's: its pods, and those of its namespace that nobody owns.
    pub fn candidates<O: Owner>(&self, owner: &O) -> Vec<Arc<Pod>> {
        let mut candidates = self.pods.owned_by(owner.meta().uid.as_deref().unwrap_or_default());
        candidates.extend(self.pods.indexed(ORPHANS, &owner.namespace().unwrap_or_default()));
        candidates
    }

    /// The owner's pods as they are once everything written so far is visible: those that were told to end bear a
    /// deletion timestamp. Orphans for which `fits` holds are adopted.
    pub async fn claimed<O: Owner>(
        &self,
        owner: &O,
        selector: &LabelSelector,
        fits: impl Fn(&Pod) -> bool + Send,
    ) -> kube::Result<Vec<Arc<Pod>>> {
        let uid = owner.meta().uid.as_deref().unwrap_or_default();
        let mut candidates = self.candidates(owner);
        candidates.retain(|pod| controller_of(&pod.metadata).is_some() || fits(pod));
        let mut pods = Claimer { owner, selector }.claim_marked(&self.context, candidates, self.mark).await?;
        let known: HashSet<_> = pods.iter().filter_map(|pod| pod.uid()).collect();
        for (pod, unseen_for) in self.pending.unseen(uid) {
            if known.contains(pod.metadata.uid.as_deref().unwrap_or_default()) {
                continue;
            }
            if unseen_for > UNSEEN_MAX && !self.still_exists(&pod).await? {
                self.pending.seen(uid, &pod);
                continue;
            }
            pods.push(Arc::new(pod));
        }
        let listed = pods.iter().filter_map(|pod| pod.uid()).collect();
        let ending = self.pending.ending(uid, &listed);
        for pod in pods.iter_mut().filter(|pod| pod.uid().is_some_and(|uid| ending.contains(&uid))) {
            if pod.metadata.deletion_timestamp.is_none() {
                Arc::make_mut(pod).metadata.deletion_timestamp = Some(Time(self.context.now()));
            }
        }
        Ok(pods)
    }

    async fn still_exists(&self, pod: &Pod) -> kube::Result<bool> {
        let api: Api<Pod> = self.context.namespaced(&pod.namespace().unwrap_or_default());
        Ok(found(api.get(&pod.name_any()).await)?.is_some_and(|live| live.uid() == pod.uid()))
    }

    /// Creates one pod; it is counted in from now on.
    pub async fn create_one<O: Owner>(&self, owner: &O, pod: &Pod) -> kube::Result<Pod> {
        let api: Api<Pod> = self.context.namespaced(&owner.namespace().unwrap_or_default());
        let created = api.create(&PostParams::default(), pod).await?;
        self.pending.created(owner.meta().uid.as_deref().unwrap_or_default(), created.clone(), &self.pods);
        Ok(created)
    }

    /// Deletes one pod if it is still the same; it counts as ending from now on. False when it was gone.
    pub async fn delete_one<O: Owner>(&self, owner: &O, pod: &Pod) -> kube::Result<bool> {
        let api: Api<Pod> = self.context.namespaced(&owner.namespace().unwrap_or_default());
        let was_there = delete(&api, &pod.name_any(), pod.uid()).await?;
        self.pending.deleted(owner.meta().uid.as_deref().unwrap_or_default(), pod.uid().unwrap_or_default());
        Ok(was_there)
    }

    /// Creates pods and tells of each. Doubles from one, so that a template which the API refuses costs one refusal,
    /// then keeps `WRITES_MAX` under way. Gives how many there are now, and why not all.
    pub async fn create<O: Owner>(
        &self,
        owner: &O,
        mut pods: impl Iterator<Item = Pod> + Send,
    ) -> (usize, kube::Result<()>) {
        let (mut created, mut batch) = (0, 1);
        loop {
            let size = if batch < WRITES_MAX { batch } else { usize::MAX };
            let next: Vec<Pod> = pods.by_ref().take(size).collect();
            if next.is_empty() {
                return (created, Ok(()));
            }
            let creating = next.into_iter().map(|pod| self.create_told(owner, pod));
            let mut creating = futures::stream::iter(creating).buffer_unordered(WRITES_MAX);
            let mut refused = Ok(());
            while let Some(result) = creating.next().await {
                created += usize::from(result.is_ok());
                refused = refused.and(result);
            }
            if refused.is_err() {
                return (created, refused);
            }
            batch *= 2;
        }
    }

    async fn create_told<O: Owner>(&self, owner: &O, pod: Pod) -> kube::Result<()> {
        match self.create_one(owner, &pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                self.context.recorder.normal(owner, "SuccessfulCreate", message);
                Ok(())
            }
            // The namespace ends: nothing can be created in it and nothing needs to be.
            Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", reason(&error));
                self.context.recorder.warning(owner, "FailedCreate", message);
                Err(error)
            }
        }
    }

    /// Deletes pods, a burst at the most, and tells of each. Gives those that are gone or going, and why not all.
    pub async fn delete<O: Owner>(&self, owner: &O, pods: Vec<Arc<Pod>>) -> (Vec<Arc<Pod>>, kube::Result<()>) {
        let deleting = pods.into_iter().take(BURST_MAX);
        let deleting = deleting.map(|pod| async move { (self.delete_one(owner, &pod).await, pod) });
        let mut deleting = futures::stream::iter(deleting).buffer_unordered(WRITES_MAX);
        let (mut deleted, mut refused) = (Vec::new(), Ok(()));
        while let Some((result, pod)) = deleting.next().await {
            match result {
                Ok(was_there) => {
                    if was_there {
                        let message = format!("Deleted pod: {}", pod.name_any());
                        self.context.recorder.normal(owner, "SuccessfulDelete", message);
                    }
                    deleted.push(pod);
                }
                Err(error) => {
                    let message = format!("Error deleting: {}", reason(&error));
                    self.context.recorder.warning(owner, "FailedDelete", message);
                    refused = Err(error);
                }
            }
        }
        (deleted, refused)
    }
}
