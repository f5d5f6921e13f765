//! What the scheduler writes: bindings, conditions, nominations, claims' nodes and volumes' claims, and the end of
//! victims. Each in a task of its own; `Written` says how it ended.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{Informer, Recorder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use crate::volumes::{ClaimKey, Plan, SELECTED_NODE, is_bound};

/// How long volumes may take to be made and bound.
const VOLUMES_MAX: Duration = Duration::from_secs(600);

/// Why a pod could not be bound; all may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("binding volumes: provisioning failed for PVC {0:?}")]
    Provisioning(String),
    #[error("binding volumes: failed to check provisioning pvc: persistentvolumeclaim {0:?} not found")]
    Gone(String),
    #[error("binding volumes: context deadline exceeded")]
    TooLate,
}

/// What a pod is told of its scheduling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `Unschedulable` or `SchedulerError`.
    pub reason: &'static str,
    pub message: String,
    /// The node that it waits for; `Some("")`: for none any more.
    pub nominated: Option<String>,
}

pub async fn bind(client: kube::Client, pod: &Pod, node: &str) -> Result<(), Failure> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name_any()),
            namespace: pod.namespace(),
            uid: pod.uid(),
            ..Default::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.to_owned()), ..Default::default() },
    };
    let api = pods(client, pod);
    api.create_subresource::<_, Value>("binding", &pod.name_any(), &PostParams::default(), &binding).await?;
    Ok(())
}

fn pods(client: kube::Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client, &pod.namespace().unwrap_or_default())
}

pub async fn tell(client: kube::Client, pod: &Pod, told: &Told, now: Timestamp) -> kube::Result<()> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut before = conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let since = before.next().and_then(|condition| condition.last_transition_time.clone());
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some(told.reason.into()),
        message: Some(told.message.clone()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        observed_generation: pod.metadata.generation,
        ..Default::default()
    };
    let mut status = json!({ "conditions": [condition] });
    if let Some(nominated) = &told.nominated {
        status["nominatedNodeName"] = if nominated.is_empty() { Value::Null } else { nominated.as_str().into() };
    }
    patch_status(client, pod, status).await
}

async fn patch_status(client: kube::Client, pod: &Pod, status: Value) -> kube::Result<()> {
    let patch = json!({ "metadata": { "uid": pod.uid() }, "status": status });
    let api = pods(client, pod);
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

/// The node it waited for is for somebody more important.
pub async fn clear_nomination(client: kube::Client, pod: &Pod) -> kube::Result<()> {
    patch_status(client, pod, json!({ "nominatedNodeName": null })).await
}

/// Ends a victim, with the grace that it asks for.
pub async fn evict(
    client: kube::Client,
    (victim, preemptor): (&Pod, &Pod),
    (node, now): (&str, Timestamp),
    recorder: &Recorder,
) -> kube::Result<()> {
    let by = preemptor.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(crate::NAME);
    let condition = PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("PreemptionByScheduler".into()),
        message: Some(format!("{by}: preempting to accommodate a higher priority pod")),
        last_transition_time: Some(Time(now)),
        observed_generation: victim.metadata.generation,
        ..Default::default()
    };
    let done = async {
        patch_status(client.clone(), victim, json!({ "conditions": [condition] })).await?;
        let only_it = Preconditions { uid: victim.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(only_it), ..DeleteParams::default() };
        pods(client, victim).delete(&victim.name_any(), &params).await
    };
    match done.await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return Ok(()),
        done => drop(done?),
    }
    let preemptor = preemptor.uid().unwrap_or_default();
    recorder.normal(victim, "Preempted", format!("Preempted by pod {preemptor} on node {node}"));
    Ok(())
}

/// Gives claims their volumes, or has volumes made, and waits until the claims are bound.
pub async fn bind_volumes(
    client: kube::Client,
    plan: &Plan,
    node: &str,
    claims: Informer<PersistentVolumeClaim>,
) -> Result<(), Failure> {
    if plan.is_empty() {
        return Ok(());
    }
    let mut changes = claims.subscribe();
    for (volume, claim) in &plan.give {
        give(client.clone(), volume, claim).await?;
    }
    for claim in &plan.make {
        send(client.clone(), claim, node).await?;
    }
    let awaited = plan.awaited();
    let made = plan.claims();
    let bound = async {
        let mut sent = vec![false; made.len()];
        loop {
            if all_bound(&claims, &awaited)? {
                return Ok(());
            }
            for (key, sent) in made.iter().zip(&mut sent) {
                let claim = claims.get(&key.0, &key.1);
                let wanted = claim.as_ref().and_then(|claim| claim.annotations().get(SELECTED_NODE));
                let is_here = wanted.is_some_and(|wanted| wanted == node);
                // Provisioners that cannot serve the node take its name away.
                if *sent && !is_here && !claim.is_some_and(|claim| is_bound(&claim)) {
                    return Err(Failure::Provisioning(key.1.clone()));
                }
                *sent |= is_here;
            }
            if changes.next().await.is_none() {
                return Err(Failure::TooLate);
            }
        }
    };
    tokio::time::timeout(VOLUMES_MAX, bound).await.unwrap_or(Err(Failure::TooLate))
}

fn all_bound(claims: &Informer<PersistentVolumeClaim>, awaited: &[ClaimKey]) -> Result<bool, Failure> {
    let mut all = true;
    for (namespace, name) in awaited {
        let claim = claims.get(namespace, name).ok_or_else(|| Failure::Gone(name.clone()))?;
        all &= is_bound(&claim);
    }
    Ok(all)
}

async fn give(
    client: kube::Client,
    volume: &Arc<PersistentVolume>,
    claim: &Arc<PersistentVolumeClaim>,
) -> kube::Result<()> {
    let reserved = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let mut metadata = json!({ "resourceVersion": volume.resource_version() });
    if reserved.is_none() {
        metadata["annotations"] = json!({ "pv.kubernetes.io/bound-by-controller": "yes" });
    }
    let reference = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(), "name": claim.name_any(),
        "uid": claim.uid(), "resourceVersion": claim.resource_version(),
    });
    let patch = json!({ "metadata": metadata, "spec": { "claimRef": reference } });
    let api: Api<PersistentVolume> = Api::all(client);
    api.patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

async fn send(client: kube::Client, claim: &Arc<PersistentVolumeClaim>, node: &str) -> kube::Result<()> {
    if claim.annotations().get(SELECTED_NODE).is_some_and(|selected| selected == node) {
        return Ok(());
    }
    let metadata = json!({ "uid": claim.uid(), "annotations": { SELECTED_NODE: node } });
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client, &claim.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    api.patch(&claim.name_any(), &PatchParams::default(), &patch).await.map(drop)
}
