//! Objects as a controller has written them last, until its informer shows them so: it never decides on a state that it
//! has changed itself.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_api::informer::Object;
use parking_lot::Mutex;

/// By uid.
pub struct Latest<K>(Mutex<HashMap<String, Arc<K>>>);

impl<K> Default for Latest<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

fn revision(object: &impl Object) -> u64 {
    object.meta().resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl<K: Object> Latest<K> {
    /// Call with the API's answer to a write.
    pub fn wrote(&self, object: K) {
        self.0.lock().insert(object.meta().uid.clone().unwrap_or_default(), Arc::new(object));
    }

    /// The later of what was written and what is seen.
    pub fn of(&self, seen: Arc<K>) -> Arc<K> {
        let mut written = self.0.lock();
        let uid = seen.meta().uid.clone().unwrap_or_default();
        match written.get(&uid) {
            Some(written) if revision(&**written) > revision(&*seen) => written.clone(),
            _ => {
                written.remove(&uid);
                seen
            }
        }
    }

    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_holds_until_it_is_seen() {
        let map = |uid: &str, revision: u64| -> ConfigMap {
            let metadata = json!({"uid": uid, "resourceVersion": revision.to_string()});
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let latest = Latest::default();
        let check = |uid: &str, seen: u64| revision(&*latest.of(Arc::new(map(uid, seen))));
        latest.wrote(map("a", 10));
        assert_eq!([check("a", 9), check("b", 9), check("a", 10), check("a", 9)], [10, 9, 10, 9]);
        latest.wrote(map("a", 12));
        latest.forget("a");
        assert_eq!(check("a", 11), 11);
    }
}
