//! How many pods the controllers of some pods want: asked of the kinds that are known, of all others by their
//! `scale` subresource.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use amphipod_api::Informer;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::context::{Context, found};
use crate::pods::controller_of;
use crate::resources::{self, Served};

/// Why the scale of a pod's controller is not known. Displayed, it is upstream's message.
#[derive(Debug, thiserror::Error)]
pub enum Unscalable {
    #[error("{0} does not implement the scale subresource")]
    NoScale(String),
    #[error("no matches for kind \"{kind}\" in version \"{version}\"")]
    NoKind { kind: String, version: String },
    #[error("found no controllers for pod {pod:?}")]
    NoController { pod: String },
    /// Worth trying again.
    #[error("{0}")]
    Api(#[from] kube::Error),
}

pub struct Scales {
    pub context: Context,
    pub deployments: Informer<Deployment>,
    pub replica_sets: Informer<ReplicaSet>,
    pub stateful_sets: Informer<StatefulSet>,
    pub replication_controllers: Informer<ReplicationController>,
    pub definitions: Informer<CustomResourceDefinition>,
}

/// A controller, and how many pods it wants.
type Wanted = (String, i32);

impl Scales {
    pub fn new(context: Context) -> Self {
        let informers = context.informers.clone();
        Self {
            context,
            deployments: informers.of(),
            replica_sets: informers.of(),
            stateful_sets: informers.of(),
            replication_controllers: informers.of(),
            definitions: informers.of(),
        }
    }

    pub async fn synced(&self) {
        tokio::join!(
            self.deployments.synced(),
            self.replica_sets.synced(),
            self.stateful_sets.synced(),
            self.replication_controllers.synced(),
            self.definitions.synced(),
        );
    }

    /// The sum over all controllers of these pods, each counted once, and the pods that have none.
    pub async fn of(&self, pods: &[Arc<Pod>]) -> Result<(i32, Vec<String>), Unscalable> {
        let (mut scales, mut asked, mut unmanaged) = (HashMap::new(), HashSet::new(), Vec::new());
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                unmanaged.push(pod.name_any());
                continue;
            };
            if !asked.insert(owner.uid.clone()) {
                continue;
            }
            let namespace = pod.namespace().unwrap_or_default();
            let found = match self.known(owner, &namespace) {
                Some(wanted) => Some(wanted),
                None => self.asked(owner, &namespace).await?,
            };
            let (uid, replicas) = found.ok_or_else(|| Unscalable::NoController { pod: pod.name_any() })?;
            scales.insert(uid, replicas);
        }
        Ok((scales.values().fold(0, |sum: i32, replicas| sum.saturating_add(*replicas)), unmanaged))
    }

    fn known(&self, owner: &OwnerReference, namespace: &str) -> Option<Wanted> {
        let is_same = |uid: Option<String>| uid.as_ref() == Some(&owner.uid);
        match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("v1", "ReplicationController") => {
                let controller = self.replication_controllers.get(namespace, &owner.name)?;
                let replicas = controller.spec.as_ref().and_then(|spec| spec.replicas);
                is_same(controller.uid()).then(|| (owner.uid.clone(), replicas.unwrap_or(1)))
            }
            ("apps/v1", "ReplicaSet") => {
                let set = self.replica_sets.get(namespace, &owner.name).filter(|set| is_same(set.uid()))?;
                match controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") {
                    Some(deployment) => {
                        let live = self.deployments.get(namespace, &deployment.name)?;
                        let is_live = live.uid().as_ref() == Some(&deployment.uid);
                        is_live.then(|| (deployment.uid.clone(), live.spec.replicas.unwrap_or(1)))
                    }
                    None => Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))),
                }
            }
            ("apps/v1", "StatefulSet") => {
                let set = self.stateful_sets.get(namespace, &owner.name).filter(|set| is_same(set.uid()))?;
                Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1)))
            }
            _ => None,
        }
    }

    /// By the API. `None`: it is not there, or no longer the same.
    async fn asked(&self, owner: &OwnerReference, namespace: &str) -> Result<Option<Wanted>, Unscalable> {
        let no_kind = || Unscalable::NoKind { kind: owner.kind.clone(), version: owner.api_version.clone() };
        let served = self.served(owner).ok_or_else(no_kind)?;
        let resource = format!("{}.{}", served.plural, served.group).trim_end_matches('.').to_owned();
        if !self.has_scale(served) {
            return Err(Unscalable::NoScale(resource));
        }
        let scale: Option<Scale> = found(served.api(&self.context.client, namespace).get_scale(&owner.name).await)?;
        let same = scale.filter(|scale| scale.metadata.uid.as_ref() == Some(&owner.uid));
        Ok(same.map(|scale| (owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0))))
    }

    fn served(&self, owner: &OwnerReference) -> Option<&'static Served> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let is_it = |served: &&'static Served| served.group == group && served.kind == owner.kind;
        let custom = || resources::custom(&self.definitions).into_iter().find(|served| is_it(served));
        resources::ALL.iter().find(is_it).or_else(custom)
    }

    fn has_scale(&self, served: &Served) -> bool {
        const SCALED: &[&str] = &["replicationcontrollers", "replicasets", "deployments", "statefulsets"];
        if resources::ALL.contains(served) {
            return SCALED.contains(&served.plural);
        }
        let definition = self.definitions.get("", &format!("{}.{}", served.plural, served.group));
        definition.is_some_and(|definition| {
            let versions = definition.spec.versions.iter().filter(|version| version.name == served.version);
            let mut subresources = versions.filter_map(|version| version.subresources.as_ref());
            subresources.any(|subresources| subresources.scale.is_some())
        })
    }
}
