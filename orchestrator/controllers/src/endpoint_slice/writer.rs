//! Reads and writes the slices of one manager; shared by `endpoint_slice` and `endpoint_slice_mirroring`.

use amphipod_api::Informer;
use amphipod_api::informer::ObjectKey;
use amphipod_api::labels::{ENDPOINT_SLICE_MANAGED_BY, SERVICE_NAME};
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use super::plan::Write;
use super::unseen::Unseen;
use crate::context::{Context, delete};
use crate::replica_set::is_namespace_terminating;

/// Writes under way at once for one Service.
const WRITES_MAX: usize = 8;

pub struct Writer {
    context: Context,
    slices: Informer<EndpointSlice>,
    unseen: Unseen,
    manager: &'static str,
}

impl Writer {
    /// `manager` is what the label of its slices says.
    pub async fn new(context: Context, manager: &'static str) -> Self {
        let slices = context.informers.of::<EndpointSlice>();
        slices.index(manager, move |slice| service_of(slice, manager).as_ref().map(entry).into_iter().collect());
        slices.synced().await;
        Self { context, slices, unseen: Unseen::default(), manager }
    }

    pub fn slices(&self) -> Informer<EndpointSlice> {
        self.slices.clone()
    }

    /// Call with every slice that the informer shows. Returns its Service if the slice is this manager's.
    pub fn seen(&self, slice: &EndpointSlice) -> Option<ObjectKey> {
        let service = service_of(slice, self.manager)?;
        self.unseen.seen(&service, slice);
        Some(service)
    }

    /// This manager's slices of a Service as they will be once everything written is visible.
    pub fn existing(&self, service: &ObjectKey) -> Vec<EndpointSlice> {
        self.unseen.overlay(service, &self.slices.indexed(self.manager, &entry(service)))
    }

    pub async fn apply(&self, service: &ObjectKey, writes: Vec<Write>) -> kube::Result<()> {
        // What replaces a slice is there before the slice goes.
        let (deletes, others): (Vec<_>, Vec<_>) =
            writes.into_iter().partition(|write| matches!(write, Write::Delete(_)));
        for batch in [others, deletes] {
            let mut writing =
                futures::stream::iter(batch).map(|write| self.apply_one(service, write)).buffer_unordered(WRITES_MAX);
            let mut refused = Ok(());
            while let Some(result) = writing.next().await {
                refused = refused.and(result);
            }
            refused?;
        }
        Ok(())
    }

    async fn apply_one(&self, service: &ObjectKey, write: Write) -> kube::Result<()> {
        let api: Api<EndpointSlice> = self.context.namespaced(&service.0);
        match write {
            Write::Create(slice) => match api.create(&PostParams::default(), &slice).await {
                Ok(slice) => self.unseen.written(service, slice),
                // The namespace ends: nothing can be created in it and nothing needs to be.
                Err(kube::Error::Api(status)) if is_namespace_terminating(&status) => {}
                Err(error) => return Err(error),
            },
            Write::Update(slice) => match api.replace(&slice.name_any(), &PostParams::default(), &slice).await {
                Ok(slice) => self.unseen.written(service, slice),
                Err(error) => {
                    self.unseen.forget(service, &slice.name_any());
                    return Err(error);
                }
            },
            Write::Delete(slice) => {
                delete(&api, &slice.name_any(), slice.uid()).await?;
                self.unseen.deleted(service, slice);
            }
        }
        Ok(())
    }
}

fn service_of(slice: &EndpointSlice, manager: &str) -> Option<ObjectKey> {
    let labels = slice.labels();
    let is_ours = labels.get(ENDPOINT_SLICE_MANAGED_BY).is_some_and(|by| by == manager);
    let name = labels.get(SERVICE_NAME).filter(|_| is_ours)?;
    Some((slice.namespace().unwrap_or_default(), name.clone()))
}

fn entry((namespace, name): &ObjectKey) -> String {
    format!("{namespace}/{name}")
}
