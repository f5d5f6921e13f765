//! Configurations read once: what administrators wrote is decoded and compiled when it changes, not when somebody writes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;

use crate::seams::Cluster;

/// All objects of one resource, made into something that is quick to ask.
pub struct Compiled<T> {
    known: ArcSwapOption<Known<T>>,
}

struct Known<T> {
    /// The revisions of all objects, in their order.
    made_of: Vec<u64>,
    all: Arc<Vec<T>>,
}

impl<T> Default for Compiled<T> {
    fn default() -> Self {
        Self { known: ArcSwapOption::empty() }
    }
}

impl<T> Compiled<T> {
    /// Everything there is at this moment, by name; `None` when there is nothing.
    pub fn get(&self, cluster: &Cluster, storage: &str, make: impl Fn(Value) -> Vec<T>) -> Option<Arc<Vec<T>>> {
        let resource = cluster.registry.id(storage)?;
        if cluster.snapshot.count(resource, None) == 0 {
            return None;
        }
        let objects = cluster.snapshot.list(resource, None, None, 0);
        let made_of: Vec<u64> = objects.iter().map(|object| object.revision).collect();
        if let Some(known) = self.known.load_full().filter(|known| known.made_of == made_of) {
            return Some(known.all.clone());
        }
        let all: Vec<T> = objects.iter().flat_map(|object| make(cluster.codec.value(object))).collect();
        let all = Arc::new(all);
        self.known.store(Some(Arc::new(Known { made_of, all: all.clone() })));
        Some(all)
    }
}
