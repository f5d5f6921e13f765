//! Keeps the graph true. It is pulled, not pushed: who asks takes in what was published until then, so that a node which
//! saw its pod is never told that it has nothing to do with the pod's secret.

use std::sync::Arc;

use amphipod_store::{Change, Event, Object, ResourceId, Store, Watch};
use futures::FutureExt;
use serde_json::Value;

use super::graph::{Graph, Thing, What};

const RESOURCES: [(&str, What); 4] = [
    ("pods", What::Pod),
    ("persistentvolumes", What::Volume),
    ("storage.k8s.io/volumeattachments", What::Attachment),
    ("resource.k8s.io/resourceslices", What::Slice),
];
/// Of a known pod, only these may add edges.
const LATE: [&[u8]; 2] = [b"\"ephemeralContainers\"", b"\"resourceClaimStatuses\""];

pub struct Feed {
    store: Arc<dyn Store>,
    graph: Graph,
    sources: Vec<Source>,
}

struct Source {
    what: What,
    resource: ResourceId,
    /// `None`: the next step is a whole list.
    watch: Option<Box<dyn Watch>>,
}

impl Feed {
    /// Reads nothing yet.
    pub async fn new(store: Arc<dyn Store>) -> Result<Self, amphipod_store::Error> {
        let mut sources = Vec::new();
        for (name, what) in RESOURCES {
            sources.push(Source { what, resource: store.resource(name).await?, watch: None });
        }
        Ok(Self { store, graph: Graph::default(), sources })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Takes in everything that was published so far. Never waits.
    pub fn catch_up(&mut self) {
        let Self { store, graph, sources } = self;
        for source in sources {
            loop {
                let Some(watch) = &mut source.watch else {
                    if !source.list(&**store, graph) {
                        break; // the next question tries again
                    }
                    continue;
                };
                match watch.next().now_or_never() {
                    None => break,
                    Some(Ok(events)) => events.iter().for_each(|event| take(graph, source.what, event)),
                    Some(Err(error)) => {
                        tracing::debug!(%error, what = ?source.what, "the graph is read again");
                        source.watch = None;
                    }
                }
            }
        }
    }
}

impl Source {
    /// Whether there is a watch to go on with.
    fn list(&mut self, store: &dyn Store, graph: &mut Graph) -> bool {
        let snapshot = store.snapshot();
        let Ok(watch) = store.watch(self.resource, snapshot.revision()) else { return false };
        graph.clear(self.what);
        for object in snapshot.list(self.resource, None, None, 0) {
            put(graph, self.what, &object);
        }
        self.watch = Some(watch);
        true
    }
}

fn take(graph: &mut Graph, what: What, event: &Event) {
    match event.change {
        Change::Added | Change::Modified => put(graph, what, &event.current),
        Change::Deleted => {
            let (namespace, name) = (event.current.key.namespace(), event.current.key.name());
            match what {
                What::Pod => graph.remove_pod(namespace, name),
                What::Volume => graph.remove_volume(name),
                other => graph.remove_own(&Thing::new(other, namespace, name)),
            }
        }
    }
}

fn put(graph: &mut Graph, what: What, object: &Object) {
    let (namespace, name) = (object.key.namespace(), object.key.name());
    // None of these lies sealed.
    let bytes = object.frame(|payload| payload.body.clone());
    if what == What::Pod {
        let node = object.meta.field("spec.nodeName").unwrap_or_default();
        let is_late = LATE.iter().any(|word| memchr::memmem::find(&bytes, word).is_some());
        if node.is_empty() || (!is_late && graph.knows((namespace, name), &object.meta.uid, node)) {
            return;
        }
    }
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return };
    match what {
        What::Pod => graph.put_pod(&value),
        What::Volume => graph.put_volume(&value),
        other => graph.put_own(Thing::new(other, "", name), value["spec"]["nodeName"].as_str().unwrap_or_default()),
    }
}
