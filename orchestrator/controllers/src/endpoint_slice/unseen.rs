//! What was written to EndpointSlices and the informer has not shown yet. Laid over the informer's slices it
//! keeps a Service from writing the same endpoint twice, without waiting for the informer to catch up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amphipod_api::informer::ObjectKey;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::pending::UNSEEN_MAX;

#[derive(Default)]
pub struct Unseen {
    services: Mutex<HashMap<ObjectKey, HashMap<String, Written>>>,
}

struct Written {
    slice: EndpointSlice,
    is_deleted: bool,
    at: Instant,
}

impl Unseen {
    /// Call with the API's answer to a create or update.
    pub fn written(&self, service: &ObjectKey, slice: EndpointSlice) {
        self.remember(service, Written { slice, is_deleted: false, at: Instant::now() });
    }

    /// Call once the API has accepted a delete.
    pub fn deleted(&self, service: &ObjectKey, slice: EndpointSlice) {
        self.remember(service, Written { slice, is_deleted: true, at: Instant::now() });
    }

    /// Call when the API contradicts what was remembered.
    pub fn forget(&self, service: &ObjectKey, slice: &str) {
        let mut services = self.services.lock();
        if let Some(written) = services.get_mut(service) {
            written.remove(slice);
            if written.is_empty() {
                services.remove(service);
            }
        }
    }

    /// Call with every slice that the informer shows, whatever happened to it.
    pub fn seen(&self, service: &ObjectKey, slice: &EndpointSlice) {
        let name = slice.name_any();
        let is_shown = |written: &Written| !written.is_deleted && revision(slice) >= revision(&written.slice);
        let shown = self.services.lock().get(service).and_then(|written| written.get(&name)).is_some_and(is_shown);
        if shown {
            self.forget(service, &name);
        }
    }

    /// The slices as they will be once everything written is visible.
    pub fn overlay(&self, service: &ObjectKey, listed: &[Arc<EndpointSlice>]) -> Vec<EndpointSlice> {
        let mut slices: BTreeMap<_, _> =
            listed.iter().map(|slice| (slice.name_any(), EndpointSlice::clone(slice))).collect();
        let mut services = self.services.lock();
        let Some(written) = services.get_mut(service) else { return slices.into_values().collect() };
        written.retain(|name, written| {
            let shown = slices.get(name);
            let is_same = shown.is_some_and(|shown| shown.uid() == written.slice.uid());
            if written.is_deleted {
                if is_same {
                    slices.remove(name);
                }
                return is_same;
            }
            let is_behind = shown.is_none_or(|shown| revision(shown) < revision(&written.slice));
            let is_needed = is_behind && written.at.elapsed() < UNSEEN_MAX;
            if is_needed {
                slices.insert(name.clone(), written.slice.clone());
            }
            is_needed
        });
        if written.is_empty() {
            services.remove(service);
        }
        slices.into_values().collect()
    }

    fn remember(&self, service: &ObjectKey, written: Written) {
        self.services.lock().entry(service.clone()).or_default().insert(written.slice.name_any(), written);
    }
}

fn revision(slice: &EndpointSlice) -> u64 {
    slice.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(name: &str, version: u64) -> EndpointSlice {
        let value = json!({"addressType": "IPv4", "endpoints": [], "metadata": {"name": name, "uid": name, "resourceVersion": version.to_string()}});
        serde_json::from_value(value).expect("a slice")
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_laid_over_what_the_informer_shows() {
        let (unseen, key) = (Unseen::default(), ("n".to_owned(), "s".to_owned()));
        let check = |listed: &[(&str, u64)], expected: &str| {
            let listed: Vec<_> = listed.iter().map(|(name, version)| Arc::new(slice(name, *version))).collect();
            let slices = unseen.overlay(&key, &listed);
            let shown: Vec<_> =
                slices.iter().map(|slice| format!("{}@{}", slice.name_any(), revision(slice))).collect();
            assert_eq!(shown.join(" "), expected);
        };
        unseen.written(&key, slice("a", 10));
        unseen.written(&key, slice("b", 12));
        unseen.deleted(&key, slice("c", 3));
        check(&[("b", 9), ("c", 3)], "a@10 b@12");
        check(&[("a", 10), ("b", 13)], "a@10 b@13");
        check(&[("c", 3)], "c@3");
        unseen.written(&key, slice("a", 20));
        unseen.seen(&key, &slice("a", 19));
        check(&[], "a@20");
        unseen.seen(&key, &slice("a", 21));
        check(&[], "");
        unseen.written(&key, slice("a", 30));
        tokio::time::advance(UNSEEN_MAX).await;
        check(&[], "");
    }
}
