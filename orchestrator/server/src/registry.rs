//! Which resources are served, and under which id the store knows them. Built once from the table in `kinds.rs`
//! and the virtual kinds of `reviews.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_schema::TypeRef;
use amphipod_store::{Error, Key, ResourceId, Store};

use crate::kinds::Kind;
use crate::reviews;

/// One served kind. `resource` is `None` for a virtual kind, which is answered and never stored.
pub struct Entry {
    pub kind: &'static Kind,
    pub resource: Option<ResourceId>,
    /// The kind whose version lies in the store; another one for a twin API.
    pub hub: &'static Kind,
    /// Its type in the schema table.
    pub ty: Option<TypeRef>,
    /// Its body is encrypted in the store.
    pub sealed: bool,
}

impl Entry {
    /// The key of an object of this kind. Only stored kinds have one.
    pub fn key(&self, namespace: &str, name: &str) -> Key {
        Key::new(self.id(), namespace, name)
    }

    pub fn id(&self) -> ResourceId {
        self.resource.expect("virtual kinds are answered before the store is asked")
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(self.kind)
    }
}

pub fn api_version(kind: &Kind) -> String {
    match kind.group {
        "" => kind.version.to_owned(),
        group => format!("{group}/{}", kind.version),
    }
}

/// All entries, in discovery order.
pub struct Registry {
    entries: Vec<Arc<Entry>>,
    by_plural: HashMap<&'static str, Vec<Arc<Entry>>>,
    ids: HashMap<&'static str, ResourceId>,
    pub namespaces: ResourceId,
}

impl Registry {
    pub async fn new(kinds: &[&'static Kind], store: &dyn Store) -> Result<Self, Error> {
        let mut ids = HashMap::new();
        for kind in kinds.iter().filter(|kind| !reviews::is_virtual(kind)) {
            ids.insert(kind.storage, store.resource(kind.storage).await?);
        }
        let namespaces = store.resource("namespaces").await?;
        let mut registry = Self { entries: Vec::new(), by_plural: HashMap::new(), ids, namespaces };
        for kind in kinds {
            registry.add(kind, hub_of(kind, kinds));
        }
        Ok(registry)
    }

    fn add(&mut self, kind: &'static Kind, hub: &'static Kind) {
        let resource = self.ids.get(kind.storage).copied();
        let sealed = kind.group.is_empty() && kind.plural == "secrets";
        let entry = Arc::new(Entry { kind, resource, hub, ty: amphipod_schema::table().by_name(kind.schema), sealed });
        self.by_plural.entry(kind.plural).or_default().push(entry.clone());
        self.entries.push(entry);
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Entry>> {
        let twins = self.by_plural.get(plural)?;
        twins.iter().find(|entry| entry.kind.group == group && entry.kind.version == version)
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn id(&self, storage: &str) -> Option<ResourceId> {
        self.ids.get(storage).copied()
    }
}

/// Of twins, the one in the storage's own group; of its versions the newest, which the table lists last.
fn hub_of(kind: &'static Kind, kinds: &[&'static Kind]) -> &'static Kind {
    let at_home = |twin: &&&'static Kind| twin.storage == kind.storage && storage_group(twin.storage) == twin.group;
    let versions = kinds.iter().filter(at_home);
    versions.max_by_key(|twin| twin.version).copied().unwrap_or(kind)
}

fn storage_group(storage: &str) -> &str {
    storage.split_once('/').map_or("", |(group, _)| group)
}
