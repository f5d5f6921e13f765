//! What the scheduler writes: the binding, and why a pod could not be bound.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};

/// Binds this very pod: the uid keeps a namesake from inheriting the choice.
pub async fn bind(client: kube::Client, pod: &Pod, node: &str) -> kube::Result<()> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name_any()),
            namespace: pod.namespace(),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.into()), ..ObjectReference::default() },
    };
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    api.create_subresource::<Binding, serde_json::Value>("binding", &pod.name_any(), &PostParams::default(), &binding).await?;
    Ok(())
}

/// Writes PodScheduled=False unless it already says so.
pub async fn explain(client: kube::Client, pod: &Pod, message: &str) -> kube::Result<()> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
    let says = |known: &PodCondition| known.status == "False" && known.message.as_deref() == Some(message);
    if known.is_some_and(says) {
        return Ok(());
    }
    let since = known.filter(|known| known.status == "False").and_then(|known| known.last_transition_time.clone());
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or_else(|| Time(Timestamp::now()))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    let patch = serde_json::json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await?;
    Ok(())
}
