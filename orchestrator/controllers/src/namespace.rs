//! Empties a namespace that is being deleted, then lets it go. `resources` lists what it may hold,
//! `conditions` says why one stays.
//!
//! ```text
//!  Terminating ─► delete pods ─► none left ─► delete the rest ─► none left ─► finalize ─► gone
//!                      └─ some left ─► again       └─ some left ─► again
//! ```

mod conditions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};

use crate::context::{Context, follow, found, since, write_status};
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};
use crate::resources::{self, PODS, Scope, Served};

const WORKERS: usize = 10;
/// Kinds emptied at once.
const KINDS_MAX: usize = 4;
/// Pause before looking again for content that tells nobody when it goes.
const AGAIN: Duration = Duration::from_millis(200);
/// The same for pods, whose informer wakes us when the last is gone.
const AGAIN_FOR_PODS: Duration = Duration::from_secs(2);
/// A namespace that takes longer than this says why.
const QUICK: Duration = Duration::from_secs(5);
const FINALIZER: &str = "kubernetes";

struct Namespaces {
    context: Context,
    namespaces: Informer<Namespace>,
    definitions: Informer<CustomResourceDefinition>,
}

/// What deleting everything of one kind left behind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Left {
    /// `plural.group`
    resource: String,
    count: usize,
    /// Objects by the finalizer that holds them.
    finalizers: BTreeMap<String, usize>,
    error: Option<String>,
}

pub async fn run(context: Context) {
    let (namespaces, pods) = (context.informers.of::<Namespace>(), context.informers.of::<Pod>());
    let definitions = context.informers.of::<CustomResourceDefinition>();
    tokio::join!(namespaces.synced(), pods.synced(), definitions.synced());
    let queue = Queue::new("namespace");
    let this = Arc::new(Namespaces { context, namespaces: namespaces.clone(), definitions });
    let of_namespace = |namespace: &Namespace| {
        if is_terminating(&namespace.metadata) {
            queue.add(namespace.name_any());
        }
    };
    let of_pod = |pod: &Pod| {
        let name = pod.namespace().unwrap_or_default();
        let ends = namespaces.get("", &name).is_some_and(|namespace| is_terminating(&namespace.metadata));
        if ends && pods.in_namespace(&name).is_empty() {
            queue.add(name);
        }
    };
    tokio::join!(
        follow(namespaces.clone(), of_namespace),
        follow(pods.clone(), of_pod),
        queue.clone().work(WORKERS, this)
    );
}

impl Reconcile<String> for Namespaces {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(namespace) = self.namespaces.get("", name) else { return Ok(None) };
        if !is_terminating(&namespace.metadata) || !holds(&namespace) {
            return Ok(None);
        }
        let pods = self.empty(&PODS, name).await;
        if !pods.is_empty() {
            self.explain(&namespace, &[pods]).await?;
            return Ok(Some(AGAIN_FOR_PODS));
        }
        let custom = resources::custom(&self.definitions).into_iter().filter(|kind| kind.scope == Scope::Namespaced);
        let rest = resources::namespaced().filter(|kind| **kind != PODS).chain(custom);
        let emptying: Vec<_> = rest.map(|kind| self.empty(kind, name)).collect();
        let emptied = futures::stream::iter(emptying).buffered(KINDS_MAX);
        let left: Vec<Left> = emptied.filter(|left| std::future::ready(!left.is_empty())).collect().await;
        if !left.is_empty() {
            self.explain(&namespace, &left).await?;
            return Ok(Some(AGAIN));
        }
        self.finalize(name).await.map(|()| None)
    }
}

impl Namespaces {
    /// Deletes all of one kind; asks the API, not an informer, what is there before and after.
    async fn empty(&self, kind: &Served, namespace: &str) -> Left {
        match self.try_to_empty(kind, namespace).await {
            Ok(left) => left,
            // A custom kind whose definition has just gone holds nothing any more.
            Err(kube::Error::Api(status)) if status.code == 404 => Left::default(),
            Err(error) => Left { resource: named(kind), error: Some(error.to_string()), ..Left::default() },
        }
    }

    async fn try_to_empty(&self, kind: &Served, namespace: &str) -> kube::Result<Left> {
        let api = kind.api(&self.context.client, namespace);
        let all = ListParams::default();
        let mut there = api.list_metadata(&all).await?.items;
        if there.iter().any(|object| !is_terminating(&object.metadata)) {
            api.delete_collection(&DeleteParams::background(), &all).await?;
            there = api.list_metadata(&all).await?.items;
        }
        let mut left = Left { resource: named(kind), count: there.len(), ..Left::default() };
        for finalizer in there.iter().flat_map(|object| object.finalizers()) {
            *left.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(left)
    }

    /// Nothing is said of what only takes its moment.
    async fn explain(&self, namespace: &Namespace, left: &[Left]) -> kube::Result<()> {
        let is_slow = since(namespace.metadata.deletion_timestamp.as_ref(), self.context.now()) > QUICK;
        if !is_slow && left.iter().all(|left| left.error.is_none() && left.finalizers.is_empty()) {
            return Ok(());
        }
        let before = namespace.status.clone().unwrap_or_default();
        let after = conditions::with_conditions(&before, left, self.context.now());
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        write_status(&api, &namespace.name_any(), &before, &after).await
    }

    /// With the resourceVersion that was read, so that no one else's finalizer is lost.
    async fn finalize(&self, name: &str) -> kube::Result<()> {
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        let Some(mut live) = found(api.get(name).await)? else { return Ok(()) };
        if !is_terminating(&live.metadata) || !holds(&live) {
            return Ok(());
        }
        if let Some(finalizers) = live.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        found(api.replace_subresource("finalize", name, &PostParams::default(), &live).await).map(drop)
    }
}

impl Left {
    fn is_empty(&self) -> bool {
        self.count == 0 && self.error.is_none()
    }
}

fn holds(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
}

fn named(kind: &Served) -> String {
    format!("{}.{}", kind.plural, kind.group)
}
