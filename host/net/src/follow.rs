//! Keeps the table of Services equal to the cluster: each change rebuilds the one Service that it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use amphipod_api::{Change, Informer, Informers, labels};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::services::{Entry, Table, Target, build};
use std::net::SocketAddrV4;

const BY_SERVICE: &str = "service";

/// The table that proxy and guests share. A clone is the same table.
#[derive(Clone)]
pub struct Services {
    table: Arc<RwLock<Table>>,
    /// Grows when the set of accepted addresses may differ.
    generation: watch::Sender<u64>,
}

impl Default for Services {
    fn default() -> Self {
        Self { table: Arc::default(), generation: watch::channel(0).0 }
    }
}

impl Services {
    pub fn at(&self, address: SocketAddrV4) -> Option<Arc<Target>> {
        self.table.read().at(address)
    }

    pub fn at_node_port(&self, port: u16) -> Option<Arc<Target>> {
        self.table.read().at_node_port(port)
    }

    pub fn entry(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.table.read().entry(namespace, name)
    }

    pub fn accepted(&self) -> (Vec<SocketAddrV4>, Vec<u16>) {
        self.table.read().accepted()
    }

    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    pub fn replace(&self, namespace: &str, name: &str, entry: Option<Entry>) {
        self.table.write().replace(namespace, name, entry);
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Follows the cluster for as long as the future is polled.
    pub async fn follow(&self, informers: Informers) {
        let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
        slices.index(BY_SERVICE, |slice| service_of(slice).into_iter().map(|(ns, name)| format!("{ns}/{name}")).collect());
        services.synced().await;
        slices.synced().await;
        let (mut of_services, mut of_slices) = (services.subscribe(), slices.subscribe());
        loop {
            let concerned = tokio::select! {
                change = of_services.next() => concerned(change, |service: &Service| Some(key(service))),
                change = of_slices.next() => concerned(change, service_of),
            };
            match concerned {
                Concerned::These(names) => names.iter().for_each(|(ns, name)| self.rebuild(ns, name, &services, &slices)),
                Concerned::All => self.rebuild_all(&services, &slices),
                Concerned::Ended => return,
            }
        }
    }

    fn rebuild_all(&self, services: &Informer<Service>, slices: &Informer<EndpointSlice>) {
        let mut names: BTreeSet<_> = self.table.read().names().into_iter().collect();
        names.extend(services.list().iter().map(|service| key(&**service)));
        for (namespace, name) in names {
            self.rebuild(&namespace, &name, services, slices);
        }
    }

    fn rebuild(&self, namespace: &str, name: &str, services: &Informer<Service>, slices: &Informer<EndpointSlice>) {
        let slices = slices.indexed(BY_SERVICE, &format!("{namespace}/{name}"));
        let entry = services.get(namespace, name).map(|service| build(&service, &slices));
        let known = self.entry(namespace, name);
        if known.as_deref() != entry.as_ref() {
            self.replace(namespace, name, entry);
        }
    }
}

enum Concerned {
    These(Vec<(String, String)>),
    All,
    Ended,
}

fn concerned<K>(change: Option<Change<K>>, name_of: impl Fn(&K) -> Option<(String, String)>) -> Concerned {
    match change {
        None => Concerned::Ended,
        Some(Change::Resynced) => Concerned::All,
        Some(Change::Deleted(object)) => Concerned::These(name_of(&object).into_iter().collect()),
        Some(Change::Applied { now, before }) => {
            Concerned::These(name_of(&now).into_iter().chain(before.and_then(|object| name_of(&object))).collect())
        }
    }
}

fn key(service: &Service) -> (String, String) {
    (service.namespace().unwrap_or_default(), service.name_any())
}

fn service_of(slice: &EndpointSlice) -> Option<(String, String)> {
    Some((slice.namespace()?, slice.labels().get(labels::SERVICE_NAME)?.clone()))
}
