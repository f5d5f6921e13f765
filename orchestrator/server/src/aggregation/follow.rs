//! Keeps the catalog, the APIServices and their conditions true to each other: one list of each, then every change.
//!
//! ```text
//!  list ─► settle ─► APIService, definition, Service or EndpointSlice changes, a look is done, a look is due ─► settle ─┐
//!   ▲        ▲───────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!   └── Expired, or any other error after a pause
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Change, Error, Event, ResourceId, Snapshot, Watch};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams, Preconditions};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::available::{self, Found, Question};
use super::backend::{self, Backend};
use super::registration::{self, GroupVersion, Step};
use super::{Remote, Remotes, Served};
use crate::discovery::Priority;
use crate::kinds::custom_resource_definition;
use crate::kinds::json::{items, text};
use crate::seams::Identity;
use crate::server::Server;
use crate::stamp;

const SERVICES: &str = "apiregistration.k8s.io/apiservices";
const SLICES: &str = "discovery.k8s.io/endpointslices";
const PAUSE: Duration = Duration::from_millis(200);
/// Every backend is looked at again after this long: what is outside the cluster tells nobody.
const LOOK_PERIOD: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Runs until dropped. `ready` turns true once every aggregated API that is known is routed.
pub async fn follow(server: Server, ready: watch::Sender<bool>) {
    let mut follower = Follower::new(server);
    loop {
        match follower.list().await {
            Ok(feeds) => {
                ready.send_replace(true);
                let error = follower.pump(feeds).await;
                tracing::debug!(%error, "APIServices are read again");
            }
            Err(error) => tracing::debug!(%error, "APIServices cannot be read"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where changes come from.
struct Feeds {
    services: Box<dyn Watch>,
    definitions: Box<dyn Watch>,
    backends: Box<dyn Watch>,
    slices: Box<dyn Watch>,
}

/// What is known of one aggregated version.
struct Known {
    backend: Arc<Backend>,
    served: Arc<Served>,
    looking: Looking,
    failures: u32,
}

/// When its backend is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    At(Instant),
    /// One look is under way; `again` when something changed meanwhile.
    Now {
        again: bool,
    },
}

struct Follower {
    server: Server,
    api: Api<DynamicObject>,
    /// APIServices by name.
    services: BTreeMap<String, Value>,
    /// What each definition serves.
    definitions: BTreeMap<String, BTreeSet<GroupVersion>>,
    known: HashMap<String, Known>,
    /// Looks under way, each with the backend that it looks at.
    looks: JoinSet<(String, Arc<Backend>, Found)>,
    /// What was tried and not yet seen to be done.
    tried: Vec<Step>,
}

/// Every object of a cluster-scoped resource.
fn named<'a>(
    server: &'a Server,
    snapshot: &dyn Snapshot,
    resource: ResourceId,
) -> impl Iterator<Item = (String, Value)> + use<'a> {
    let listed = snapshot.list(resource, None, None, 0);
    listed.into_iter().map(|object| (object.key.name().to_owned(), server.codec.value(&object)))
}

impl Follower {
    fn new(server: Server) -> Self {
        let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
        let resource = ApiResource::from_gvk_with_plural(&kind, "apiservices");
        let api = Api::all_with(server.client(Identity::system_masters()), &resource);
        Self {
            server,
            api,
            services: BTreeMap::new(),
            definitions: BTreeMap::new(),
            known: HashMap::new(),
            looks: JoinSet::new(),
            tried: Vec::new(),
        }
    }

    async fn list(&mut self) -> Result<Feeds, Error> {
        let store = &self.server.store;
        let snapshot = store.snapshot();
        let (services, definitions) =
            (store.resource(SERVICES).await?, store.resource(custom_resource_definition::STORAGE).await?);
        let (backends, slices) = (store.resource("services").await?, store.resource(SLICES).await?);
        let watch = |resource| store.watch(resource, snapshot.revision());
        let feeds = Feeds {
            services: watch(services)?,
            definitions: watch(definitions)?,
            backends: watch(backends)?,
            slices: watch(slices)?,
        };
        let definitions = named(&self.server, &*snapshot, definitions);
        self.definitions = definitions.map(|(name, one)| (name, registration::served(&one))).collect();
        self.services = named(&self.server, &*snapshot, services).collect();
        self.tried.clear();
        self.settle().await;
        Ok(feeds)
    }

    async fn pump(&mut self, mut feeds: Feeds) -> Error {
        loop {
            let due = self.next_look();
            let changed = tokio::select! {
                events = feeds.services.next() => events.map(|events| events.iter().for_each(|event| self.service(event))),
                events = feeds.definitions.next() => {
                    events.map(|events| events.iter().for_each(|event| self.definition(event)))
                }
                events = feeds.backends.next() => events.map(|events| {
                    events.iter().for_each(|event| self.backend(event.current.key.namespace(), event.current.key.name()));
                }),
                events = feeds.slices.next() => events.map(|events| {
                    for event in events {
                        let name = event.current.meta.label("kubernetes.io/service-name").unwrap_or_default();
                        self.backend(event.current.key.namespace(), name);
                    }
                }),
                Some(looked) = self.looks.join_next() => {
                    if let Ok((name, backend, found)) = looked {
                        self.found(&name, &backend, found).await;
                    }
                    Ok(())
                }
                () = tokio::time::sleep_until(due) => Ok(()),
            };
            if let Err(error) = changed {
                return error;
            }
            self.settle().await;
        }
    }

    fn service(&mut self, event: &Event) {
        let name = event.current.key.name().to_owned();
        match event.change {
            Change::Deleted => drop(self.services.remove(&name)),
            Change::Added | Change::Modified => {
                let service = self.server.codec.value(&event.current);
                let before = self.services.insert(name.clone(), service);
                let after = &self.services[&name];
                // What only tells of a look is no reason for another.
                if before.is_none_or(|before| before["spec"] != after["spec"]) {
                    self.look_soon(&name);
                }
            }
        }
        self.tried.clear();
    }

    fn definition(&mut self, event: &Event) {
        let name = event.current.key.name().to_owned();
        match event.change {
            Change::Deleted => drop(self.definitions.remove(&name)),
            Change::Added | Change::Modified => {
                let served = registration::served(&self.server.codec.value(&event.current));
                self.definitions.insert(name, served);
            }
        }
    }

    /// Something about this Service changed.
    fn backend(&mut self, namespace: &str, name: &str) {
        let about = |known: &Known| known.backend.service.namespace == namespace && known.backend.service.name == name;
        let names: Vec<String> =
            self.known.iter().filter(|(_, known)| about(known)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.look_soon(name));
    }

    fn look_soon(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.looking = match known.looking {
                Looking::Now { .. } => Looking::Now { again: true },
                Looking::At(_) => Looking::At(Instant::now()),
            };
        }
    }

    fn next_look(&self) -> Instant {
        let due = self.known.values().filter_map(|known| match known.looking {
            Looking::At(at) => Some(at),
            Looking::Now { .. } => None,
        });
        due.min().unwrap_or_else(|| Instant::now() + LOOK_PERIOD)
    }

    /// A look is done: its verdict is written, what was learned is kept.
    async fn found(&mut self, name: &str, backend: &Arc<Backend>, found: Found) {
        let Some(known) = self.known.get_mut(name) else { return };
        let again = known.looking == Looking::Now { again: true };
        let well = found.verdict.is_available();
        known.failures = if found.verdict.reason == "FailedDiscoveryCheck" { known.failures + 1 } else { 0 };
        let pause = match known.failures {
            0 => LOOK_PERIOD,
            many => BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(many - 1)).min(BACKOFF_MAX),
        };
        known.looking = Looking::At(Instant::now() + if again { Duration::ZERO } else { pause });
        if !Arc::ptr_eq(&known.backend, backend) {
            known.looking = Looking::At(Instant::now());
            return;
        }
        if let Some(served) = found.served {
            known.served = Arc::new(served);
        } else if known.served.is_fresh {
            let last = &known.served;
            known.served = Arc::new(Served {
                resources: last.resources.clone(),
                is_fresh: false,
                document: last.document.clone(),
            });
        }
        metrics::gauge!("aggregator_unavailable_apiservice", "name" => name.to_owned()).set(if well {
            0.0
        } else {
            1.0
        });
        let time = stamp::time(self.server.now());
        let Some(told) = self.services.get(name).and_then(|service| found.verdict.told(service, &time)) else { return };
        if !well {
            let labels = [("name", name.to_owned()), ("reason", found.verdict.reason.to_owned())];
            metrics::counter!("aggregator_unavailable_apiservice_total", &labels).increment(1);
        }
        self.write_status(name, told).await;
    }

    /// A writer that was faster is heard of by the watch; then it is told again.
    async fn write_status(&mut self, name: &str, told: Value) {
        let Ok(object) = serde_json::from_value::<DynamicObject>(told) else { return };
        match self.api.replace_status(name, &PostParams::default(), &object).await {
            Ok(written) => {
                if let Ok(written) = serde_json::to_value(written) {
                    self.services.insert(name.to_owned(), written);
                }
            }
            Err(error) => {
                tracing::debug!(%error, name, "an APIService's status was not written");
                if let Some(known) = self.known.get_mut(name) {
                    known.looking = Looking::At(Instant::now() + PAUSE);
                }
            }
        }
    }

    async fn settle(&mut self) {
        self.know();
        self.route();
        self.look();
        self.register().await;
    }

    /// A backend for each APIService that names one.
    fn know(&mut self) {
        let services = &self.services;
        self.known.retain(|name, known| {
            services.get(name).and_then(backend::made_of).is_some_and(|made_of| made_of == known.backend.made_of)
        });
        for (name, service) in services {
            if self.known.contains_key(name) {
                continue;
            }
            if let Some(made_of) = backend::made_of(service) {
                let backend = Arc::new(Backend::new(&self.server, made_of));
                let looking = Looking::At(Instant::now());
                self.known.insert(name.clone(), Known { backend, served: Arc::default(), looking, failures: 0 });
            }
        }
    }

    /// Swaps the routes into the catalog when they are others than before.
    fn route(&self) {
        let remote = |(name, service): (&String, &Value)| {
            let known = self.known.get(name)?;
            let (spec, conditions) = (&service["spec"], items(&service["status"]["conditions"]));
            let priority = |field: &str| spec[field].as_i64().unwrap_or(0);
            Some(Remote {
                group: text(&spec["group"]).to_owned(),
                version: text(&spec["version"]).to_owned(),
                priority: Priority { group: priority("groupPriorityMinimum"), version: priority("versionPriority") },
                is_available: conditions.iter().any(|one| one["type"] == "Available" && one["status"] == "True"),
                served: known.served.clone(),
                backend: known.backend.clone(),
            })
        };
        let next: Vec<Remote> = self.services.iter().filter_map(remote).collect();
        let same = |(a, b): (&Remote, &Remote)| {
            Arc::ptr_eq(&a.backend, &b.backend)
                && (Arc::ptr_eq(&a.served, &b.served) || a.served == b.served)
                && (a.is_available, a.priority) == (b.is_available, b.priority)
        };
        let catalog = self.server.catalog.load();
        if catalog.remotes.iter().count() != next.len() || !catalog.remotes.iter().zip(&next).all(same) {
            self.server.catalog.set_remotes(Remotes::new(next));
        }
    }

    /// Starts the looks that are due.
    fn look(&mut self) {
        let now = Instant::now();
        for (name, known) in &mut self.known {
            if !matches!(known.looking, Looking::At(at) if at <= now) {
                continue;
            }
            let Some(service) = self.services.get(name) else { continue };
            known.looking = Looking::Now { again: false };
            let question = Question {
                group: text(&service["spec"]["group"]).to_owned(),
                version: text(&service["spec"]["version"]).to_owned(),
                service: known.backend.service.clone(),
                front_proxy: self.server.front_proxy.clone(),
            };
            let cluster = Arc::new(self.server.cluster(self.server.store.snapshot()));
            let (name, backend) = (name.clone(), known.backend.clone());
            self.looks.spawn(async move { (name, backend, available::look(question, cluster).await) });
        }
    }

    /// What a step does is seen by the watch; until then it is not tried again.
    async fn register(&mut self) {
        let served = self.definitions.values().flatten();
        let steps = registration::plan(served, &self.services);
        let mut tried = Vec::with_capacity(steps.len());
        for step in steps {
            match if self.tried.contains(&step) { Ok(()) } else { self.carry_out(&step).await } {
                Ok(()) => tried.push(step),
                Err(error) => tracing::debug!(%error, "an APIService of custom kinds was not written"),
            }
        }
        self.tried = tried;
    }

    async fn carry_out(&self, step: &Step) -> kube::Result<()> {
        let object =
            |value: &Value| serde_json::from_value::<DynamicObject>(value.clone()).map_err(kube::Error::SerdeError);
        match step {
            Step::Create(value) => self.api.create(&PostParams::default(), &object(value)?).await.map(drop),
            Step::Replace(value) => {
                let name = text(&value["metadata"]["name"]);
                self.api.replace(name, &PostParams::default(), &object(value)?).await.map(drop)
            }
            Step::Delete { name, uid } => {
                let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
                let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
                self.api.delete(name, &parameters).await.map(drop)
            }
        }
    }
}
