//! Which resources are served, and under which id the store knows them: the table in `kinds.rs` and the virtual kinds of
//! `reviews.rs`, which never change, and behind them the custom kinds of the moment. `catalog.rs` swaps one for the next.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use amphipod_schema::{Shape, TypeRef};
use amphipod_store::{Error, Key, ResourceId, Store};
use serde_json::Value;

use crate::custom::CustomKind;
use crate::kinds::{Kind, Problem};
use crate::reviews;

/// A kind of the table, or one that a CustomResourceDefinition made.
#[derive(Clone)]
pub enum KindRef {
    BuiltIn(&'static Kind),
    Custom(Arc<CustomKind>),
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match self {
            Self::BuiltIn(kind) => kind,
            Self::Custom(custom) => &custom.kind,
        }
    }
}

impl KindRef {
    pub fn custom(&self) -> Option<&CustomKind> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Custom(custom) => Some(custom),
        }
    }
}

/// One served kind. `resource` is `None` for a virtual kind, which is answered and never stored.
pub struct Entry {
    pub kind: KindRef,
    pub resource: Option<ResourceId>,
    /// The kind whose version lies in the store; another one for a twin API.
    pub hub: KindRef,
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

    /// What is known of its type.
    pub fn shape(&self) -> Shape<'_> {
        self.kind.custom().map_or(Shape::from(self.ty), |custom| Shape::Custom(&custom.schema))
    }

    /// Problems of an object that is to be stored; `old` is what stood there before.
    pub fn problems(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        match self.kind.custom() {
            Some(custom) => custom.problems(object, old),
            None => (self.kind.validate)(object),
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.kind)
    }
}

pub fn api_version(kind: &Kind) -> String {
    match kind.group {
        "" => kind.version.to_owned(),
        group => format!("{group}/{}", kind.version),
    }
}

/// All entries, in discovery order: the built-in ones, then the custom ones.
#[derive(Clone)]
pub struct Registry {
    entries: Vec<Arc<Entry>>,
    built_in: usize,
    by_plural: HashMap<&'static str, Vec<Arc<Entry>>>,
    ids: HashMap<&'static str, ResourceId>,
    pub namespaces: ResourceId,
}

impl Registry {
    /// The built-in kinds alone.
    pub async fn new(kinds: &[&'static Kind], store: &dyn Store) -> Result<Self, Error> {
        let mut ids = HashMap::new();
        for kind in kinds.iter().filter(|kind| !reviews::is_virtual(kind)) {
            ids.insert(kind.storage, store.resource(kind.storage).await?);
        }
        let namespaces = store.resource("namespaces").await?;
        let mut registry = Self { entries: Vec::new(), built_in: 0, by_plural: HashMap::new(), ids, namespaces };
        for kind in kinds {
            let entry = registry.entry(kind, hub_of(kind, kinds));
            registry.add(entry);
        }
        registry.built_in = registry.entries.len();
        Ok(registry)
    }

    /// The same built-in kinds with other custom ones behind them. A custom kind never hides a built-in one.
    pub fn with_custom(&self, custom: Vec<Arc<Entry>>) -> Self {
        let mut registry = Self { entries: Vec::new(), by_plural: HashMap::new(), ids: HashMap::new(), ..self.clone() };
        for entry in self.built_in() {
            registry.add(entry.clone());
        }
        for entry in custom {
            if registry.find(entry.kind.group, entry.kind.version, entry.kind.plural).is_none() {
                registry.add(entry);
            }
        }
        registry
    }

    fn entry(&self, kind: &'static Kind, hub: &'static Kind) -> Arc<Entry> {
        Arc::new(Entry {
            kind: KindRef::BuiltIn(kind),
            resource: self.ids.get(kind.storage).copied(),
            hub: KindRef::BuiltIn(hub),
            ty: amphipod_schema::table().by_name(kind.schema),
            sealed: kind.group.is_empty() && kind.plural == "secrets",
        })
    }

    fn add(&mut self, entry: Arc<Entry>) {
        if let Some(id) = entry.resource {
            self.ids.insert(entry.kind.storage, id);
        }
        self.by_plural.entry(entry.kind.plural).or_default().push(entry.clone());
        self.entries.push(entry);
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Entry>> {
        let twins = self.by_plural.get(plural)?;
        twins.iter().find(|entry| entry.kind.group == group && entry.kind.version == version)
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn built_in(&self) -> &[Arc<Entry>] {
        &self.entries[..self.built_in]
    }

    pub fn custom(&self) -> &[Arc<Entry>] {
        &self.entries[self.built_in..]
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
