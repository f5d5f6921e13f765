//! Which images lie on how many nodes.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::Node;

#[derive(Debug, Default)]
pub struct Images {
    /// Name → size in bytes, nodes that have it.
    known: HashMap<String, (i64, usize)>,
}

impl Images {
    /// What a node has now instead of what it had.
    pub fn put(&mut self, had: &HashSet<String>, node: Option<&Node>) -> HashSet<String> {
        let listed = node.and_then(|node| node.status.as_ref()?.images.as_ref()).into_iter().flatten();
        let mut has = HashSet::new();
        for image in listed {
            for name in image.names.iter().flatten() {
                let known = self.known.entry(name.clone()).or_insert((image.size_bytes.unwrap_or_default(), 0));
                known.1 += usize::from(has.insert(name.clone()));
            }
        }
        for name in had {
            if let Some((_, nodes)) = self.known.get_mut(name) {
                *nodes -= 1;
                if *nodes == 0 {
                    self.known.remove(name);
                }
            }
        }
        has
    }

    /// Its size and on how many nodes it is.
    pub fn get(&self, name: &str) -> Option<(i64, usize)> {
        self.known.get(name).copied()
    }
}
