//! The `scale` of whatever an autoscaler names: any kind that is known, built in or custom.

use amphipod_api::Informer;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, PostParams};

use crate::replica_set::reason;
use crate::resources::{self, Served};

/// What is scaled, and its scale as it was read.
pub struct Target {
    api: Api<DynamicObject>,
    name: String,
    pub scale: Scale,
}

/// `Err`: the message of the condition.
pub async fn read(
    client: &kube::Client,
    definitions: &Informer<CustomResourceDefinition>,
    namespace: &str,
    reference: &CrossVersionObjectReference,
) -> Result<Target, String> {
    let (group, kind) = (group_of(reference), &reference.kind);
    let unknown = || match group {
        "" => format!("no matches for kind {kind:?} in group \"\""),
        group => format!("no matches for kind {kind:?} in group {group:?}"),
    };
    let served = served(definitions, reference).ok_or_else(unknown)?;
    let api = served.api(client, namespace);
    let scale = api.get_scale(&reference.name).await.map_err(|error| reason(&error))?;
    Ok(Target { api, name: reference.name.clone(), scale })
}

fn group_of(reference: &CrossVersionObjectReference) -> &str {
    let version = reference.api_version.as_deref().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

pub fn served(
    definitions: &Informer<CustomResourceDefinition>,
    reference: &CrossVersionObjectReference,
) -> Option<&'static Served> {
    let group = group_of(reference);
    let is_it = |served: &&'static Served| served.group == group && served.kind == reference.kind;
    resources::ALL.iter().find(is_it).or_else(|| resources::custom(definitions).into_iter().find(|one| is_it(one)))
}

impl Target {
    pub fn replicas(&self) -> i32 {
        self.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
    }

    /// Those that there are, as the workload's own controller counts them.
    pub fn counted(&self) -> i32 {
        self.scale.status.as_ref().map_or(0, |status| status.replicas)
    }

    pub fn selector(&self) -> &str {
        self.scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default()
    }

    /// Only onto what was read.
    pub async fn set(&self, replicas: i32) -> Result<(), String> {
        let mut scale = self.scale.clone();
        scale.spec.get_or_insert_default().replicas = Some(replicas);
        let written = self.api.replace_scale(&self.name, &PostParams::default(), &scale).await;
        written.map(drop).map_err(|error| reason(&error))
    }
}
