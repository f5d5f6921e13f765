//! Keeps the index true: one list, then every change, each decoded once.
//!
//! ```text
//!  list ─► replace ─► watch ─► apply/remove ─┐
//!   ▲                   ▲────────────────────┘
//!   └── Expired, or any other error after a pause
//! ```

use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Change, Error, Event, Object, Store};
use bytes::Bytes;
use futures::future::join_all;
use serde::de::DeserializeOwned;
use tokio::sync::Barrier;
use tokio::sync::watch;

use super::{Policy, Rbac};

/// Gives an object's whole JSON, opened if it lies sealed.
pub type Frame = Arc<dyn Fn(&Object) -> Bytes + Send + Sync>;

const RESOURCES: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until dropped. `ready` turns true once all four resources were read; serve nobody but masters before.
pub async fn follow(rbac: Arc<Rbac>, store: Arc<dyn Store>, frame: Frame, ready: watch::Sender<bool>) {
    let barrier = Barrier::new(RESOURCES.len());
    let each = RESOURCES.iter().map(|resource| follow_one((&rbac, resource), &store, &frame, (&barrier, &ready)));
    join_all(each).await;
}

async fn follow_one(
    (rbac, resource): (&Rbac, &'static str),
    store: &Arc<dyn Store>,
    frame: &Frame,
    (barrier, ready): (&Barrier, &watch::Sender<bool>),
) {
    let mut first = true;
    loop {
        let listed = list(rbac, resource, store, frame).await;
        if let Ok(watched) = listed {
            if std::mem::take(&mut first) && barrier.wait().await.is_leader() {
                ready.send_replace(true);
            }
            let ended = pump((rbac, resource), watched, frame).await;
            tracing::debug!(resource, %ended, "the policy is read again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn list(rbac: &Rbac, resource: &'static str, store: &Arc<dyn Store>, frame: &Frame) -> Result<Box<dyn amphipod_store::Watch>, Error> {
    let id = store.resource(&format!("rbac.authorization.k8s.io/{resource}")).await?;
    let snapshot = store.snapshot();
    let listed = snapshot.list(id, None, None, 0).iter().filter_map(|object| decode(resource, &frame(object))).collect();
    rbac.update(|index| index.replace(resource, listed));
    store.watch(id, snapshot.revision())
}

async fn pump((rbac, resource): (&Rbac, &'static str), mut watched: Box<dyn amphipod_store::Watch>, frame: &Frame) -> Error {
    loop {
        match watched.next().await {
            Ok(events) => apply(rbac, resource, &events, frame),
            Err(error) => return error,
        }
    }
}

fn apply(rbac: &Rbac, resource: &'static str, events: &[Arc<Event>], frame: &Frame) {
    let decoded: Vec<(Change, Policy)> =
        events.iter().filter_map(|event| Some((event.change, decode(resource, &frame(&event.current))?))).collect();
    rbac.update(|index| {
        for (change, policy) in decoded {
            match change {
                Change::Deleted => index.remove(&policy),
                Change::Added | Change::Modified => index.apply(policy),
            }
        }
    });
}

/// An object that does not decode grants nothing; it cannot have passed validation.
fn decode(resource: &str, frame: &[u8]) -> Option<Policy> {
    fn parse<T: DeserializeOwned>(frame: &[u8]) -> Option<T> {
        serde_json::from_slice(frame).inspect_err(|error| tracing::error!(%error, "an object of the policy does not decode")).ok()
    }
    match resource {
        "roles" => parse(frame).map(Policy::Role),
        "clusterroles" => parse(frame).map(Policy::ClusterRole),
        "rolebindings" => parse(frame).map(Policy::RoleBinding),
        _ => parse(frame).map(Policy::ClusterRoleBinding),
    }
}
