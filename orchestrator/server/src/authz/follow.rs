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

async fn list(
    rbac: &Rbac,
    resource: &'static str,
    store: &Arc<dyn Store>,
    frame: &Frame,
) -> Result<Box<dyn amphipod_store::Watch>, Error> {
    let id = store.resource(&format!("rbac.authorization.k8s.io/{resource}")).await?;
    let snapshot = store.snapshot();
    let listed =
        snapshot.list(id, None, None, 0).iter().filter_map(|object| decode(resource, &frame(object))).collect();
    rbac.update(|index| index.replace(resource, listed));
    store.watch(id, snapshot.revision())
}

async fn pump(
    (rbac, resource): (&Rbac, &'static str),
    mut watched: Box<dyn amphipod_store::Watch>,
    frame: &Frame,
) -> Error {
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
        serde_json::from_slice(frame)
            .inspect_err(|error| tracing::error!(%error, "an object of the policy does not decode"))
            .ok()
    }
    match resource {
        "roles" => parse(frame).map(Policy::Role),
        "clusterroles" => parse(frame).map(Policy::ClusterRole),
        "rolebindings" => parse(frame).map(Policy::RoleBinding),
        _ => parse(frame).map(Policy::ClusterRoleBinding),
    }
}

#[cfg(test)]
mod tests {
    use amphipod_store::{Key, MemoryStore, Meta, Op, Payload, Txn};
    use serde_json::json;
    use tokio::task::JoinSet;

    use super::*;
    use crate::seams::{Attributes, Authorize, Decision, Identity};

    /// `{"kind":…,"metadata":{"name":…` with the places of the spliced members.
    fn payload(value: &serde_json::Value) -> Payload {
        let body = value.to_string();
        let at = u32::try_from(body.find("\"name\":").unwrap()).unwrap();
        Payload { codec: 0, body: body.into(), managed_fields_at: at, revision_at: at, managed_fields: Bytes::new() }
    }

    async fn put(store: &MemoryStore, resource: &str, value: serde_json::Value) {
        let id = store.resource(&format!("rbac.authorization.k8s.io/{resource}")).await.unwrap();
        let key = Key::new(id, "", value["metadata"]["name"].as_str().unwrap());
        let op = Op::Put { key, meta: Meta::default(), payload: payload(&value) };
        store.commit(Txn { ops: vec![op], ..Txn::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_there_is_known_at_once_and_changes_follow() {
        let store = Arc::new(MemoryStore::new());
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        put(&store, "clusterroles", json!({"metadata": {"name": "r"}, "rules": rules})).await;
        let rbac = Arc::new(Rbac::default());
        let frame: Frame = Arc::new(|object: &Object| object.frame(|payload| payload.body.clone()));
        let (ready, mut seen) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(rbac.clone(), store.clone(), frame, ready));
        seen.wait_for(|ready| *ready).await.unwrap();
        let may = || {
            let attributes = Attributes { verb: "get".into(), resource: "pods".into(), ..Attributes::default() };
            matches!(rbac.authorize(&Identity::new("x", &[]), &attributes), Decision::Allowed { .. })
        };
        assert!(!may());
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"});
        let subjects = json!([{"kind": "User", "name": "x"}]);
        put(
            &store,
            "clusterrolebindings",
            json!({"metadata": {"name": "b"}, "roleRef": reference, "subjects": subjects}),
        )
        .await;
        let known = async {
            while !may() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), known).await.expect("the binding reaches the index");
    }
}
