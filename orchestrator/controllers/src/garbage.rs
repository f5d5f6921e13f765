//! Deletes what has lost all its owners, and carries foreground deletion and orphaning through.
//! `garbage/graph.rs` remembers who owns whom, `garbage/plan.rs` decides, this file asks and does.
//!
//! ```text
//!  watches ─► graph ─► uids to look at ─► ask the API for owners not seen ─► plan ─► delete | disown | release
//! ```

mod graph;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use amphipod_api::events::Severity;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::context::{Context, found};
use crate::queue::{Queue, Reconcile};
use crate::resources::{self, EVENTS, Scope, Served};
use graph::{FOREGROUND, Graph, Node, ORPHAN, Uid};
use plan::{Owner, Policy, Step};

const WORKERS: usize = 20;
/// Dependents of one owner that are written at once.
const WRITES_MAX: usize = 16;
/// Absent owners remembered; beyond it all are forgotten at once, which only costs questions.
const ABSENT_MAX: usize = 4_096;

struct Garbage {
    context: Context,
    graph: Mutex<Graph>,
    /// Owners of which the API has said that they are not there: `(dependent's namespace, kind, name, uid)`.
    absent: Mutex<HashSet<AbsentKey>>,
    definitions: Informer<CustomResourceDefinition>,
}

type AbsentKey = (String, String, String, Uid);

pub async fn run(context: Context) {
    let context = context.signed_by("garbage-collector-controller");
    let definitions = context.informers.of::<CustomResourceDefinition>();
    definitions.synced().await;
    let this = Arc::new(Garbage { context, graph: Mutex::default(), absent: Mutex::default(), definitions });
    let queue = Queue::new("garbage_collector_attempt_to_delete");
    let (listing, mut all_listed) = mpsc::channel::<()>(1);
    // Events have no owners and come in masses.
    let kinds = resources::ALL.iter().filter(|kind| **kind != EVENTS);
    let following: Vec<_> = kinds.map(|kind| this.follow(kind, &queue, listing.clone())).collect();
    let custom = this.follow_custom(&queue, listing);
    // Whether an owner's dependents are all gone is known only once every kind was listed.
    let work = async {
        all_listed.recv().await;
        queue.clone().work(WORKERS, this.clone()).await;
    };
    tokio::join!(futures::future::join_all(following), custom, work);
}

impl Garbage {
    /// Follows custom kinds as their definitions come; a kind that is gone tells nothing more.
    async fn follow_custom(&self, queue: &Queue<Uid>, listing: mpsc::Sender<()>) {
        let mut changes = self.definitions.subscribe();
        let (mut followed, mut following) = (HashSet::new(), FuturesUnordered::new());
        let mut listing = Some(listing);
        loop {
            for kind in resources::custom(&self.definitions) {
                if followed.insert(kind) {
                    let (first, _rest) = mpsc::channel(1);
                    following.push(self.follow(kind, queue, listing.clone().unwrap_or(first)));
                }
            }
            // What is there at the start belongs to the first full list; later kinds begin empty.
            listing = None;
            tokio::select! {
                change = changes.next() => if change.is_none() { return },
                Some(()) = following.next(), if !following.is_empty() => {}
            }
        }
    }

    /// Keeps the graph as the watch of one kind tells; gives `listing` back after the first full list.
    async fn follow(&self, kind: &'static Served, queue: &Queue<Uid>, listing: mpsc::Sender<()>) {
        let mut events = self.context.informers.metadata(&kind.resource());
        let (mut listed, mut listing) = (HashSet::new(), Some(listing));
        while let Some(event) = events.next().await {
            let look = match event {
                Event::Init => {
                    listed.clear();
                    Vec::new()
                }
                Event::InitApply(object) => {
                    let node = Node::new(kind, object.metadata);
                    listed.insert(node.uid.clone());
                    self.graph.lock().put(node)
                }
                Event::InitDone => {
                    listing = None;
                    self.graph.lock().keep(kind, &std::mem::take(&mut listed))
                }
                Event::Apply(object) => self.graph.lock().put(Node::new(kind, object.metadata)),
                Event::Delete(object) => self.graph.lock().remove(&object.metadata.uid.unwrap_or_default()),
            };
            look.into_iter().for_each(|uid| queue.add(uid));
        }
        drop(listing);
    }
}

impl Reconcile<Uid> for Garbage {
    type Error = kube::Error;

    async fn reconcile(&self, uid: &Uid) -> kube::Result<Option<Duration>> {
        let (node, dependents) = {
            let graph = self.graph.lock();
            let Some(node) = graph.get(uid).cloned() else { return Ok(None) };
            let dependents = graph.dependents_of(&node);
            (node, dependents)
        };
        let mut owners = Vec::with_capacity(node.owners.len());
        if !node.is_terminating {
            for reference in &node.owners {
                owners.push(self.owner(&node, reference).await?);
            }
        }
        let step = plan::plan(&node, &owners, &dependents);
        if step != Step::Rest {
            tracing::debug!(kind = node.kind.kind, node.namespace, node.name, ?step, "garbage");
        }
        self.apply(node, step, &dependents).await.map(|()| None)
    }
}

impl Garbage {
    /// What a reference names. The graph is believed when it says that the owner lives; only the API can say
    /// that it does not. A kind nobody knows is no reason to delete anything.
    async fn owner(&self, node: &Node, reference: &OwnerReference) -> kube::Result<Owner> {
        let known = self.graph.lock().get(&reference.uid).cloned();
        if known.as_ref().is_some_and(|owner| owner.is_meant_by(reference, node) && !owner.waits_for_dependents()) {
            return Ok(Owner::Lives);
        }
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let is_it = |kind: &&'static Served| kind.group == group && kind.kind == reference.kind;
        let custom = || resources::custom(&self.definitions).into_iter().find(|kind| is_it(kind));
        let kind = resources::ALL.iter().find(is_it).or_else(custom);
        let Some(kind) = kind else { return Ok(Owner::Lives) };
        if kind.scope == Scope::Namespaced && node.kind.scope == Scope::Cluster {
            self.warn_of_namespace(node, reference);
            return Ok(Owner::Lives);
        }
        let namespace = node.namespace.clone();
        let key = (namespace, kind.plural.to_owned(), reference.name.clone(), reference.uid.clone());
        if self.absent.lock().contains(&key) {
            return Ok(Owner::Absent);
        }
        let api = kind.api(&self.context.client, &node.namespace);
        let live =
            found(api.get_metadata(&reference.name).await)?.filter(|live| live.uid().as_ref() == Some(&reference.uid));
        let Some(live) = live else {
            if known.is_some_and(|owner| owner.kind.scope == Scope::Namespaced && owner.namespace != node.namespace) {
                self.warn_of_namespace(node, reference);
            }
            let mut absent = self.absent.lock();
            if absent.len() >= ABSENT_MAX {
                absent.clear();
            }
            absent.insert(key);
            return Ok(Owner::Absent);
        };
        let waits = Node::new(kind, live.metadata).waits_for_dependents();
        Ok(if waits { Owner::Waits } else { Owner::Lives })
    }

    fn warn_of_namespace(&self, node: &Node, reference: &OwnerReference) {
        let OwnerReference { api_version, kind, name, uid, .. } = reference;
        let namespace = &node.namespace;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \"{namespace}\""
        );
        let about = ObjectReference {
            api_version: Some(node.kind.api_version()),
            kind: Some(node.kind.kind.to_owned()),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(node.name.clone()),
            uid: Some(node.uid.clone()),
            ..ObjectReference::default()
        };
        self.context.recorder.record(about, Severity::Warning, "OwnerRefInvalidNamespace", message);
    }

    async fn apply(&self, mut node: Node, step: Step, dependents: &[Node]) -> kube::Result<()> {
        match step {
            Step::Rest => Ok(()),
            Step::Release(finalizer) => self.release(&node, finalizer).await,
            Step::Disown(owners) => self.disown(&node, &owners).await,
            Step::Orphan => {
                let owner = [node.uid.clone()];
                let disowned: Vec<_> = dependents.iter().map(|dependent| self.disown(dependent, &owner)).collect();
                futures::stream::iter(disowned).buffer_unordered(WRITES_MAX).try_collect::<()>().await?;
                self.release(&node, ORPHAN).await
            }
            Step::Delete { policy, unblock } => {
                if unblock {
                    for owner in &mut node.owners {
                        owner.block_owner_deletion = Some(false);
                    }
                    node.revision = self.patch(&node, "ownerReferences", &node.owners).await?;
                }
                self.delete(&node, policy).await
            }
        }
    }

    async fn release(&self, node: &Node, finalizer: &'static str) -> kube::Result<()> {
        debug_assert!([FOREGROUND, ORPHAN].contains(&finalizer), "other finalizers are not ours to take");
        let left: Vec<&String> = node.finalizers.iter().filter(|own| *own != finalizer).collect();
        self.patch(node, "finalizers", &left).await.map(drop)
    }

    async fn disown(&self, node: &Node, owners: &[Uid]) -> kube::Result<()> {
        let left: Vec<_> = node.owners.iter().filter(|reference| !owners.contains(&reference.uid)).collect();
        self.patch(node, "ownerReferences", &left).await.map(drop)
    }

    /// Replaces one list of the metadata, only if the object is still as the graph has it. Gives its new revision.
    async fn patch(&self, node: &Node, field: &str, list: &[impl Serialize]) -> kube::Result<Option<String>> {
        let list = if list.is_empty() { Value::Null } else { json!(list) };
        let patch = json!({"metadata": {"uid": node.uid, "resourceVersion": node.revision, field: list}});
        let api = node.kind.api(&self.context.client, &node.namespace);
        let patched = api.patch(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        Ok(found(patched)?.and_then(|object| object.metadata.resource_version))
    }

    /// Deletes exactly the object that was judged, in the state that was judged.
    async fn delete(&self, node: &Node, policy: Policy) -> kube::Result<()> {
        let preconditions = Preconditions { uid: Some(node.uid.clone()), resource_version: node.revision.clone() };
        let policy = match policy {
            Policy::Background => PropagationPolicy::Background,
            Policy::Foreground => PropagationPolicy::Foreground,
            Policy::Orphan => PropagationPolicy::Orphan,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        let api = node.kind.api(&self.context.client, &node.namespace);
        found(api.delete(&node.name, &params).await).map(drop)
    }
}
