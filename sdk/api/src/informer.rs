//! The seam through which controllers, scheduler and agents read: a live copy of one kind, shared by all
//! who ask for it, decoded once per change.
//!
//! In the server's process a [`Source`] taps the store's feed; on another machine it is a list and watch over the API
//! (`remote.rs`). Access is checked when the source is asked, as for any client.
//!
//! ```text
//!  Source ── RawEvent ──► one task per kind ──► Informer<K>: objects + indexes
//!                                                  └── Change<K> ──► every `Changes` (bounded; a laggard gets Resynced)
//! ```

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, RwLock};

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{ApiResource, ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};

use crate::remote::Remote;

/// How many changes a subscriber may fall behind before it is told to look at everything again.
pub const CHANGES_MAX: usize = 8_192;

/// What an informer can hold: any typed Kubernetes object.
pub trait Object: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}
impl<K> Object for K where K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}

/// One step of a list-and-watch, as JSON of the whole object.
#[derive(Debug, Clone)]
pub enum RawEvent {
    /// A full list begins; what it does not name is gone.
    Restarted,
    Listed(bytes::Bytes),
    /// The list is complete.
    Synced,
    Applied(bytes::Bytes),
    Deleted(bytes::Bytes),
}

/// Where informers get their objects. It never ends: after a gap it starts again with `Restarted`.
pub trait Source: Send + Sync {
    /// `group` is empty for the core group; `plural` as in the URL; with `name`, objects of that name only.
    fn list_and_watch(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        name: Option<&str>,
    ) -> BoxStream<'static, RawEvent>;
}

/// What a subscriber learns. Level-triggered: act on the informer's contents, never on the change alone.
#[derive(Debug)]
pub enum Change<K> {
    Applied {
        now: Arc<K>,
        before: Option<Arc<K>>,
    },
    Deleted(Arc<K>),
    /// Changes were missed or a new list arrived: everything may differ.
    Resynced,
}
impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { now, before } => Self::Applied { now: now.clone(), before: before.clone() },
            Self::Deleted(object) => Self::Deleted(object.clone()),
            Self::Resynced => Self::Resynced,
        }
    }
}

/// Informers by kind and, where only objects of one name are followed, that name.
type Shared = HashMap<(TypeId, Option<&'static str>), Box<dyn Any + Send>>;

/// All informers of one reader. Asking twice for a kind gives the same copy.
#[derive(Clone)]
pub struct Informers {
    source: Arc<dyn Source>,
    kinds: Arc<Mutex<Shared>>,
}

impl Informers {
    /// Reads in process, from the server's feed.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self { source, kinds: Arc::default() }
    }

    /// Reads over the API: a list and a watch for each kind.
    pub fn remote(client: kube::Client) -> Self {
        Self::new(Arc::new(Remote(client)))
    }

    /// The live copy of a kind; its task ends when the last holder of the copy is gone.
    pub fn of<K: Object>(&self) -> Informer<K> {
        self.shared(None)
    }

    /// The live copy of a kind's objects of one name, in every namespace: of a kind that comes in masses.
    pub fn named<K: Object>(&self, name: &'static str) -> Informer<K> {
        self.shared(Some(name))
    }

    fn shared<K: Object>(&self, name: Option<&'static str>) -> Informer<K> {
        let mut kinds = self.kinds.lock().expect("no holder of the lock panics");
        let key = (TypeId::of::<K>(), name);
        if let Some(informer) = kinds.get(&key).and_then(|any| any.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let informer = Informer::<K>::start(self.events::<K>(name));
        kinds.insert(key, Box::new(informer.clone()));
        informer
    }

    /// Follows the metadata of any kind, known at compile time or not; the rest of each object is never kept.
    pub fn metadata(&self, kind: &ApiResource) -> BoxStream<'static, watcher::Event<PartialObjectMeta>> {
        let raw = self.source.list_and_watch(&kind.group, &kind.version, &kind.plural, None);
        raw.filter_map(async |event| decode(event)).boxed()
    }

    fn events<K: Object>(&self, name: Option<&str>) -> BoxStream<'static, watcher::Event<K>> {
        let (group, version, plural) = (K::group(&()), K::version(&()), K::plural(&()));
        let raw = self.source.list_and_watch(&group, &version, &plural, name);
        raw.filter_map(async |event| decode(event)).boxed()
    }
}

fn decode<K: DeserializeOwned>(event: RawEvent) -> Option<watcher::Event<K>> {
    let object = |bytes: bytes::Bytes| serde_json::from_slice::<K>(&bytes).ok();
    Some(match event {
        RawEvent::Restarted => watcher::Event::Init,
        RawEvent::Synced => watcher::Event::InitDone,
        RawEvent::Listed(bytes) => watcher::Event::InitApply(object(bytes)?),
        RawEvent::Applied(bytes) => watcher::Event::Apply(object(bytes)?),
        RawEvent::Deleted(bytes) => watcher::Event::Delete(object(bytes)?),
    })
}

/// `(namespace, name)`; the namespace of a cluster-scoped object is empty.
pub type ObjectKey = (String, String);

/// The key of an object in an informer.
pub fn key_of(meta: &ObjectMeta) -> ObjectKey {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

type IndexFn<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

struct Index<K> {
    keys_of: IndexFn<K>,
    members: HashMap<String, HashSet<ObjectKey>>,
}

struct Copy<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    by_owner: HashMap<String, HashSet<ObjectKey>>,
    indexes: HashMap<&'static str, Index<K>>,
}

/// A live, read-only copy of every object of one kind, without the managed fields: they would be most of it.
pub struct Informer<K> {
    copy: Arc<RwLock<Copy<K>>>,
    changes: broadcast::Sender<Change<K>>,
    synced: watch::Receiver<bool>,
    _task: Arc<TaskGuard>,
}
impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            copy: self.copy.clone(),
            changes: self.changes.clone(),
            synced: self.synced.clone(),
            _task: self._task.clone(),
        }
    }
}

struct TaskGuard(tokio::task::JoinHandle<()>);
impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: Object> Informer<K> {
    /// Follows any stream of events; tests feed their own.
    pub fn start(events: BoxStream<'static, watcher::Event<K>>) -> Self {
        let copy =
            Arc::new(RwLock::new(Copy { objects: BTreeMap::new(), by_owner: HashMap::new(), indexes: HashMap::new() }));
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (synced_now, synced) = watch::channel(false);
        let follower = Follower { copy: copy.clone(), changes: changes.clone(), synced: synced_now, listed: None };
        let task = tokio::spawn(follower.run(events));
        Self { copy, changes, synced, _task: Arc::new(TaskGuard(task)) }
    }

    /// Waits for the first complete list.
    pub async fn synced(&self) {
        let mut synced = self.synced.clone();
        // An error means the follower is gone, which only happens when the program ends.
        let _ = synced.wait_for(|done| *done).await;
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.read().objects.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = (namespace.to_owned(), String::new());
        let copy = self.read();
        copy.objects.range(from..).take_while(|(key, _)| key.0 == namespace).map(|(_, o)| o.clone()).collect()
    }

    /// Objects one of whose owner references has this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let copy = self.read();
        copy.by_owner.get(uid).map(|keys| copy.pick(keys)).unwrap_or_default()
    }

    /// Adds an index: `keys_of` names the entries under which an object is found. Adding a name twice keeps the first.
    pub fn index(&self, name: &'static str, keys_of: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) {
        let mut copy = self.copy.write().expect("no holder of the lock panics");
        if copy.indexes.contains_key(name) {
            return;
        }
        let mut index = Index { keys_of: Arc::new(keys_of), members: HashMap::new() };
        for (key, object) in &copy.objects {
            index.insert(key, object);
        }
        copy.indexes.insert(name, index);
    }

    /// Objects under one entry of an index made by [`Informer::index`].
    pub fn indexed(&self, name: &str, entry: &str) -> Vec<Arc<K>> {
        let copy = self.read();
        let keys = copy.indexes.get(name).and_then(|index| index.members.get(entry));
        keys.map(|keys| copy.pick(keys)).unwrap_or_default()
    }

    /// Changes from now on. The first item is always `Resynced`: look at what is there, then follow.
    pub fn subscribe(&self) -> Changes<K> {
        Changes { receiver: self.changes.subscribe(), started: false }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Copy<K>> {
        self.copy.read().expect("no holder of the lock panics")
    }
}

/// A bounded subscription to one kind's changes.
pub struct Changes<K> {
    receiver: broadcast::Receiver<Change<K>>,
    started: bool,
}
impl<K> Changes<K> {
    /// The next change; `None` only when the informer has ended.
    pub async fn next(&mut self) -> Option<Change<K>> {
        if !std::mem::replace(&mut self.started, true) {
            return Some(Change::Resynced);
        }
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Resynced),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

struct Follower<K> {
    copy: Arc<RwLock<Copy<K>>>,
    changes: broadcast::Sender<Change<K>>,
    synced: watch::Sender<bool>,
    /// Keys named by the list in progress.
    listed: Option<HashSet<ObjectKey>>,
}

impl<K: Object> Follower<K> {
    async fn run(mut self, mut events: BoxStream<'static, watcher::Event<K>>) {
        while let Some(event) = events.next().await {
            let change = self.absorb(event);
            if let Some(change) = change {
                // No subscriber is no error.
                let _ = self.changes.send(change);
            }
        }
    }

    fn absorb(&mut self, event: watcher::Event<K>) -> Option<Change<K>> {
        let mut copy = self.copy.write().expect("no holder of the lock panics");
        match event {
            watcher::Event::Init => {
                self.listed = Some(HashSet::new());
                None
            }
            watcher::Event::InitApply(mut object) => {
                object.meta_mut().managed_fields = None;
                let key = key_of(object.meta());
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                copy.insert(key, Arc::new(object));
                None
            }
            watcher::Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = copy.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    copy.remove(&key);
                }
                drop(copy);
                self.synced.send_replace(true);
                Some(Change::Resynced)
            }
            watcher::Event::Apply(mut object) => {
                object.meta_mut().managed_fields = None;
                let now = Arc::new(object);
                let before = copy.insert(key_of(now.meta()), now.clone());
                Some(Change::Applied { now, before })
            }
            watcher::Event::Delete(object) => {
                copy.remove(&key_of(object.meta()));
                Some(Change::Deleted(Arc::new(object)))
            }
        }
    }
}

impl<K: Object> Copy<K> {
    fn insert(&mut self, key: ObjectKey, object: Arc<K>) -> Option<Arc<K>> {
        let before = self.remove(&key);
        for owner in object.owner_references() {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        for index in self.indexes.values_mut() {
            index.insert(&key, &object);
        }
        self.objects.insert(key, object);
        before
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let object = self.objects.remove(key)?;
        for owner in object.owner_references() {
            forget(&mut self.by_owner, &owner.uid, key);
        }
        for index in self.indexes.values_mut() {
            for entry in (index.keys_of)(&object) {
                forget(&mut index.members, &entry, key);
            }
        }
        Some(object)
    }

    fn pick(&self, keys: &HashSet<ObjectKey>) -> Vec<Arc<K>> {
        keys.iter().filter_map(|key| self.objects.get(key).cloned()).collect()
    }
}

impl<K> Index<K> {
    fn insert(&mut self, key: &ObjectKey, object: &K) {
        for entry in (self.keys_of)(object) {
            self.members.entry(entry).or_default().insert(key.clone());
        }
    }
}

fn forget(members: &mut HashMap<String, HashSet<ObjectKey>>, entry: &str, key: &ObjectKey) {
    if let Some(keys) = members.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            members.remove(entry);
        }
    }
}
