//! Which objects belong to a controller: it adopts matching orphans and releases what no longer matches.
//! Upstream's ControllerRefManager; its neighbour `pending` hides the informer's delay.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::sync::Arc;

use amphipod_api::selector;

use crate::context::{Context, found};
use crate::pods::{controlled_by, controller_of, is_terminating};

/// What to do about one object.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Claim {
    Own,
    Adopt,
    Release,
    Ignore,
}

/// An owner and what it selects.
pub struct Claimer<'a, O> {
    pub owner: &'a O,
    pub selector: &'a LabelSelector,
}

impl<O> Claimer<'_, O>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    pub fn decide<K: Resource<DynamicType = ()>>(&self, object: &K) -> Claim {
        let meta = object.meta();
        let matches = selector::matches(self.selector, meta.labels.as_ref());
        let owner_ends = is_terminating(self.owner.meta());
        match controller_of(meta) {
            Some(controller) if Some(&controller.uid) != self.owner.meta().uid.as_ref() => Claim::Ignore,
            Some(_) if matches || owner_ends => Claim::Own,
            Some(_) => Claim::Release,
            None if matches && !owner_ends && !is_terminating(meta) => Claim::Adopt,
            None => Claim::Ignore,
        }
    }

    /// The objects that are the owner's after adopting and releasing.
    pub async fn claim<K>(&self, context: &Context, candidates: Vec<Arc<K>>) -> kube::Result<Vec<Arc<K>>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        self.claim_marked(context, candidates, None).await
    }

    /// The same; what is adopted gets this finalizer, what is released loses it.
    pub async fn claim_marked<K>(
        &self,
        context: &Context,
        candidates: Vec<Arc<K>>,
        finalizer: Option<&str>,
    ) -> kube::Result<Vec<Arc<K>>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let mut mine = Vec::with_capacity(candidates.len());
        let mut may_adopt = None;
        for object in candidates {
            let namespace = object.namespace().unwrap_or_default();
            let api: Api<K> = context.namespaced(&namespace);
            match self.decide(&*object) {
                Claim::Own => mine.push(object),
                Claim::Ignore => {}
                Claim::Release => {
                    let mut metadata = json!({"ownerReferences": [{"$patch": "delete", "uid": self.owner.uid()}]});
                    if let Some(finalizer) = finalizer {
                        metadata["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
                    }
                    found(self.patch(&api, &*object, metadata).await)?;
                }
                Claim::Adopt => {
                    if may_adopt.is_none() {
                        may_adopt = Some(self.still_lives(context).await?);
                    }
                    if may_adopt == Some(true) {
                        let mut metadata = json!({"ownerReferences": [controlled_by(self.owner)]});
                        if let Some(finalizer) = finalizer {
                            metadata["finalizers"] = json!([finalizer]);
                        }
                        mine.extend(found(self.patch(&api, &*object, metadata).await)?.map(Arc::new));
                    }
                }
            }
        }
        Ok(mine)
    }

    /// Asked of the API before the first adoption: the informer may not know yet that the owner is being deleted.
    async fn still_lives(&self, context: &Context) -> kube::Result<bool> {
        let api: Api<O> = context.namespaced(&self.owner.namespace().unwrap_or_default());
        let live = found(api.get(&self.owner.name_any()).await)?;
        Ok(live.is_some_and(|live| live.uid() == self.owner.uid() && !is_terminating(live.meta())))
    }

    async fn patch<K>(&self, api: &Api<K>, object: &K, mut metadata: serde_json::Value) -> kube::Result<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        metadata["uid"] = object.uid().into();
        let patch = json!({ "metadata": metadata });
        api.patch(&object.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await
    }
}
