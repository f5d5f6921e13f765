//! Keeps the catalog true to the definitions in the store: one list, then every change. Who asks for a kind after its
//! definition says Established finds it: entries are swapped in before that is written.
//!
//! ```text
//!  list ─► settle ─► watch ─► change ─► settle ─┐
//!   ▲                  ▲────────────────────────┘
//!   └── Expired, or any other error after a pause
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Change, Error, Event, Snapshot, Watch};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cleanup::{self, Left};
use super::names::{self, Definitions};
use crate::kinds::custom_resource_definition::{FINALIZER, GROUP, STORAGE, is_established};
use crate::kinds::json::text;
use crate::registry::Entry;
use crate::seams::Identity;
use crate::server::Server;
use crate::stamp;

const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at what a deletion has left.
const CLEANUP_PAUSE: Duration = Duration::from_millis(100);

/// Runs until dropped. `ready` turns true once every established kind is served.
pub async fn follow(server: Server, ready: watch::Sender<bool>) {
    let mut follower = Follower::new(server);
    loop {
        match follower.list().await {
            Ok(watch) => {
                ready.send_replace(true);
                let error = follower.pump(watch).await;
                tracing::debug!(%error, "definitions are read again");
            }
            Err(error) => tracing::debug!(%error, "definitions cannot be read"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What one definition serves now.
struct Served {
    /// What its entries were made from: spec, accepted names, whether it ends.
    made_of: Value,
    entries: Vec<Arc<Entry>>,
    retired: CancellationToken,
}

struct Follower {
    server: Server,
    definitions: Definitions,
    served: BTreeMap<String, Served>,
    /// Changes come as they happen; before, definitions are as old as they say.
    is_live: bool,
    api: Api<DynamicObject>,
}

impl Follower {
    fn new(server: Server) -> Self {
        let kind = GroupVersionKind::gvk(GROUP, "v1", "CustomResourceDefinition");
        let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
        let api = Api::all_with(server.client(Identity::system_masters()), &resource);
        Self { server, definitions: Definitions::new(), served: BTreeMap::new(), is_live: false, api }
    }

    async fn list(&mut self) -> Result<Box<dyn Watch>, Error> {
        let id = self.server.store.resource(STORAGE).await?;
        let snapshot = self.server.store.snapshot();
        let watch = self.server.store.watch(id, snapshot.revision())?;
        let listed = snapshot.list(id, None, None, 0);
        self.definitions =
            listed.iter().map(|object| (object.key.name().to_owned(), self.server.codec.value(object))).collect();
        self.settle(&*snapshot).await?;
        self.is_live = true;
        Ok(watch)
    }

    async fn pump(&mut self, mut watch: Box<dyn Watch>) -> Error {
        loop {
            let ends = self.definitions.values().any(is_ending);
            let again = async {
                match ends {
                    true => tokio::time::sleep(CLEANUP_PAUSE).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                events = watch.next() => match events {
                    Ok(events) => events.iter().for_each(|event| self.take(event)),
                    Err(error) => return error,
                },
                () = again => {}
            }
            let snapshot = self.server.store.snapshot();
            if let Err(error) = self.settle(&*snapshot).await {
                return error;
            }
        }
    }

    fn take(&mut self, event: &Event) {
        let name = event.current.key.name().to_owned();
        match event.change {
            Change::Deleted => drop(self.definitions.remove(&name)),
            Change::Added | Change::Modified => {
                let value = self.server.codec.value(&event.current);
                self.definitions.insert(name, value);
            }
        }
    }

    /// Serves what is to be served, then writes what the definitions should say.
    async fn settle(&mut self, snapshot: &dyn Snapshot) -> Result<(), Error> {
        let time = stamp::time(self.server.now());
        let names: Vec<String> = self.definitions.keys().cloned().collect();
        let mut changed = Vec::new();
        for name in &names {
            if let Some(new) = names::settled(name, &self.definitions, &time) {
                // The next definition of the group is judged by what this one was given.
                self.definitions.insert(name.clone(), new.clone());
                changed.push(new);
            }
        }
        self.serve(snapshot).await?;
        for new in changed {
            self.write_status(new).await;
        }
        for name in names {
            if self.definitions.get(&name).is_some_and(is_ending) {
                self.clean(&name, snapshot).await;
            }
        }
        Ok(())
    }

    async fn serve(&mut self, snapshot: &dyn Snapshot) -> Result<(), Error> {
        let wanted: Vec<(String, Value)> = self
            .definitions
            .iter()
            .filter(|(_, definition)| is_established(definition))
            .map(|(name, definition)| (name.clone(), made_of(definition)))
            .collect();
        let is_same = |name: &String, made_of: &Value| self.served.get(name).is_some_and(|one| one.made_of == *made_of);
        if wanted.len() == self.served.len() && wanted.iter().all(|(name, made_of)| is_same(name, made_of)) {
            return Ok(());
        }
        let mut retired = Vec::new();
        let mut next = BTreeMap::new();
        for (name, made_of) in wanted {
            let before = self.served.remove(&name);
            if let Some(before) = before.as_ref().filter(|before| before.made_of == made_of) {
                next.insert(name, Served { made_of, entries: before.entries.clone(), retired: before.retired.clone() });
                continue;
            }
            retired.extend(before.map(|before| before.retired));
            let definition = &self.definitions[&name];
            let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["plural"]));
            let resource = self.server.store.resource(&format!("{group}/{plural}")).await?;
            let token = CancellationToken::new();
            let own = text(&definition["metadata"]["resourceVersion"]).parse();
            let since = own.ok().filter(|_| !self.is_live).unwrap_or(snapshot.revision());
            let entries = super::entries(definition, resource, since, &token);
            next.insert(name, Served { made_of, entries, retired: token });
        }
        retired.extend(std::mem::take(&mut self.served).into_values().map(|gone| gone.retired));
        self.served = next;
        let entries: Vec<_> = self.served.values().flat_map(|served| served.entries.iter().cloned()).collect();
        self.server.catalog.set_custom(&entries);
        // Watchers that start over find the new picture.
        retired.iter().for_each(CancellationToken::cancel);
        Ok(())
    }

    /// Another writer may have been faster; its change comes by the watch and is settled then.
    async fn write_status(&self, definition: Value) {
        let name = text(&definition["metadata"]["name"]).to_owned();
        let Ok(object) = serde_json::from_value::<DynamicObject>(definition) else { return };
        if let Err(error) = self.api.replace_status(&name, &PostParams::default(), &object).await {
            tracing::debug!(%error, name, "a definition's status was not written");
        }
    }

    /// Deletes the objects of a definition that ends, and lets it go when none is left.
    async fn clean(&mut self, name: &str, snapshot: &dyn Snapshot) {
        let Some(definition) = self.definitions.get(name).cloned() else { return };
        let entries = self.served.get(name).map(|served| served.entries.clone()).unwrap_or_default();
        let left = cleanup::empty(&self.server, entries.first(), snapshot).await;
        let time = stamp::time(self.server.now());
        let mut new = definition.clone();
        cleanup::tell(&mut new, left, &time);
        if new != definition {
            self.definitions.insert(name.to_owned(), new.clone());
            self.write_status(new).await;
        }
        if left == Left::Nothing {
            self.release(name).await;
        }
    }

    async fn release(&self, name: &str) {
        let Ok(mut live) = self.api.get(name).await else { return };
        let finalizers = live.metadata.finalizers.take().unwrap_or_default();
        live.metadata.finalizers = Some(finalizers.into_iter().filter(|one| one != FINALIZER).collect());
        if let Err(error) = self.api.replace(name, &PostParams::default(), &live).await {
            tracing::debug!(%error, name, "a definition was not let go");
        }
    }
}

fn is_ending(definition: &Value) -> bool {
    let held = crate::stamp::finalizers(definition).iter().any(|finalizer| finalizer == FINALIZER);
    held && stamp::is_terminating(definition)
}

/// What entries depend on.
fn made_of(definition: &Value) -> Value {
    let ending = definition["metadata"]["deletionTimestamp"].is_string();
    serde_json::json!([
        definition["metadata"]["uid"],
        definition["spec"],
        definition["status"]["acceptedNames"],
        ending
    ])
}
