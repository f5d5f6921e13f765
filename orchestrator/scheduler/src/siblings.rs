//! Pods of the same owner and Services: upstream spreads them unless the pod says how. Source: its `DefaultSelector`.

use std::collections::BTreeMap;

use amphipod_api::selector::{Labels, matches_pairs};
use amphipod_api::{Informer, Informers};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, Service};
use kube::ResourceExt as _;

use crate::need::Selector;

/// Services by the first pair that they select.
const BY_PAIR: &str = "scheduler/selects";

pub struct Siblings {
    services: Informer<Service>,
    controllers: Informer<ReplicationController>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
}

impl Siblings {
    /// Waits until all is known.
    pub async fn start(informers: &Informers) -> Self {
        let this = Self {
            services: informers.of(),
            controllers: informers.of(),
            replica_sets: informers.of(),
            stateful_sets: informers.of(),
        };
        this.services.index(BY_PAIR, |service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let first = selector.and_then(|selector| selector.first_key_value());
            let namespace = service.namespace().unwrap_or_default();
            first.map(|(key, value)| entry(&namespace, key, value)).into_iter().collect()
        });
        tokio::join!(
            this.services.synced(),
            this.controllers.synced(),
            this.replica_sets.synced(),
            this.stateful_sets.synced()
        );
        this
    }

    /// `None` when nothing groups it with others, or when it says itself how it is spread.
    pub fn of(&self, pod: &Pod) -> Option<Selector> {
        let says_itself = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_ref());
        if says_itself.is_some_and(|constraints| !constraints.is_empty()) {
            return None;
        }
        let namespace = pod.namespace().unwrap_or_default();
        let mut pairs: Labels = self.selected(&namespace, pod.labels());
        let mut selector = Selector::default();
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        if let Some(owner) = owner {
            match owner.kind.as_str() {
                "ReplicationController" => {
                    let found = self.controllers.get(&namespace, &owner.name);
                    let spec = found.as_ref().and_then(|found| found.spec.as_ref());
                    pairs.extend(spec.and_then(|spec| spec.selector.clone()).unwrap_or_default());
                }
                "ReplicaSet" => {
                    let found = self.replica_sets.get(&namespace, &owner.name);
                    selector = Selector::of(found.as_ref().map(|found| &found.spec.selector)).unwrap_or_default();
                }
                "StatefulSet" => {
                    let found = self.stateful_sets.get(&namespace, &owner.name);
                    selector = Selector::of(found.as_ref().map(|found| &found.spec.selector)).unwrap_or_default();
                }
                _ => {}
            }
        }
        let all = Selector::pairs(&pairs).and(selector);
        (!all.is_empty()).then_some(all)
    }

    /// What the Services select that the pod belongs to.
    fn selected(&self, namespace: &str, labels: &Labels) -> Labels {
        let services = labels
            .iter()
            .flat_map(|(key, value)| self.services.indexed(BY_PAIR, &entry(namespace, key, value)).into_iter());
        let mut pairs = BTreeMap::new();
        for service in services {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let matching = selector.filter(|selector| matches_pairs(selector, Some(labels)));
            pairs.extend(matching.cloned().unwrap_or_default());
        }
        pairs
    }
}

fn entry(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}/{key}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use amphipod_api::{RawEvent, Source};
    use futures::StreamExt as _;
    use futures::stream::BoxStream;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Objects by plural, listed once.
    struct Listed(Vec<(&'static str, Value)>);

    impl Source for Listed {
        fn list_and_watch(&self, _: &str, _: &str, plural: &str, _: Option<&str>) -> BoxStream<'static, RawEvent> {
            let own = self.0.iter().filter(|(kind, _)| *kind == plural);
            let listed = own.map(|(_, object)| RawEvent::Listed(object.to_string().into()));
            let events = std::iter::once(RawEvent::Restarted).chain(listed).chain([RawEvent::Synced]);
            futures::stream::iter(events.collect::<Vec<_>>()).chain(futures::stream::pending()).boxed()
        }
    }

    fn pod(labels: Value, owner: Option<(&str, &str)>, spec: Value) -> Pod {
        let owners: Vec<Value> = owner
            .iter()
            .map(|(kind, name)| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}))
            .collect();
        let metadata = json!({"name": "p", "namespace": "n", "labels": labels, "ownerReferences": owners});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[tokio::test]
    async fn owners_and_services_say_who_belongs_together() {
        let metadata = |name: &str| json!({"name": name, "namespace": "n"});
        let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {}}});
        let informers = Informers::new(Arc::new(Listed(vec![
            ("services", json!({"metadata": metadata("web"), "spec": {"selector": {"app": "web", "tier": "front"}}})),
            ("services", json!({"metadata": metadata("none"), "spec": {}})),
            ("replicasets", json!({"metadata": metadata("web-1"), "spec": spec})),
        ])));
        let siblings = Siblings::start(&informers).await;
        let nothing = || json!({"containers": []});
        let pairs = |pairs: Value| Some(Selector::pairs(&serde_json::from_value(pairs).unwrap()));
        let web = || json!({"app": "web", "hash": "1"});
        assert_eq!(siblings.of(&pod(web(), None, nothing())), None);
        assert_eq!(siblings.of(&pod(web(), Some(("ReplicaSet", "web-1")), nothing())), pairs(json!({"app": "web"})));
        let served = json!({"app": "web", "tier": "front"});
        assert_eq!(siblings.of(&pod(served.clone(), None, nothing())), pairs(served.clone()));
        let spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        let says_itself = json!({"containers": [], "topologySpreadConstraints": [spread]});
        assert_eq!(siblings.of(&pod(served, None, says_itself)), None);
    }
}
