//! One simulated node: its task owns what is known of its pods, and asks nobody unless something happened.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_runtime::fake::Fake;
use amphipod_runtime::{Runtime, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::pod::{Need, Simulated};
use super::script::Script;
use super::{Addresses, BY_NODE, Shared, addresses, is_silent};
use crate::events::{PodEvents, Severity};

/// A refused write is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// What others may touch of it.
pub struct Machine {
    pub name: String,
    pub uid: String,
    pub ip: Ipv4Addr,
    pub fake: Fake,
    pub started_at: Timestamp,
    /// Pods that changed.
    changed: Mutex<HashSet<ObjectKey>>,
    wake: Notify,
}

impl Machine {
    pub fn new(node: &Node, given: &Addresses) -> Self {
        let known = addresses::of_node(node).and_then(|text| text.parse().ok());
        Self {
            name: node.name_any(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ip: known.unwrap_or_else(|| given.next()),
            fake: Fake::default(),
            started_at: node.metadata.creation_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0),
            changed: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub fn see(&self, pod: ObjectKey) {
        self.changed.lock().insert(pod);
        self.wake.notify_one();
    }

    /// Anything may have changed.
    pub fn see_all(&self) {
        self.see(ObjectKey::default());
    }
}

/// What a write brought.
enum Done {
    Sent(String, kube::Result<Box<Pod>>),
    Deleted(String, kube::Result<()>),
}

struct Keeper {
    shared: Arc<Shared>,
    machine: Arc<Machine>,
    /// By uid.
    pods: HashMap<String, Simulated>,
    uids: HashMap<ObjectKey, String>,
    due: BTreeSet<(Timestamp, String)>,
    writes: JoinSet<Done>,
}

pub async fn run(shared: Arc<Shared>, machine: Arc<Machine>) {
    let mut ends = machine.fake.changed();
    machine.see_all();
    let mut keeper = Keeper {
        shared,
        machine: machine.clone(),
        pods: HashMap::new(),
        uids: HashMap::new(),
        due: BTreeSet::new(),
        writes: JoinSet::new(),
    };
    loop {
        let next = keeper.due.first().map(|(at, _)| *at);
        let timer = async {
            match next {
                Some(at) => {
                    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
                    tokio::time::sleep(wait).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = machine.wake.notified() => keeper.look(),
            Ok(()) = ends.changed() => keeper.observe().await,
            Some(done) = keeper.writes.join_next() => if let Ok(done) = done { keeper.done(done) },
            () = timer => keeper.expire(),
        }
    }
}

impl Keeper {
    fn look(&mut self) {
        let mut changed = std::mem::take(&mut *self.machine.changed.lock());
        if changed.remove(&ObjectKey::default()) {
            changed.extend(self.uids.keys().cloned());
            let here = self.shared.pods.indexed(BY_NODE, &self.machine.name);
            changed.extend(here.iter().map(|pod| key_of(&pod.metadata)));
        }
        for key in changed {
            let pod = self.shared.pods.get(&key.0, &key.1);
            let is_here = |pod: &Arc<Pod>| {
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(self.machine.name.as_str())
            };
            match pod.filter(is_here) {
                Some(pod) => self.see(key, pod),
                None => self.forget(&key),
            }
        }
    }

    fn see(&mut self, key: ObjectKey, pod: Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.uids.get(&key).is_some_and(|known| *known != uid) {
            self.forget(&key);
        }
        let now = Timestamp::now();
        match self.pods.get_mut(&uid) {
            Some(known) => known.see(pod),
            None => {
                let node = self.shared.nodes.get("", &self.machine.name);
                let of_node = node.and_then(|node| node.metadata.annotations.clone());
                let (script, wrong) = Script::of(&pod.metadata.annotations, &of_node);
                for mistake in wrong {
                    let events = PodEvents::new(self.shared.options.events.clone(), &pod);
                    events.pod(Severity::Warning, "InvalidSimulation", mistake);
                }
                let known = Simulated::new(pod, script, &self.machine.fake, now);
                self.pods.insert(uid.clone(), known);
                self.uids.insert(key, uid.clone());
            }
        }
        self.step(&uid, now);
    }

    fn forget(&mut self, key: &ObjectKey) {
        let known = self.uids.remove(key).and_then(|uid| self.pods.remove(&uid));
        if let Some(known) = known {
            known.drop_from(&self.machine.fake);
        }
    }

    /// Containers that ended by themselves.
    async fn observe(&mut self) {
        let Ok(all) = self.machine.fake.list().await else { return };
        let now = Timestamp::now();
        let mut touched = HashSet::new();
        for one in all {
            let (State::Exited(exit), Some(known)) = (one.state, self.pods.get_mut(&one.pod.uid)) else { continue };
            if known.end(&one.id, exit) {
                touched.insert(one.pod.uid);
            }
        }
        touched.iter().for_each(|uid| self.step(uid, now));
    }

    fn expire(&mut self) {
        let now = Timestamp::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, uid)) = self.due.pop_first() {
                self.step(&uid, now);
            }
        }
    }

    fn step(&mut self, uid: &str, now: Timestamp) {
        let shared = self.shared.clone();
        if shared.nodes.get("", &self.machine.name).is_none_or(|node| is_silent(&node)) {
            return;
        }
        let Some(known) = self.pods.get_mut(uid) else { return };
        let (need, wake) = known.step(&self.machine, &shared.addresses, now);
        if let Some(at) = wake {
            self.due.insert((at, uid.to_owned()));
        }
        let uid = uid.to_owned();
        let (namespace, name) = key_of(&known.pod.metadata);
        match need {
            Need::Nothing => {}
            Need::Status(patch) => {
                known.writing = true;
                self.writes.spawn(async move {
                    let _turn = shared.writes.acquire().await;
                    let api = Api::<Pod>::namespaced(shared.options.client.clone(), &namespace);
                    let body = serde_json::json!({ "metadata": { "uid": uid }, "status": patch });
                    let sent = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(body)).await;
                    Done::Sent(uid, sent.map(Box::new))
                });
            }
            Need::Deletion => {
                known.writing = true;
                self.writes.spawn(async move {
                    let _turn = shared.writes.acquire().await;
                    let api = Api::<Pod>::namespaced(shared.options.client.clone(), &namespace);
                    let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
                    let params = DeleteParams { preconditions, ..DeleteParams::default() }.grace_period(0);
                    Done::Deleted(uid, api.delete(&name, &params).await.map(drop))
                });
            }
        }
    }

    fn done(&mut self, done: Done) {
        let now = Timestamp::now();
        let (uid, result) = match done {
            Done::Sent(uid, Ok(pod)) => {
                if let Some(known) = self.pods.get_mut(&uid) {
                    known.writing = false;
                    known.see(Arc::new(*pod));
                }
                return self.step(&uid, now);
            }
            // The watch tells of its end.
            Done::Deleted(_, Ok(())) => return,
            Done::Sent(uid, Err(error)) | Done::Deleted(uid, Err(error)) => (uid, error),
        };
        let Some(known) = self.pods.get_mut(&uid) else { return };
        known.writing = false;
        if !matches!(&result, kube::Error::Api(status) if matches!(status.code, 404 | 409)) {
            let (name, error) = (known.pod.name_any(), amphipod_api::said(&result));
            tracing::debug!(pod = name, %error, "a simulated pod could not be written");
        }
        self.due.insert((crate::backoff::after(now, AGAIN), uid));
    }
}
