//! Tells for each PodDisruptionBudget how many pods may be disrupted now, and takes back what was said of pods that were
//! not disrupted after all (`stale`). `budget` decides, `scale` asks the pods' controllers. The eviction subresource reads
//! the status, and takes from it (`server/src/subresources/eviction.rs`).

mod budget;
mod scale;
mod stale;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{Object, ObjectKey, key_of};
use amphipod_api::{Change, Informer, selector};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::context::{Context, difference, follow, found};
use crate::queue::{Queue, Reconcile};
use scale::{Scales, Unscalable};

const WORKERS: usize = 4;

struct Budgets {
    context: Context,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    scales: Scales,
}

struct Stale {
    context: Context,
    pods: Informer<Pod>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("controllermanager");
    let (budgets, pods) = (context.informers.of::<PodDisruptionBudget>(), context.informers.of::<Pod>());
    let scales = Scales::new(context.clone());
    tokio::join!(budgets.synced(), pods.synced(), scales.synced());
    let (queue, overdue) = (Queue::new("disruption"), Queue::new("stale_pod_disruption"));
    let this = Budgets { context: context.clone(), budgets: budgets.clone(), pods: pods.clone(), scales };
    let this = Arc::new(this);
    let of_pod = |pod: &Pod| {
        this.wake_budgets(pod, &queue);
        if let Some(left) = stale::stale_in(pod, context.now()) {
            overdue.add_after(key_of(&pod.metadata), left);
        }
    };
    let cleaner = Arc::new(Stale { context: context.clone(), pods: pods.clone() });
    tokio::join!(
        follow(budgets, |budget| queue.add(key_of(&budget.metadata))),
        follow(pods, of_pod),
        this.follow_specs(&this.scales.deployments, &queue),
        this.follow_specs(&this.scales.replica_sets, &queue),
        this.follow_specs(&this.scales.stateful_sets, &queue),
        this.follow_specs(&this.scales.replication_controllers, &queue),
        queue.clone().work(WORKERS, this.clone()),
        overdue.clone().work(WORKERS, cleaner),
    );
}

/// Why a budget could not be computed.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Scale(#[from] Unscalable),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Budgets {
    fn wake_budgets(&self, pod: &Pod, queue: &Queue<ObjectKey>) {
        let covering = self.covering(pod);
        for budget in &covering {
            queue.add(key_of(&budget.metadata));
        }
        if let [first, _, ..] = covering.as_slice() {
            let (namespace, name) = key_of(&pod.metadata);
            let message = format!(
                "Pod {namespace:?}/{name:?} matches multiple PodDisruptionBudgets.  Chose {:?} arbitrarily.",
                first.name_any()
            );
            self.context.recorder.warning(pod, "MultiplePodDisruptionBudgets", message);
        }
    }

    fn covering(&self, pod: &Pod) -> Vec<Arc<PodDisruptionBudget>> {
        let mut budgets = self.budgets.in_namespace(&pod.namespace().unwrap_or_default());
        budgets.retain(|budget| covers(budget, pod));
        budgets
    }

    /// Only what a controller wants matters, not what it reports.
    async fn follow_specs<K: Object>(&self, controllers: &Informer<K>, queue: &Queue<ObjectKey>) {
        let mut changes = controllers.subscribe();
        while let Some(change) = changes.next().await {
            let changed = match change {
                Change::Applied { now, before } if wants_other(&*now, before.as_deref()) => now,
                _ => continue,
            };
            let namespace = changed.meta().namespace.clone().unwrap_or_default();
            self.budgets.in_namespace(&namespace).iter().for_each(|budget| queue.add(key_of(&budget.metadata)));
        }
    }

    async fn settle(&self, budget: &PodDisruptionBudget) -> Result<Option<Duration>, Unsettled> {
        let mut pods = self.pods.in_namespace(&budget.namespace().unwrap_or_default());
        pods.retain(|pod| covers(budget, pod));
        if pods.is_empty() {
            self.context.recorder.normal(budget, "NoPods", "No matching pods found");
        }
        let mut scale = 0;
        if budget::needs_scale(budget) {
            let (sum, unmanaged) = self.scales.of(&pods).await.inspect_err(|error| self.tell_unknown(budget, error))?;
            scale = sum;
            if !unmanaged.is_empty() {
                self.tell_unmanaged(budget);
            }
        }
        let count = budget::count(budget, pods.len(), scale);
        let (status, again, kept) = budget::status(budget, &pods, count, self.context.now());
        for pod in kept {
            let namespace = budget.namespace().unwrap_or_default();
            // The namespace twice is upstream's.
            let message = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
            self.context.recorder.warning(&*pod, "NotDeleted", message);
        }
        self.write(budget, &status).await?;
        Ok(again)
    }

    fn tell_unknown(&self, budget: &PodDisruptionBudget, error: &Unscalable) {
        let message = format!("Failed to calculate the number of expected pods: {error}");
        self.context.recorder.warning(budget, "CalculateExpectedPodCountFailed", message);
    }

    fn tell_unmanaged(&self, budget: &PodDisruptionBudget) {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.map(printed).unwrap_or_default();
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status \
             of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods \
             please set \".spec.minAvailable\" field of the PDB to an integer value."
        );
        self.context.recorder.warning(budget, "UnmanagedPods", message);
    }

    /// Only onto what was read: an eviction takes from the same status.
    async fn write(&self, budget: &PodDisruptionBudget, status: &PodDisruptionBudgetStatus) -> kube::Result<()> {
        let before = budget.status.clone().unwrap_or_default();
        let Some(change) = difference(&before, status) else { return Ok(()) };
        let api: Api<PodDisruptionBudget> = self.context.namespaced(&budget.namespace().unwrap_or_default());
        let patch = json!({ "metadata": { "resourceVersion": budget.resource_version() }, "status": change });
        found(api.patch_status(&budget.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await).map(drop)
    }
}

fn wants_other<K: Object>(now: &K, before: Option<&K>) -> bool {
    before.is_none_or(|before| before.meta().generation != now.meta().generation)
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selector::matches(selector, pod.metadata.labels.as_ref()))
}

/// As Go prints it.
pub fn printed(selector: &LabelSelector) -> String {
    let pairs = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    let (pairs, expressions): (String, String) = (pairs.collect(), expressions.collect());
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

impl Reconcile<ObjectKey> for Budgets {
    type Error = Unsettled;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> Result<Option<Duration>, Unsettled> {
        let Some(budget) = self.budgets.get(namespace, name) else { return Ok(None) };
        match self.settle(&budget).await {
            Err(Unsettled::Api(kube::Error::Api(status))) if status.is_conflict() => {
                Err(Unsettled::Api(kube::Error::Api(status)))
            }
            Err(error) => {
                let status = budget::failed(&budget, &error.to_string(), self.context.now());
                self.write(&budget, &status).await?;
                Ok(None)
            }
            settled => settled,
        }
    }
}

impl Reconcile<ObjectKey> for Stale {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name): &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(pod) = self.pods.get(namespace, name) else { return Ok(None) };
        let now = self.context.now();
        match stale::stale_in(&pod, now) {
            Some(left) if left.is_zero() => {
                let api: Api<Pod> = self.context.namespaced(namespace);
                let patch = Patch::Strategic(stale::taken_back(&pod, now));
                found(api.patch_status(name, &PatchParams::default(), &patch).await).map(|_| None)
            }
            left => Ok(left),
        }
    }
}
