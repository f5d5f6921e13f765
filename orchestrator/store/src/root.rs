//! Everything the machine knows at one revision, as persistent maps: a clone is a few pointers, and the clone of one
//! batch becomes the [`Snapshot`] that readers share. Written by `machine.rs` alone.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::{Key, Object, ResourceId, Revision, Snapshot};

#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    pub revision: Revision,
    pub objects: RedBlackTreeMapSync<Key, Arc<Object>>,
    /// How many objects lie under a prefix, for each resource and each namespace of it.
    pub counts: RedBlackTreeMapSync<Box<[u8]>, usize>,
    /// What the objects weigh together, in bytes.
    pub weight: usize,
    pub charges: RedBlackTreeMapSync<(Key, Arc<str>), i64>,
    pub pools: RedBlackTreeMapSync<(Arc<str>, u64), Key>,
    pub resources: RedBlackTreeMapSync<Arc<str>, ResourceId>,
}

impl Root {
    /// Puts an object in place and returns the one that stood there.
    pub fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let previous = self.objects.get(&object.key).cloned();
        self.weight += object.weight();
        match &previous {
            Some(previous) => self.weight -= previous.weight(),
            None => self.tally(&object.key, 1),
        }
        self.objects.insert_mut(object.key.clone(), object);
        previous
    }

    /// Puts many objects of new keys in place at once.
    pub fn load(&mut self, objects: impl Iterator<Item = Arc<Object>>) {
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for object in objects {
            self.weight += object.weight();
            let bytes = object.key.as_bytes();
            let named = bytes.len() - object.key.name().len();
            for prefix in [&bytes[..3], &bytes[..named]] {
                match counts.get_mut(prefix) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(prefix.to_vec(), 1)),
                }
            }
            self.objects.insert_mut(object.key.clone(), object);
        }
        for (prefix, count) in counts {
            self.counts.insert_mut(prefix.into(), count);
        }
    }

    pub fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let previous = self.objects.get(key).cloned()?;
        self.weight -= previous.weight();
        self.tally(key, -1);
        self.objects.remove_mut(key);
        Some(previous)
    }

    fn tally(&mut self, key: &Key, change: isize) {
        let resource = Key::prefix(key.resource(), None);
        let namespace = Key::prefix(key.resource(), Some(key.namespace()));
        for prefix in [resource, namespace] {
            let count = self.counts.get(prefix.as_slice()).copied().unwrap_or(0).saturating_add_signed(change);
            if count == 0 {
                self.counts.remove_mut(prefix.as_slice());
            } else {
                self.counts.insert_mut(prefix.into(), count);
            }
        }
    }
}

impl Snapshot for Root {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    fn list(
        &self,
        resource: ResourceId,
        namespace: Option<&str>,
        after: Option<&Key>,
        limit: usize,
    ) -> Vec<Arc<Object>> {
        let prefix = Key::prefix(resource, namespace);
        let end = successor(&prefix);
        let start = match after {
            Some(key) if key.as_bytes() >= end.as_slice() => return Vec::new(),
            Some(key) if key.as_bytes() > prefix.as_slice() => Bound::Excluded(key.as_bytes()),
            _ => Bound::Included(prefix.as_slice()),
        };
        let range = self.objects.range::<[u8], _>((start, Bound::Excluded(end.as_slice())));
        let limit = if limit == 0 { usize::MAX } else { limit };
        range.take(limit).map(|(_, object)| object.clone()).collect()
    }

    fn count(&self, resource: ResourceId, namespace: Option<&str>) -> usize {
        self.counts.get(Key::prefix(resource, namespace).as_slice()).copied().unwrap_or(0)
    }

    fn charged(&self, quota: &Key, name: &str) -> i64 {
        self.charges.get(&(quota.clone(), name.into())).copied().unwrap_or(0)
    }

    fn holder(&self, pool: &str, value: u64) -> Option<Key> {
        self.pools.get(&(pool.into(), value)).cloned()
    }

    fn allocated(&self, pool: &str) -> Vec<u64> {
        let pool: Arc<str> = pool.into();
        self.pools.range((pool.clone(), 0)..=(pool, u64::MAX)).map(|((_, value), _)| *value).collect()
    }
}

/// The first byte string after everything that starts with the prefix (which ends in a zero).
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a prefix ends in a separator") = 1;
    end
}
