//! A server, all controllers, and somebody who plays scheduler and agents. Every cluster has the namespaces `d` and `e`.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_controllers::{Options, run};
use amphipod_server::Server;
use amphipod_server::seams::{Attributes, Authorize, Decision, Identity};
use amphipod_store::MemoryStore;
use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

struct AllowAll;
impl Authorize for AllowAll {
    fn authorize(&self, _: &Identity, _: &Attributes) -> Decision {
        Decision::Allowed { reason: String::new() }
    }
}

/// Plays the nodes until it is dropped.
pub type PlayNodes = fn(kube::Client) -> BoxFuture<'static, ()>;

pub struct Cluster {
    pub client: kube::Client,
    server: Server,
    /// How far the controllers' clock is ahead.
    ahead: Arc<Mutex<Duration>>,
    play_nodes: PlayNodes,
    tasks: JoinSet<()>,
}

impl Cluster {
    pub async fn start(play_nodes: PlayNodes) -> Self {
        let options = amphipod_server::Options::new(Arc::new(MemoryStore::new()), Arc::new(AllowAll));
        let server = Server::new(options).await.expect("a server");
        let client = server.client(Identity::system_masters());
        let mut cluster = Self { client, server, ahead: Arc::default(), play_nodes, tasks: JoinSet::new() };
        cluster.start_controllers();
        for name in ["d", "e"] {
            cluster.create::<Namespace>("", json!({"metadata": {"name": name}})).await;
        }
        cluster
    }

    fn start_controllers(&mut self) {
        let informers = Informers::new(self.server.source(Identity::system_masters()));
        let ahead = self.ahead.clone();
        let clock = Arc::new(move || jiff::Timestamp::now() + *ahead.lock());
        let options = Options { clock, root_ca: "ca".into(), authority: None };
        self.tasks.spawn(run(self.client.clone(), informers, options));
        self.tasks.spawn((self.play_nodes)(self.client.clone()));
    }

    /// As after a crash: nothing that was only in memory is known any more.
    pub async fn restart_controllers(&mut self) {
        self.tasks.shutdown().await;
        self.start_controllers();
    }

    /// Lets waits that are counted by the clock pass.
    pub fn leap(&self, by: Duration) {
        *self.ahead.lock() += by;
    }

    pub fn api<K: kube::Resource<DynamicType = ()>>(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<K>(&());
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    pub async fn create<K>(&self, namespace: &str, mut object: Value) -> DynamicObject
    where
        K: kube::Resource<DynamicType = ()>,
    {
        object["apiVersion"] = K::api_version(&()).as_ref().into();
        object["kind"] = K::kind(&()).as_ref().into();
        let object = serde_json::from_value(object).expect("an object");
        self.api::<K>(namespace).create(&PostParams::default(), &object).await.expect("created")
    }

    /// In the namespace `d`.
    pub async fn patch<K: kube::Resource<DynamicType = ()>>(&self, name: &str, patch: Value) {
        self.api::<K>("d").patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched");
    }

    /// In the namespace `d`.
    pub async fn list<K: kube::Resource<DynamicType = ()>>(&self) -> Vec<DynamicObject> {
        self.api::<K>("d").list(&ListParams::default()).await.expect("listed").items
    }

    /// Waits until an object is as `wanted` says, which is asked with `None` while there is none; gives that state.
    pub async fn until<K>(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(Option<&DynamicObject>) -> bool,
    ) -> Option<DynamicObject>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let mut last = None;
        let mut states = std::pin::pin!(watcher::watch_object(self.api::<K>(namespace), name));
        let waiting = async {
            while let Some(state) = states.next().await {
                let Ok(state) = state else { continue };
                last = state;
                if wanted(last.as_ref()) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let pods: Vec<_> = self.list::<Pod>().await.iter().map(brief).collect();
            panic!("{name} is not as wanted: {last:#?}\n{pods:#?}\n{:#?}", self.events().await);
        }
        last
    }

    /// `reason message` of all, sorted.
    pub async fn events(&self) -> Vec<String> {
        let events = self.list::<Event>().await;
        let text = |event: &DynamicObject, field: &str| event.data[field].as_str().unwrap_or_default().to_owned();
        let mut told: Vec<_> =
            events.iter().map(|event| format!("{} {}", text(event, "reason"), text(event, "message"))).collect();
        told.sort();
        told
    }

    /// Waits for an event whose reason and message begin so.
    pub async fn told(&self, event: &str) {
        let waiting = async {
            let mut changes = std::pin::pin!(watcher::watcher(self.api::<Event>("d"), watcher::Config::default()));
            while let Some(change) = changes.next().await {
                if let Ok(watcher::Event::Apply(_) | watcher::Event::InitDone) = change
                    && self.events().await.iter().any(|told| told.starts_with(event))
                {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("nobody says {event:?}: {:#?}", self.events().await);
        }
    }
}

fn brief(pod: &DynamicObject) -> String {
    let (phase, finalizers) = (&pod.data["status"]["phase"], &pod.metadata.finalizers);
    let leaves = pod.metadata.deletion_timestamp.is_some();
    format!("{} {phase} finalizers {finalizers:?} leaves {leaves}", pod.name_any())
}
