//! Keeps pods with names, an order and claims of their own for each StatefulSet. `plan` decides what a pass does,
//! `identity` what a pod is, `claims` who owns its storage, `status` counts; this file reads, and `writer` writes.
//!
//! ```text
//!  revisions ─► template of each ordinal ┐
//!  pods, claims ─► members ─► plan ─► steps ─► writer ─► status
//! ```
//!
//! There are never two pods of one ordinal: the name is the pod's, and the API gives each name once.

mod claims;
mod identity;
mod plan;
mod status;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::informer::{ObjectKey, key_of};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::Api;

use crate::amount::{Round, scaled};
use crate::context::{Context, follow, write_status};
use crate::crew::Crew;
use crate::hash::revision_hash;
use crate::history::{Draft, History, owner_key, snapshot, surplus};
use crate::pods::{is_available, is_terminal, is_terminating, phase};
use crate::queue::{Queue, Reconcile};
use plan::{Member, Rolling, Shape};
use status::{Revisions, is_up};
use writer::Writer;

const WORKERS: usize = 16;
const KIND: &str = "StatefulSet";
/// The label of a revision's hash; that of a pod bears the revision's whole name.
const HASH: &str = "controller.kubernetes.io/hash";

struct StatefulSets {
    context: Context,
    sets: Informer<StatefulSet>,
    claims: Informer<PersistentVolumeClaim>,
    crew: Crew,
    history: History,
}

pub async fn run(context: Context) {
    let context = context.signed_by("statefulset-controller");
    let sets = context.informers.of::<StatefulSet>();
    let (pods, claims) = (context.informers.of::<Pod>(), context.informers.of::<PersistentVolumeClaim>());
    let (crew, history) = (Crew::new(context.clone(), pods.clone()), History::new(context.clone()));
    tokio::join!(sets.synced(), pods.synced(), claims.synced(), history.synced());
    let queue = Queue::new("statefulset");
    let this = Arc::new(StatefulSets { context, sets: sets.clone(), claims: claims.clone(), crew, history });
    let of_revision = |revision: &ControllerRevision| {
        owner_key(revision, KIND).into_iter().for_each(|key| queue.add(key));
    };
    tokio::join!(
        follow(sets, |set| queue.add(key_of(&set.metadata))),
        follow(pods, |pod| this.wake_owner(pod, &queue)),
        follow(claims, |claim| this.wake_user(claim, &queue)),
        follow(this.history.informer(), of_revision),
        queue.clone().work(WORKERS, this.clone()),
    );
}

impl StatefulSets {
    fn wake_owner(&self, pod: &Pod, queue: &Queue<ObjectKey>) {
        let takes = |set: &StatefulSet| identity::ordinal(&set.name_any(), &pod.name_any()).is_some();
        self.crew.concerned(pod, (KIND, &self.sets), takes).into_iter().for_each(|key| queue.add(key));
    }

    /// A claim that is missing is made anew, one that goes makes room for a new one, owners are put right.
    fn wake_user(&self, claim: &PersistentVolumeClaim, queue: &Queue<ObjectKey>) {
        let (namespace, name) = key_of(&claim.metadata);
        let sets = self.sets.in_namespace(&namespace);
        let uses = |set: &&Arc<StatefulSet>| claims::could_be_of(set, &name);
        sets.iter().filter(uses).for_each(|set| queue.add(key_of(&set.metadata)));
    }

    /// The set's pods by their ordinals.
    async fn pods(&self, set: &StatefulSet) -> kube::Result<BTreeMap<i32, Arc<Pod>>> {
        let name = set.name_any();
        let fits = |pod: &Pod| identity::ordinal(&name, &pod.name_any()).is_some();
        let claimed = self.crew.claimed(set, &set.spec.selector, fits).await?;
        let by_ordinal = |pod: Arc<Pod>| Some((identity::ordinal(&name, &pod.name_any())?, pod));
        Ok(claimed.into_iter().filter_map(by_ordinal).collect())
    }

    /// Whether the pod and its claims are as the set wants them. Of a pod that is to go only the claims matter.
    fn is_settled(&self, set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
        let is_kept = identity::ordinals(set).contains(&ordinal);
        let is_itself = || identity::is_identified(pod) && identity::is_furnished(set, pod, ordinal);
        (!is_kept || is_itself()) && self.misowned(set, pod, ordinal).is_empty()
    }

    /// Claims whose owners are not those of the set's policy, with those owners.
    fn misowned(
        &self,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Vec<(Arc<PersistentVolumeClaim>, Vec<OwnerReference>)> {
        let owners = claims::Owners::of(set, pod, ordinal);
        let namespace = set.namespace().unwrap_or_default();
        let live = identity::claims(set, ordinal).into_values();
        let live = live.filter_map(|claim| self.claims.get(&namespace, &claim.name_any()));
        let wrong = live.filter_map(|claim| Some((claim.clone(), owners.wanted(claim.owner_references())?)));
        wrong.collect()
    }

    fn members(&self, set: &StatefulSet, pods: &BTreeMap<i32, Arc<Pod>>, update: &str) -> BTreeMap<i32, Member> {
        let (now, min_ready) = (self.context.now(), set.spec.min_ready_seconds.unwrap_or(0));
        let member = |(ordinal, pod): (&i32, &Arc<Pod>)| {
            let member = Member {
                ended: is_terminal(pod),
                pending: phase(pod) == "Pending",
                terminating: is_terminating(&pod.metadata),
                available: is_up(pod) && is_available(pod, min_ready, now),
                updated: identity::revision(pod) == update,
                settled: self.is_settled(set, pod, *ordinal),
            };
            (*ordinal, member)
        };
        pods.iter().map(member).collect()
    }

    /// The revision that pods get now, and how often its name was taken.
    async fn newest(
        &self,
        set: &StatefulSet,
        revisions: &mut Vec<Arc<ControllerRevision>>,
    ) -> kube::Result<(Arc<ControllerRevision>, i32)> {
        let template = &set.spec.template;
        let mut collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        loop {
            let data = snapshot(template);
            let hash = revision_hash(&data, collisions);
            let draft = Draft { template, data, hash, label: HASH };
            match self.history.newest(set, revisions, draft).await? {
                Ok(newest) => return Ok((newest, collisions)),
                Err(_) => collisions += 1,
            }
        }
    }

    async fn clean_up(
        &self,
        set: &StatefulSet,
        revisions: &[Arc<ControllerRevision>],
        pods: &BTreeMap<i32, Arc<Pod>>,
        (current, update): (&ControllerRevision, &ControllerRevision),
    ) -> kube::Result<()> {
        let mut live: HashSet<_> = pods.values().map(|pod| identity::revision(pod).to_owned()).collect();
        live.extend([current.name_any(), update.name_any()]);
        let limit = set.spec.revision_history_limit.unwrap_or(10);
        self.history.delete(surplus(revisions, &live, limit)).await
    }
}

impl Reconcile<ObjectKey> for StatefulSets {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(set) = self.sets.get(namespace, name) else { return Ok(None) };
        let pods = self.pods(&set).await?;
        if is_terminating(&set.metadata) {
            // Its revisions may be gone already and must not come back.
            self.crew.forget(set.metadata.uid.as_deref().unwrap_or_default());
            return self.report(&set, &pods, &Revisions::known(&set)).await;
        }
        let mut revisions = self.history.claimed(&*set, &set.spec.selector).await?;
        let (update, collisions) = self.newest(&set, &mut revisions).await?;
        let named = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = revisions.iter().find(|one| Some(one.name_any()) == named).unwrap_or(&update).clone();
        let steps = plan::plan(&shape(&set), &self.members(&set, &pods, &update.name_any()));
        let writer = Writer { sets: self, set: &set, pods: &pods, current: &current, update: &update };
        let applied = writer.apply(steps).await;
        let names = Revisions { current: current.name_any(), update: update.name_any(), collisions };
        let reported = self.report(&set, &pods, &names).await;
        self.clean_up(&set, &revisions, &pods, (&current, &update)).await?;
        applied.and(reported)
    }
}

impl StatefulSets {
    async fn report(
        &self,
        set: &StatefulSet,
        pods: &BTreeMap<i32, Arc<Pod>>,
        revisions: &Revisions,
    ) -> kube::Result<Option<Duration>> {
        let pods: Vec<_> = pods.values().cloned().collect();
        let (status, again) = status::status(set, &pods, revisions, self.context.now());
        let api: Api<StatefulSet> = self.context.namespaced(&set.namespace().unwrap_or_default());
        write_status(&api, &set.name_any(), &set.status.clone().unwrap_or_default(), &status).await?;
        Ok(again)
    }
}

fn shape(set: &StatefulSet) -> Shape {
    let ordinals = identity::ordinals(set);
    let strategy = set.spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let replicas = set.spec.replicas.unwrap_or(1);
    let limit = rolling.and_then(|rolling| rolling.max_unavailable.clone()).unwrap_or(IntOrString::Int(1));
    let limit = scaled(&limit, replicas, Round::Down).max(1);
    let is_rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
    Shape {
        ordinals,
        ordered: set.spec.pod_management_policy.as_deref() != Some("Parallel"),
        rolling: is_rolling.then(|| Rolling {
            partition: rolling.and_then(|rolling| rolling.partition).unwrap_or(0),
            max_unavailable: usize::try_from(limit).unwrap_or(1),
        }),
    }
}
